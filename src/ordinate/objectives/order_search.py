r"""The search over orders: a set has no order, a chain of conditionals needs one, and some are far easier to learn than others.

A model of sequences gives :math:`p(y_1, \dots, y_n \mid x)` in one order. For a set :math:`Y` the order is part of what is sought,

.. math:: \theta^\star = \arg\max_\theta \sum_i \max_\pi \log p_\theta(Y_{i, \pi} \mid X_i),

and the maximum over :math:`n!` orders is replaced by one that the model draws itself, :math:`\pi \sim p_\theta(Y_\pi \mid X)`: element by element, from its own distribution over the next symbol, restricted to the elements
that have not been emitted, and renormalised. That costs one pass. A second, teacher-forced pass over the order that was drawn gives the loss, which is the plain negative log-likelihood: no gradient goes through
the drawing, and the renormalised probabilities are no part of it. For the first steps orders are uniform, without which the model settles on whatever it happens to prefer at its start.

With a short list of candidate orders each of them is scored instead, and one is drawn in proportion to its likelihood, or the best is taken. The likelihood so trained is that of *one* order of a set, not of the set.

Equal elements may be among those of a set: the probability of their symbol is shared between them.

Source: Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), section 5.2.
"""

from collections.abc import Mapping, Sequence
from itertools import permutations
from math import factorial
from typing import Any, NamedTuple, Protocol, cast, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.objectives.base import Objective

__all__ = ["MODES", "OBJECTIVES", "Drawn", "OrderSearch", "SetModel", "best_order", "sample_order"]

MODES = ("given", "uniform", "max", "sample", "greedy")
LARGEST = 8  # elements, of which 8! = 40,320 orders are scored
PADDING = -1


@runtime_checkable
class SetModel(Protocol):
    """A model of sequences of symbols that can be asked step by step, and for whole sequences at once."""

    def init(self, inputs: Mapping[str, Tensor]) -> Any:
        """The state before the first symbol; one row a set."""

    def log_prob(self, state: Any) -> Float[Tensor, "rows symbols"]:
        """The log-probabilities of the next symbol."""

    def advance(self, state: Any, symbols: Int[Tensor, " rows"]) -> Any:
        """The state after one more symbol in each row."""

    def sequence_log_prob(self, inputs: Mapping[str, Tensor], symbols: Int[Tensor, "batch steps"]) -> Float[Tensor, " batch"]:
        """The log-probabilities of whole sequences; -1 pads them at the end."""


class Drawn(NamedTuple):
    """An order for each set.

    Attributes:
        order: (B, n) int64: place t of the sequence is element order[t].
        log_q: (B,), of the drawing itself: the log-probabilities of the symbols, renormalised over what was left at each step.
        log_prob: (B,), of the symbols as the model has them.
    """

    order: Int[Tensor, "batch n"]
    log_q: Float[Tensor, " batch"]
    log_prob: Float[Tensor, " batch"]


def _check_items(items: Tensor) -> None:
    if items.ndim != 2 or not items.shape[1]:
        raise InputError(f"items are (batch, n) symbols with at least one in a set, not {tuple(items.shape)}")
    present = items >= 0
    if not bool((present[:, :1].all() & (present[:, 1:] <= present[:, :-1]).all()) & (items >= PADDING).all()):
        raise InputError("items are symbols from 0 on, padded with -1 at the end, and no set is empty")


