r"""Random linear problems: :math:`y_i = w \cdot x_i + \sigma \varepsilon_i` with :math:`x_i \sim p(x)`, :math:`\varepsilon_i \sim \mathcal N(0, 1)`, and one :math:`w \sim p(w)` a prompt.

A distribution of numbers is written as in the paper's code: ``"normal*a+b"`` is :math:`a\,\mathcal N(0, 1) + b`, ``"uniform*a+b"`` is :math:`a\,\mathcal U(0, 1) + b`, each coordinate on its own; several with commas between them are mixed in
equal parts, coordinate by coordinate.

Source: Akyürek et al., What learning algorithm is in-context learning? Investigations with linear models (ICLR 2023), sections 2 and 4.
"""

import math
import re
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.data.in_context.prompts import Prompts, PromptSource, token_width
from ordinate.ground.errors import InputError

__all__ = ["LinearPrompts", "Scatter", "parse_scatter"]

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?"
_PART = re.compile(rf"(normal|uniform)(?:\*({_NUMBER}))?(?:\+({_NUMBER}))?")


@dataclass(frozen=True)
class Scatter:
    """How numbers are drawn: an equal mixture of scaled and moved normal and uniform ones.

    Attributes:
        parts: (kind, scale, shift) of each.
    """

    parts: tuple[tuple[str, float, float], ...]

    def draw(self, shape: tuple[int, ...], generator: torch.Generator) -> Float[Tensor, "..."]:
        """Numbers of that shape, float32."""
        drawn = []
        for kind, scale, shift in self.parts:
            unit = torch.randn(shape, generator=generator) if kind == "normal" else torch.rand(shape, generator=generator)
            drawn.append(unit * scale + shift)
        if len(drawn) == 1:
            return drawn[0]
        which = torch.randint(len(drawn), shape, generator=generator)
        return torch.stack(drawn).gather(0, which[None])[0]

    @property
    def second_moment(self) -> float:
        """The mean of the square of a number."""
        moments = [
            scale**2 + shift**2 if kind == "normal" else scale**2 / 3 + scale * shift + shift**2 for kind, scale, shift in self.parts
        ]
        return sum(moments) / len(moments)


def parse_scatter(text: str) -> Scatter:
    """``"normal*1+0"``, ``"uniform*2+-1"``, or several with commas.

    Raises:
        InputError: anything else.
    """
    parts = []
    for part in text.split(","):
        found = _PART.fullmatch(part.strip())
        if found is None:
            raise InputError(f"a distribution is normal*a+b or uniform*a+b, or several with commas between them, not {text!r}")
        parts.append((found[1], float(found[2] or 1), float(found[3] or 0)))
    return Scatter(tuple(parts))


class LinearPrompts(PromptSource):
    """Linear regression, a new weight vector in every prompt."""

    def __init__(
        self,
        d: int = 8,
        n: int = 40,
        *,
        x: str = "normal*1+0",
        w: str = "normal*1+0",
        noise: float = 0.0,
        layout: str = "label-first",
        fixed: tuple[float, ...] | None = None,
    ) -> None:
        """
        Args:
            d: the numbers of an input.
            n: the pairs of a prompt.
            x: the distribution of an input's numbers.
            w: the distribution of a weight.
            noise: the standard deviation sigma of what is added to a label.
            layout: of the tokens.
            fixed: one weight vector for all prompts, in place of random ones: the control of a probe.

        Raises:
            InputError: d or n below 1, a noise that is negative or not finite, a distribution or layout that is none, or a fixed vector of another length.
        """
        if min(d, n) < 1:
            raise InputError(f"a linear problem needs d and n of at least 1, not {d} and {n}")
        if not (math.isfinite(noise) and noise >= 0):
            raise InputError(f"the noise is a standard deviation, 0 or more, not {noise}")
        if fixed is not None and len(fixed) != d:
            raise InputError(f"the fixed weights are {d} numbers, not {len(fixed)}")
        token_width(d, layout)
        self.d, self.n, self.noise, self.layout, self.fixed = d, n, noise, layout, fixed
        self.x, self.w = parse_scatter(x), parse_scatter(w)

    @property
    def zero_risk(self) -> float:
        """The mean squared error of the predictor that always says 0, for numbers of mean zero: d E[x²] E[w²] + sigma²."""
        weight = self.w.second_moment if self.fixed is None else sum(value**2 for value in self.fixed) / self.d
        return self.d * self.x.second_moment * weight + self.noise**2

    @property
    def penalty(self) -> float:
        """The ridge penalty of the Bayes predictor, sigma² over the variance of a weight."""
        return self.noise**2 / self.w.second_moment

    def sample(self, count: int, generator: torch.Generator, *, n: int | None = None, alive: int | None = None) -> Prompts:
        """Draw prompts; their `latent` is ``w`` (B, d). See :meth:`PromptSource.sample`."""
        n, alive = self.check(count, n, alive)
        x = self.x.draw((count, n, self.d), generator)
        w = self.w.draw((count, self.d), generator) if self.fixed is None else torch.tensor(self.fixed).expand(count, -1)
        noise = torch.randn(count, n, generator=generator) * self.noise
        x[..., alive:] = 0
        return Prompts(x, (x @ w[..., None])[..., 0] + noise, {"w": w}, self.layout)


PROMPTS = {"linear": LinearPrompts}
