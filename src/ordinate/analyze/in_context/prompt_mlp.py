"""A small network that is fitted to the prompt itself, anew for every prefix: what gradient descent makes of the pairs alone, without having seen other prompts.

One network a prompt and prefix, f(x) = c + b . tanh(A x + a), trained by Adam on the mean squared error of its prefix, all of them at once as batched matrix products. Weights start alike everywhere, the outer ones at 0, so that the first answer is 0.

Source: the baseline that reviews of Guo et al., How Do Transformers Learn In-Context Beyond Simple Functions? (ICLR 2024), asked for.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.analyze.in_context.predictors import Predictor
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["PromptMLP"]


class PromptMLP(Predictor):
    """A network of one hidden layer for every prefix of every prompt."""

    def __init__(
        self, hidden: int = 16, steps: int = 80, rate: float = 0.03, decay: float = 0.0, seed: int = 0, at_once: int = 250
    ) -> None:
        """
        Args:
            hidden: units.
            steps: of Adam on each prefix.
            rate: its learning rate.
            decay: of the weights, a penalty on their squares.
            seed: of the first weights.
            at_once: prompts that are fitted together.

        Raises:
            InputError: a number out of range.
        """
        if min(hidden, steps, at_once) < 1 or rate <= 0 or decay < 0:
            raise InputError(
                f"hidden, steps and at_once must be at least 1, the rate positive and the decay 0 or more, not {hidden}, {steps}, {at_once}, {rate}, {decay}"
            )
        self.hidden, self.steps, self.rate, self.decay, self.seed, self.at_once = hidden, steps, rate, decay, seed, at_once
        self.name = f"MLP of {hidden} units, rate {rate:g}, decay {decay:g}"

    def answer(
        self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], queries: Float[Tensor, "batch n queries d"]
    ) -> Float[Tensor, "batch n queries"]:
        """Fit, then ask; in float32, which is what it would be fitted in. See :meth:`Predictor.answer`."""
        parts = [part.split(self.at_once) for part in (x.float(), y.float(), queries.float())]
        return torch.cat([self._fit_and_ask(*some) for some in zip(*parts, strict=True)]).double()

    def _fit_and_ask(self, x: Tensor, y: Tensor, queries: Tensor) -> Tensor:
        (batch, n), d = y.shape, x.shape[2]
        draw = generator("prompt network", self.seed, d, self.hidden)
        inner = (torch.randn(d, self.hidden, generator=draw) / d**0.5).to(x.device).repeat(batch, n, 1, 1)
        shift = (0.5 * torch.randn(self.hidden, generator=draw)).to(x.device).repeat(batch, n, 1)
        weights = [inner, shift, x.new_zeros(batch, n, self.hidden), x.new_zeros(batch, n, 1)]
        ahead = torch.ones(n, n, device=x.device).tril(-1)  # prefix i has pairs j < i
        share = ahead / ahead.sum(dim=1, keepdim=True).clamp(min=1)
        moments = [(torch.zeros_like(weight), torch.zeros_like(weight)) for weight in weights]
        inputs = x[:, None].expand(-1, n, -1, -1)
        for step in range(1, self.steps + 1):
            slopes = self._slopes(weights, inputs, y[:, None], share)
            for weight, slope, (first, second) in zip(weights, slopes, moments, strict=True):
                slope.add_(weight, alpha=self.decay)
                first.lerp_(slope, 0.1)
                second.mul_(0.99).addcmul_(slope, slope, value=0.01)
                weight.addcdiv_(first / (1 - 0.9**step), (second / (1 - 0.99**step)).sqrt_().add_(1e-8), value=-self.rate)
        inner, shift, outer, constant = weights
        said = (queries @ inner + shift[:, :, None]).tanh() @ outer[..., None]
        answers = said[..., 0] + constant
        answers[:, 0] = 0  # nothing has been fitted, and decay alone would have moved it
        return answers

    def _slopes(self, weights: list[Tensor], inputs: Tensor, y: Tensor, share: Tensor) -> list[Tensor]:
        """The gradients of half the mean squared error, written out: four products, no graph."""
        inner, shift, outer, constant = weights
        active = (inputs @ inner + shift[:, :, None]).tanh()
        left = ((active @ outer[..., None])[..., 0] + constant - y) * share
        back = left[..., None] * outer[:, :, None] * (1 - active.square())
        return [
            inputs.mT @ back,
            back.sum(dim=2),
            (active.mT @ left[..., None])[..., 0],
            left.sum(dim=2, keepdim=True),
        ]
