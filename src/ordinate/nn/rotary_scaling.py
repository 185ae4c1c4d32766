r"""Rules that stretch rotary positions beyond the length they were trained at.

With :math:`\theta_j = b^{-2j/d}` and a base model trained at length T:

- *linear* (position interpolation): :math:`\theta_j / s`.
- *power*: :math:`\theta_j (1 - 2j/d)^k`: the fastest pair is left, the slowest slowed by :math:`(2/d)^k`.
- *truncated*: pairs that turn at least once within T are kept; those between an eighth of that and it turn once in 16 T; slower ones not at all. Waves that never complete a cycle in training are dropped, and one slow wave tells far
  positions apart.

  These three may be combined, in this order (`ScaledRotary`).
- *ntk*: the base is :math:`b\, s^{d/(d-2)}`; *dynamic ntk*: :math:`b\,(s L / T - (s - 1))^{d/(d-2)}` in a sequence of :math:`L > T`, and b below.
- *xpos*: besides, queries are multiplied and keys divided by :math:`\zeta_j^{(p - \lfloor L/2 \rfloor)/c}`, :math:`\zeta_j = (2j + 0.4 d) / 1.4 d`, so that scores decay with the offset, each pair at its own rate.
- *randomised*: in training tokens stand at random increasing places: :math:`t = \sum 2u`, u uniform, cut back so that the last is at most L; or at sorted whole places out of a longer range.

Sources: Pal et al., Giraffe: Adventures in Expanding Context Lengths in LLMs (2023), section 3, for power and truncated; Chen et al. (2023) for linear; Sun et al., A Length-Extrapolatable Transformer (ACL 2023), for xPos; Ruoss et al.
(ACL 2023) for random places; the NTK rules were published without a paper.
"""

import math
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError, choose
from ordinate.nn.rotary import Rotary

__all__ = ["ROTARY", "DynamicNtkRotary", "NtkRotary", "RandomRotary", "ScaledRotary", "XPos"]


class ScaledRotary(Rotary):
    """Linear scaling, then the power basis, then truncation."""

    def __init__(
        self,
        head_dim: int,
        *,
        factor: float = 1.0,
        power: float = 0.0,
        truncate_at: float | None = None,
        band: tuple[float, float] = (1 / 8, 1.0),
        slow: float = 1 / 16,
        base: float = 10000.0,
        layout: str = "half",
    ) -> None:
        """
        Args:
            head_dim: d, even.
            factor: s.
            power: k.
            truncate_at: T, in positions; None keeps all pairs as they are.
            band: cycles within T: below the first a pair stands still, from the second on it is kept.
            slow: cycles within T of the pairs between.
            base: b.
            layout: see :class:`Rotary`.

        Raises:
            InputError: a factor or truncation that is not positive, a negative power, or a band that is none.
        """
        super().__init__(head_dim, base=base, layout=layout)
        if not factor > 0 or not power >= 0 or (truncate_at is not None and not truncate_at > 0):
            raise InputError(f"factor and truncate_at must be positive and power 0 or more, not {factor}, {truncate_at} and {power}")
        if not 0 <= band[0] <= band[1] or not slow >= 0:
            raise InputError(f"band must be two numbers that do not descend and slow 0 or more, not {tuple(band)} and {slow}")
        self.factor, self.power, self.truncate_at, self.band, self.slow = factor, power, truncate_at, tuple(band), slow

    def frequencies(self, length: int, device: torch.device | None = None) -> Float[Tensor, " half"]:
        """See :meth:`Rotary.frequencies`."""
        theta = super().frequencies(length, device) / self.factor
        if self.power:
            steps = torch.arange(0, self.head_dim, 2, dtype=torch.float32, device=device) / self.head_dim
            theta = theta * (1 - steps) ** self.power
        if self.truncate_at is None:
            return theta
        cycle = 2 * math.pi / self.truncate_at
        between = torch.where(theta >= self.band[0] * cycle, self.slow * cycle, 0.0)
        return torch.where(theta >= self.band[1] * cycle, theta, between)


class NtkRotary(Rotary):
    """The base grows with the factor, so that the fastest pair is left and the slowest scaled by it."""

    def __init__(self, head_dim: int, *, factor: float, base: float = 10000.0, layout: str = "half") -> None:
        """
        Args:
            head_dim: d, even, 4 or more.
            factor: s.
            base: b.
            layout: see :class:`Rotary`.

        Raises:
            InputError: a factor that is not positive, or a head of 2 dimensions.
        """
        super().__init__(head_dim, base=_grown(base, factor, head_dim), layout=layout)
        self.factor = factor


def _grown(base: float, factor: float, head_dim: int) -> float:
    if not factor > 0:
        raise InputError(f"factor must be positive, not {factor}")
    if head_dim < 4:
        raise InputError(
            "the NTK rules need heads of 4 dimensions or more: with one pair there is nothing between the fastest and the slowest"
        )
    return float(base * factor ** (head_dim / (head_dim - 2)))