@torch.no_grad()
def sample_order(
    model: SetModel,
    inputs: Mapping[str, Tensor],
    items: Int[Tensor, "batch n"],
    *,
    temperature: float = 1.0,
    greedy: bool = False,
    draws: torch.Generator | None = None,
) -> Drawn:
    """Draw an order of each set from the model's own distribution, restricted at each step to what is left.

    Args:
        model: what gives the probabilities.
        inputs: what its `init` takes.
        items: (B, n), the elements of each set as symbols, padded with -1 at the end. Equal ones are told apart by their place alone, and one is marked as used at a time.
        temperature: the log-probabilities are divided by it before they are renormalised.
        greedy: take the likeliest of what is left instead.
        draws: where the orders are drawn from; None is torch's own generator.

    Returns:
        The orders; padding keeps its places at the end.

    Raises:
        InputError: items that are none, or a temperature that is not positive.
    """
    _check_items(items)
    if not temperature > 0:
        raise InputError(f"the temperature must be positive, not {temperature}")
    batch, n = items.shape
    present = items >= 0
    symbols = items.clamp(min=0)
    equal = (items[:, :, None] == items[:, None]).float()
    left = present.clone()
    state = model.init(inputs)
    log_q = log_prob = torch.zeros(batch, device=items.device)
    picked = []
    for step in range(n):
        known = model.log_prob(state).gather(1, symbols).float()
        alike = torch.bmm(equal, left[:, :, None].float())[..., 0].clamp(min=1.0)  # so many share the symbol's probability
        scores = (known / temperature - alike.log()).masked_fill(~left, float("-inf"))
        running = left.any(dim=1)
        # A model may rule out all that is left; then nothing is preferred.
        impossible = (scores == float("-inf")).all(dim=1, keepdim=True)
        scores = torch.where(impossible, torch.zeros_like(scores).masked_fill(~left, float("-inf")), scores)
        scores = torch.where(running[:, None], scores, torch.zeros_like(scores))
        chances = scores.softmax(dim=1)
        choice = (scores + alike.log()).argmax(dim=1) if greedy else torch.multinomial(chances, 1, generator=draws)[:, 0]
        choice = torch.where(running, choice, step)
        rows = choice[:, None]
        log_q = log_q + (chances.log() + alike.log()).gather(1, rows)[:, 0].masked_fill(~running, 0.0)
        log_prob = log_prob + known.gather(1, rows)[:, 0].masked_fill(~running, 0.0)
        left = left.scatter(1, rows, False)
        picked.append(choice)
        if step + 1 < n:
            state = model.advance(state, symbols.gather(1, rows)[:, 0])
    return Drawn(torch.stack(picked, dim=1), log_q, log_prob)


@torch.no_grad()
def _scored(model: SetModel, inputs: Mapping[str, Tensor], items: Tensor, orders: Tensor) -> Tensor:
    """The log-probabilities (B, K) of the K orders (K, n) of each set."""
    return torch.stack([model.sequence_log_prob(inputs, items[:, order]) for order in orders], dim=1)


def _all_orders(items: Tensor) -> Tensor:
    n = items.shape[1]
    if n > LARGEST:
        raise InputError(
            f"the exact maximum is over n! orders, and {n} elements have {factorial(n):,}: at most {LARGEST} elements, or sample orders"
        )
    if bool((items < 0).any()):
        raise InputError("all orders are listed for sets of one size: leave padding out, or sample orders")
    return torch.tensor(list(permutations(range(n))), device=items.device)


def best_order(model: SetModel, inputs: Mapping[str, Tensor], items: Int[Tensor, "batch n"]) -> Drawn:
    """The likeliest of all n! orders of each set, n <= 8; `log_q` is its share of the probability of them all.

    Args:
        model: what gives the probabilities.
        inputs: what its `init` takes.
        items: (B, n), the elements of each set as symbols.

    Raises:
        InputError: more than 8 elements, or sets of several sizes.
    """
    _check_items(items)
    orders = _all_orders(items)
    scores = _scored(model, inputs, items, orders)
    best, where = scores.max(dim=1)
    return Drawn(orders[where], best - scores.logsumexp(dim=1), best)


