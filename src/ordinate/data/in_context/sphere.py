r"""Linear regression on the unit sphere: :math:`y_i = \langle w, z_i\rangle + \sigma \varepsilon_i` with :math:`z_i` uniform on the sphere of :math:`\mathbb R^D` and :math:`w \sim \mathcal N(0, \tau^2 I_D)`.

It is what :class:`ordinate.data.in_context.representations.RepresentationPrompts` becomes for a learner that has computed its representation of unit length: the prompts that the upper part of a network is tried on by itself.

Source: Guo et al., How Do Transformers Learn In-Context Beyond Simple Functions? (ICLR 2024), section 6.2.
"""

import torch

from ordinate.data.in_context.prompts import Prompts, PromptSource, token_width
from ordinate.data.in_context.representations import check_scales
from ordinate.ground.errors import InputError

__all__ = ["SpherePrompts"]


class SpherePrompts(PromptSource):
    """Linear regression on inputs of unit length."""

    def __init__(self, d: int = 4, n: int = 12, *, noise: float = 0.1, tau: float = 1.0, layout: str = "label-last") -> None:
        """
        Args:
            d: the numbers of an input.
            n: the pairs of a prompt.
            noise: the standard deviation sigma of what is added to a label.
            tau: the standard deviation of a weight.
            layout: of the tokens.

        Raises:
            InputError: d or n below 1, a scale out of range, or an unknown layout.
        """
        if min(d, n) < 1:
            raise InputError(f"prompts need d and n of at least 1, not {d} and {n}")
        check_scales(noise, tau)
        token_width(d, layout)
        self.d, self.n, self.noise, self.tau, self.layout = d, n, noise, tau, layout

    @property
    def chance(self) -> float:
        """The mean squared error of always saying 0: tau² + sigma²."""
        return self.tau**2 + self.noise**2

    def sample(self, count: int, generator: torch.Generator, *, n: int | None = None, alive: int | None = None) -> Prompts:
        """Draw prompts; their `latent` is ``w`` (B, d). See :meth:`PromptSource.sample`."""
        n, alive = self.check(count, n, alive)
        x = torch.randn(count, n, self.d, generator=generator)
        w = self.tau * torch.randn(count, self.d, generator=generator)
        noise = self.noise * torch.randn(count, n, generator=generator)
        x[..., alive:] = 0
        x = torch.nn.functional.normalize(x, dim=-1)
        return Prompts(x, (x @ w[..., None])[..., 0] + noise, {"w": w}, self.layout)