class DynamicNtkRotary(Rotary):
    """The base grows with the length, beyond the one that was trained at. It is a function of the sequence at hand, never of those before it.

    A model of several layers that goes on from a cache has in its upper layers what was computed at the lengths of its time; one that reads the whole sequence anew has not.
    """

    by_length = True

    def __init__(self, head_dim: int, *, train_length: int, factor: float = 1.0, base: float = 10000.0, layout: str = "half") -> None:
        """
        Args:
            head_dim: d, even, 4 or more.
            train_length: T.
            factor: s.
            base: b.
            layout: see :class:`Rotary`.

        Raises:
            InputError: a factor that is not positive, a train_length below 1, or a head of 2 dimensions.
        """
        super().__init__(head_dim, base=base, layout=layout)
        if train_length < 1:
            raise InputError(f"train_length must be at least 1, not {train_length}")
        _grown(base, factor, head_dim)
        self.train_length, self.factor = train_length, factor

    def frequencies(self, length: int, device: torch.device | None = None) -> Float[Tensor, " half"]:
        """See :meth:`Rotary.frequencies`."""
        base = self.base
        if length > self.train_length:
            base = _grown(base, self.factor * length / self.train_length - (self.factor - 1), self.head_dim)
        return base ** (-torch.arange(0, self.head_dim, 2, dtype=torch.float32, device=device) / self.head_dim)


class XPos(Rotary):
    """Scores that decay with the offset. Interleaved by default, as its authors' code is."""

    by_length = True  # exponents are centred at the middle of the sequence, so that they stay small
    scale_base: Tensor

    def __init__(self, head_dim: int, *, scale_base: float = 512.0, base: float = 10000.0, layout: str = "interleaved") -> None:
        """
        Args:
            head_dim: d, even.
            scale_base: c, in positions: the larger, the weaker the decay. A buffer, which `shrink` lowers in the course of fine-tuning.
            base: b.
            layout: see :class:`Rotary`.

        Raises:
            InputError: a scale_base that is not positive.
        """
        super().__init__(head_dim, base=base, layout=layout)
        if not scale_base > 0:
            raise InputError(f"scale_base must be positive, not {scale_base}")
        self.register_buffer("scale_base", torch.tensor(float(scale_base)))

    def shrink(self, by: float = 8.0, least: float = 128.0) -> None:
        """Lower c, but not below `least`: to be called after every optimizer step where a model without decay is given one."""
        self.scale_base.sub_(by).clamp_(min=least)

    def stretch(self, positions: Tensor, length: int) -> Tensor:
        """See :meth:`Rotary.stretch`."""
        pairs = torch.arange(0, self.head_dim, 2, dtype=positions.dtype, device=positions.device)
        zeta = (pairs + 0.4 * self.head_dim) / (1.4 * self.head_dim)
        return zeta ** ((positions[..., None] - length // 2) / self.scale_base.to(positions.dtype))


class RandomRotary(ScaledRotary):
    """In training tokens stand at random increasing places; otherwise at 0, 1, ...; one draw a forward pass and sequence, from torch's generator. Any of the bases of :class:`ScaledRotary`."""

    def __init__(self, head_dim: int, *, mode: str = "cumsum", longest: int | None = None, **scaling: object) -> None:
        """
        Args:
            head_dim: d, even.
            mode: ``"cumsum"``: fractional places with steps of mean 1, the last at most L; ``"sorted"``: whole places out of `longest`.
            longest: for ``"sorted"``: how many places there are.
            scaling: arguments of :class:`ScaledRotary`.

        Raises:
            InputError: an unknown mode, or one without what it needs.
        """
        super().__init__(head_dim, **scaling)  # type: ignore[arg-type]
        self.mode = choose("mode of random places", mode, ("cumsum", "sorted"))
        if (mode == "sorted") != (longest is not None):
            raise InputError("sorted places need longest, the number of places to choose from, and cumulated ones do not take it")
        self.longest = longest

    def places(self, batch: int, length: int, device: torch.device | None = None) -> Tensor:
        """See :meth:`Rotary.places`.

        Raises:
            InputError: in training, more tokens than places.
        """
        if not self.training or not length:
            return super().places(batch, length, device)
        if self.longest is None:
            return cumulated(torch.rand(batch, length, device=device))
        if length > self.longest:
            raise InputError(f"{length} tokens do not fit {self.longest} places: raise longest")
        return torch.rand(batch, self.longest, device=device).argsort(dim=1)[:, :length].sort(dim=1).values


def cumulated(u: Float[Tensor, "batch length"]) -> Float[Tensor, "batch length"]:
    """Places of uniform draws: cumulated steps of 2 u, cut back where the last would be beyond L."""
    t = (2 * u).cumsum(dim=1)
    length = u.shape[1]
    return t * (length / t[:, -1:].clamp(min=length))


def _needed(name: str, rule: Callable[..., Rotary], argument: str) -> Callable[..., Rotary]:
    def make(head_dim: int, **arguments: object) -> Rotary:
        if argument not in arguments:
            raise InputError(f"rotary positions {name!r} need {argument}")
        return rule(head_dim, **arguments)

    return make


ROTARY: dict[str, Callable[..., Rotary]] = {
    "scaled": ScaledRotary,
    "linear": _needed("linear", ScaledRotary, "factor"),
    "power": _needed("power", ScaledRotary, "power"),
    "truncated": _needed("truncated", ScaledRotary, "truncate_at"),
    "ntk": _needed("ntk", NtkRotary, "factor"),
    "dynamic_ntk": _needed("dynamic_ntk", DynamicNtkRotary, "train_length"),
    "xpos": XPos,
    "randomised": partial(RandomRotary),
}