class OrderSearch(Objective):
    """The negative log-likelihood, in nats an element, of `items` (B, n) in an order that is sought while training."""

    seen: Tensor

    def __init__(
        self,
        mode: str = "sample",
        *,
        warmup: int = 1000,
        candidates: Sequence[Sequence[int]] | None = None,
        temperature: float = 1.0,
    ) -> None:
        """
        Args:
            mode: ``"given"`` keeps the items' own order; ``"uniform"`` draws any; ``"sample"`` draws in proportion to the likelihood; ``"greedy"`` takes the likeliest next element at every step, or of the candidates the
                likeliest; ``"max"`` the likeliest of all orders.
            warmup: for so many optimizer steps orders are uniform, whatever the mode (but for ``"given"``).
            candidates: the orders that are allowed, each a permutation of 0, ..., n-1; None allows all.
            temperature: of ``"sample"``.

        Raises:
            InputError: an unknown mode, a negative warm-up, a temperature that is not positive, or candidates that are not permutations of one length.
        """
        super().__init__()
        self.mode = choose("mode", mode, MODES)
        if warmup < 0 or not temperature > 0:
            raise InputError(f"warmup must be 0 or more and the temperature positive, not {warmup} and {temperature}")
        self.warmup, self.temperature = warmup, temperature
        self.candidates = None if candidates is None else [list(order) for order in candidates]
        known = self.candidates
        if known is not None and (not known or any(sorted(order) != list(range(len(known[0]))) for order in known)):
            raise InputError("candidates are permutations of 0, 1, ..., n-1, at least one and all of one length")
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))

    @classmethod
    def for_model(cls, model: nn.Module, **options: Any) -> "OrderSearch":
        """For a model of sequences of symbols.

        Raises:
            InputError: the model cannot be asked step by step and for whole sequences, or an option is out of range.
        """
        if not isinstance(model, SetModel):
            raise InputError(
                f"the search over orders trains models of sequences that decode step by step, such as read-process-write, not {type(model).__name__}"
            )
        return cls(**options)

    @property
    def warming(self) -> bool:
        """Whether orders are still uniform."""
        return int(self.seen) < self.warmup

    def orders(self, model: SetModel, batch: Mapping[str, Tensor]) -> Int[Tensor, "batch n"]:
        """The orders that the next step trains on, (B, n): place t of the sequence is element orders[t].

        Args:
            model: what is trained.
            batch: `items`, and what the model's `init` takes.

        Raises:
            InputError: items that are none; candidates for another number of elements; sets of several sizes, or too many elements, where all orders are listed.
        """
        if "items" not in batch:
            raise InputError(f"the search over orders reads batches of items, and this one has {', '.join(batch)}")
        items = batch["items"]
        _check_items(items)
        rows, n = items.shape
        own = torch.arange(n, device=items.device)
        if self.mode == "given" and self.candidates is None:
            return own.expand(rows, -1)
        if self.candidates is not None:
            if len(self.candidates[0]) != n:
                raise InputError(f"the candidates are orders of {len(self.candidates[0])} elements, and the sets have {n}")
            return self._candidate(model, batch, torch.tensor(self.candidates, device=items.device))
        if self.mode == "uniform" or self.warming:
            return (torch.rand(rows, n, device=items.device) + (items < 0) * (2.0 + own)).argsort(dim=1)
        if self.mode == "max":
            return best_order(model, batch, items).order
        return sample_order(model, batch, items, temperature=self.temperature, greedy=self.mode == "greedy").order

    def _candidate(self, model: SetModel, batch: Mapping[str, Tensor], candidates: Tensor) -> Tensor:
        items = batch["items"]
        if bool((items < 0).any()):
            raise InputError("candidates are orders of sets of one size: leave padding out")
        if len(candidates) == 1 or self.mode == "given":
            return candidates[:1].expand(len(items), -1)
        if self.mode == "uniform" or self.warming:
            return candidates[torch.randint(len(candidates), (len(items),), device=items.device)]
        scores = _scored(model, batch, items, candidates)
        if self.mode == "sample":
            return candidates[torch.multinomial((scores / self.temperature).softmax(dim=1), 1)[:, 0]]
        return candidates[scores.argmax(dim=1)]

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of the batch's `items` in the orders that are chosen for them.

        Args:
            model: a `SetModel`.
            batch: `items` (B, n), symbols padded with -1 at the end, and what the model's `init` takes.

        Raises:
            InputError: as in `orders`.
        """
        asked = cast(SetModel, model)
        orders = self.orders(asked, batch)
        items = batch["items"]
        return -asked.sequence_log_prob(batch, items.gather(1, orders)).sum() / (items >= 0).sum()

    def update(self) -> None:
        """Count the step, so that the warm-up ends, also in a run that was resumed."""
        self.seen += 1


OBJECTIVES = {"order-search": OrderSearch.for_model}
