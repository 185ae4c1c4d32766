r"""Regression on a fixed representation: :math:`y_i = \langle w, \Phi(x_i)\rangle + \sigma \varepsilon_i` with :math:`x_i \sim \mathcal N(0, I_d)`, one :math:`w \sim \mathcal N(0, \tau^2 I_D)` a prompt and the same :math:`\Phi` in all of them; or, with
several representations, one of :math:`\Phi_1, \dots, \Phi_K` a prompt, drawn uniformly and not told.

Source: Guo et al., How Do Transformers Learn In-Context Beyond Simple Functions? (ICLR 2024), sections 3, 5 and 6.
"""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ordinate.data.in_context.prompts import Prompts, PromptSource, token_width
from ordinate.ground.errors import InputError

__all__ = ["RepresentationPrompts", "check_scales"]


def check_scales(noise: float, tau: float) -> None:
    """Raise `InputError` unless the noise's standard deviation is 0 or more and the weights' is positive, both finite."""
    if not (math.isfinite(noise) and noise >= 0 and math.isfinite(tau) and tau > 0):
        raise InputError(f"standard deviations are 0 or more of the noise and positive of the weights, not {noise} and {tau}")


class RepresentationPrompts(PromptSource):
    """Linear regression on one representation, or on one of several.

    Attributes:
        D: the width of representations.
    """

    def __init__(
        self,
        phis: Sequence[Callable[[Tensor], Tensor]],
        d: int,
        n: int = 40,
        *,
        noise: float = 0.1,
        tau: float = 1.0,
        layout: str = "label-last",
    ) -> None:
        """
        Args:
            phis: the representations, (..., d) -> (..., D) each; one of them is the usual task, several are a mixture.
            d: the numbers of an input.
            n: the pairs of a prompt.
            noise: the standard deviation sigma of what is added to a label.
            tau: the standard deviation of a weight.
            layout: of the tokens.

        Raises:
            InputError: no representation, several widths, a d or n below 1, a scale out of range, or an unknown layout.
        """
        if not phis:
            raise InputError("prompts need at least one representation")
        if min(d, n) < 1:
            raise InputError(f"prompts need d and n of at least 1, not {d} and {n}")
        check_scales(noise, tau)
        token_width(d, layout)
        widths = {phi(torch.zeros(1, d)).shape[-1] for phi in phis}
        if len(widths) > 1:
            raise InputError(f"representations must have one width, not {sorted(widths)}")
        self.phis, self.d, self.n, self.noise, self.tau, self.layout = tuple(phis), d, n, noise, tau, layout
        self.D = widths.pop()

    @property
    def penalty(self) -> float:
        """The ridge penalty of the Bayes predictor on the right representation, sigma² / tau²."""
        return (self.noise / self.tau) ** 2

    def features(self, x: Tensor, kind: Tensor) -> Tensor:
        """The representation (B, n, D) of x (B, n, d) that each prompt has, by its number `kind` (B,)."""
        found = torch.stack([phi(x) for phi in self.phis], dim=1)
        return found[torch.arange(len(x), device=x.device), kind.long()]

    def sample(self, count: int, generator: torch.Generator, *, n: int | None = None, alive: int | None = None) -> Prompts:
        """Draw prompts; their `latent` is ``w`` (B, D) and ``kind`` (B,), the number of the representation. See :meth:`PromptSource.sample`."""
        n, alive = self.check(count, n, alive)
        x = torch.randn(count, n, self.d, generator=generator)
        w = self.tau * torch.randn(count, self.D, generator=generator)
        kind = torch.randint(len(self.phis), (count,), generator=generator)
        noise = self.noise * torch.randn(count, n, generator=generator)
        x[..., alive:] = 0
        y = (self.features(x, kind) @ w[..., None])[..., 0] + noise
        return Prompts(x, y, {"w": w, "kind": kind}, self.layout)
