r"""Text from a language model: prompts of any lengths, one interface whatever the model carries from step to step.

Prompts are padded in front, so that every row's last real token is its last column. The model is a `StepDecoder` (`ordinate.generate.decoding`); whether it keeps keys and values or a state of constant size is its own affair.
What may be drawn from the distribution is a `Sampling`, in this order: temperature T, :math:`p^{1/T}`; the k likeliest; the smallest set of likeliest tokens that together have probability of at least p (the nucleus).

Sources: Fan et al., Hierarchical Neural Story Generation (2018), for top-k; Holtzman et al., The Curious Case of Neural Text Degeneration (2020), for the nucleus; Paulus et al. (2018) for blocked n-grams.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ordinate.generate.constraints import Constraint
from ordinate.generate.decoding import Decoded, StepDecoder, roll
from ordinate.ground.errors import InputError

__all__ = ["Sampling", "block_ngrams", "generate", "pad_prompts"]


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn.

    Attributes:
        temperature: T; 0 takes the likeliest token.
        top_k: only the k likeliest tokens; None is all.
        top_p: only the smallest set of likeliest tokens with at least this probability; 1 is all.
    """

    temperature: float = 1.0
    top_k: int | None = None
    top_p: float = 1.0

    def __post_init__(self) -> None:
        if not self.temperature >= 0 or (self.top_k is not None and self.top_k < 1) or not 0 < self.top_p <= 1:
            raise InputError(
                f"temperature must be 0 or more, top_k at least 1 and top_p in (0, 1], not {self.temperature}, {self.top_k} and {self.top_p}"
            )

    def shaped(self, log_prob: Float[Tensor, "rows symbols"]) -> Float[Tensor, "rows symbols"]:
        """The log-probabilities of what is drawn: -inf for what is not, normalised anew."""
        if self.temperature == 0:
            best = torch.full_like(log_prob, -torch.inf)
            return best.scatter(1, log_prob.argmax(dim=1, keepdim=True), 0.0)
        shaped = (log_prob / self.temperature).log_softmax(dim=1)
        if self.top_k is not None and self.top_k < shaped.shape[1]:
            least = shaped.topk(self.top_k, dim=1).values[:, -1:]
            shaped = shaped.masked_fill(shaped < least, -torch.inf).log_softmax(dim=1)
        if self.top_p < 1:
            ordered, order = shaped.sort(dim=1, descending=True, stable=True)
            before = ordered.exp().cumsum(dim=1) - ordered.exp()
            dropped = torch.zeros_like(shaped, dtype=torch.bool).scatter(1, order, before >= self.top_p)
            shaped = shaped.masked_fill(dropped, -torch.inf).log_softmax(dim=1)
        return shaped


def block_ngrams(n: int, prompts: Sequence[Int[Tensor, " _"]] | None = None) -> Constraint:
    """A constraint: no n tokens in a row twice.

    Args:
        n: at least 1; 1 forbids every token that was there before.
        prompts: these count as said, one a row; by default only what is generated does.

    Raises:
        InputError: n below 1.
    """
    if n < 1:
        raise InputError(f"n-grams have at least one token, not {n}")

    def allowed(prefix: Int[Tensor, "rows steps"], possible: Bool[Tensor, "rows symbols"]) -> Bool[Tensor, "rows symbols"]:
        out = possible.clone()
        for row, emitted in enumerate(prefix):
            said = emitted if prompts is None else torch.cat([prompts[row].to(emitted), emitted])
            if len(said) < n:
                continue
            grams = said.unfold(0, n, 1)
            last = said[len(said) - n + 1 :]
            out[row, grams[(grams[:, :-1] == last).all(dim=1), -1]] = False
        return out

    return allowed


def pad_prompts(
    prompts: Sequence[Sequence[int] | Int[Tensor, " _"]], device: torch.device | str | None = None
) -> tuple[Int[Tensor, "rows length"], Bool[Tensor, "rows length"]]:
    """Prompts side by side, (R, L) int64 with zeros in front, and which of the tokens are real.

    Raises:
        InputError: no prompts, or an empty one.
    """
    rows = [torch.as_tensor(prompt, dtype=torch.int64, device=device) for prompt in prompts]
    if not rows or any(row.ndim != 1 or not len(row) for row in rows):
        raise InputError("prompts are one or more sequences of at least one token")
    length = max(map(len, rows))
    tokens = torch.stack([torch.cat([row.new_zeros(length - len(row)), row]) for row in rows])
    mask = torch.stack([torch.arange(length, device=tokens.device) >= length - len(row) for row in rows])
    return tokens, mask


def generate(
    model: StepDecoder,
    prompts: Sequence[Sequence[int] | Int[Tensor, " _"]],
    *,
    most: int,
    sampling: Sampling | None = None,
    seed: int = 0,
    end: int | None = None,
    constraint: Constraint | None = None,
    device: torch.device | str | None = None,
) -> Decoded:
    """Go on from prompts of any lengths.

    Args:
        model: a language model that decodes step by step; it is used as it stands (call `eval` first).
        prompts: one or more, of at least one token each.
        most: tokens to generate, `end` included.
        sampling: None takes the likeliest token, and the result then depends on neither the seed nor the other rows.
        seed: of the draws.
        end: the token that ends a text, or None.
        constraint: what may come next, such as `block_ngrams`.
        device: where the model is; the CPU by default.

    Returns:
        What was generated, without the prompts.

    Raises:
        InputError: no prompts, an empty one, `most` below 1, a token that there is not, or a constraint that leaves a row without a token.
    """
    tokens, mask = pad_prompts(prompts, device)
    draws = torch.Generator(tokens.device).manual_seed(seed)

    def choose(log_prob: Tensor) -> Tensor:
        if sampling is None or sampling.temperature == 0:
            return log_prob.argmax(dim=1)
        return torch.multinomial(sampling.shaped(log_prob).exp(), 1, generator=draws)[:, 0]

    inputs = {"tokens": tokens} if bool(mask.all()) else {"tokens": tokens, "padding_mask": mask}
    return roll(model, inputs, choose, most=most, end=end, constraint=constraint)
