r"""How fast excess risk falls with unlabelled rows and with labels: the exponents, and where pretraining overtakes labels alone.

An exponent is the slope of log risk (its mean over repetitions) over log size. Where m grows, n is at its largest, and the reverse. A slope is measured only where the term that stays fixed is less than a fifth of the risk:
through a floor, any power law looks flat. Intervals are percentiles over resampled repetitions.

Source: the rates that are measured are those of Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024); the study is ours.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ordinate.analyze.rate_instances import Grid, Instance
from ordinate.experiment.trend import crossing
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator

__all__ = ["FIXED_SHARE", "RateStudy", "RateTable", "Slope"]

FIXED_SHARE = 0.2
"""The most that the fixed term may be of a risk that a slope is measured through."""
_RESAMPLES = 1000


@dataclass(frozen=True)
class Slope:
    """An exponent.

    Attributes:
        value, low, high: the slope with its 95 % interval.
        sizes: the sizes that it was measured over.
        fixed_share: the fixed term over the smallest risk among them.
    """

    value: float
    low: float
    high: float
    sizes: tuple[int, ...]
    fixed_share: float


@dataclass(frozen=True)
class RateTable:
    """What a study found: the grid of excess risks, and what is read off it."""

    instance: str
    grid: Grid

    def rows(self) -> list[dict[str, Any]]:
        """A row a pair of sizes: m, n, and the mean risks of two phases, the oracle and labels alone over repetitions, with the standard error of the first."""
        grid, found = self.grid, []
        mean = grid.two_phase.mean(dim=0)
        error = grid.two_phase.std(dim=0) / len(grid.two_phase) ** 0.5 if len(grid.two_phase) > 1 else torch.zeros_like(mean)
        for row, m in enumerate(grid.ms):
            for column, n in enumerate(grid.ns):
                others = {name: float(risks[:, column].mean()) for name, risks in {"oracle": grid.oracle, **grid.baselines}.items()}
                found.append({"m": m, "n": n, "two-phase": float(mean[row, column]), "error": float(error[row, column]), **others})
        return found

    def slope(self, axis: str) -> Slope:
        """The exponent of two phases.

        Args:
            axis: ``"m"``, at the largest n, or ``"n"``, at the largest m.

        Raises:
            InputError: another axis, or fewer than three sizes at which the fixed term is small enough, or a risk of 0.
        """
        choose("axis", axis, ("m", "n"))
        grid = self.grid
        sizes = grid.ms if axis == "m" else grid.ns
        risks = grid.two_phase[:, :, -1] if axis == "m" else grid.two_phase[:, -1]
        fixed = float((grid.oracle[:, -1] if axis == "m" else grid.floor[:, -1]).mean())
        sound = [place for place, risk in enumerate(risks.mean(dim=0).tolist()) if risk > 0 and fixed <= FIXED_SHARE * risk]
        if len(sound) < 3:
            other = "n" if axis == "m" else "m"
            raise InputError(
                f"of {len(sizes)} sizes of {axis} the fixed term is below {FIXED_SHARE:.0%} of the risk at {len(sound)}, and a slope needs 3: raise the largest {other}, or take smaller {axis}"
            )
        return _slope([sizes[place] for place in sound], risks[:, sound], fixed)

    def baseline_slope(self, name: str, smallest: int = 1) -> Slope:
        """The exponent of labels alone in n, from a smallest n on: below the number of coordinates there is no power law.

        Raises:
            InputError: no such baseline, or fewer than three sizes.
        """
        grid = self.grid
        risks = {"oracle": grid.oracle, **grid.baselines}[choose("baseline", name, ("oracle", *grid.baselines))]
        kept = [place for place, n in enumerate(grid.ns) if n >= smallest]
        if len(kept) < 3 or bool((risks[:, kept].mean(dim=0) <= 0).any()):
            raise InputError(f"a slope needs 3 sizes from {smallest} on with a risk above 0")
        return _slope([grid.ns[place] for place in kept], risks[:, kept], 0.0)

    def crossover(self, baseline: str = "supervised") -> float:
        """The m from which two phases are better than labels alone, at the largest n: interpolated over logarithms; the smallest m where they are from the start, the largest where they never are.

        Raises:
            InputError: no such baseline, fewer than two m, or a risk of 0.
        """
        grid = self.grid
        alone = float(grid.baselines[choose("baseline", baseline, grid.baselines)][:, -1].mean())
        risks = grid.two_phase[:, :, -1].mean(dim=0).tolist()
        if min(*risks, alone) <= 0:
            raise InputError("a crossover is interpolated between positive risks, and one of them is 0")
        return crossing(grid.ms, [alone / risk for risk in risks], 1.0)


def _slope(sizes: Sequence[int], risks: Tensor, fixed: float) -> Slope:
    x = torch.tensor(sizes, dtype=torch.float64).log()
    x = (x - x.mean()) / (x - x.mean()).square().sum()
    rows = torch.randint(len(risks), (_RESAMPLES, len(risks)), generator=generator("resampled", len(risks)))
    means = torch.cat([risks.mean(dim=0)[None], risks[rows].mean(dim=1)]).clamp(min=torch.finfo(risks.dtype).tiny)
    slopes = means.log() @ x
    low, high = slopes[1:].quantile(0.025), slopes[1:].quantile(0.975)
    return Slope(float(slopes[0]), float(low), float(high), tuple(sizes), fixed / float(risks.mean(dim=0).min()))


class RateStudy:
    """Excess risks over a grid of sizes.

    Args:
        instance: the problem.
        ns: numbers of labels.
        ms: numbers of unlabelled rows, or pairs.
        reps: repetitions, each with a problem and data of its own.
        seed: of all repetitions.

    Raises:
        InputError: sizes below 1 or repeated, or no repetitions.
    """

    def __init__(self, instance: Instance, ns: Sequence[int], ms: Sequence[int], reps: int = 16, seed: int = 0) -> None:
        if not ns or not ms or min(*ns, *ms) < 1 or len(set(ns)) < len(ns) or len(set(ms)) < len(ms):
            raise InputError(f"a study needs different sizes of 1 or more, not n in {list(ns)} and m in {list(ms)}")
        if reps < 1:
            raise InputError(f"a study needs one repetition or more, not {reps}")
        self.instance, self.ns, self.ms, self.reps, self.seed = instance, tuple(sorted(ns)), tuple(sorted(ms)), reps, seed

    def run(self) -> RateTable:
        """Measure."""
        grid = self.instance.grid(self.ms, self.ns, self.reps, self.seed)
        if not all(math.isfinite(float(each.sum())) for each in (grid.two_phase, grid.oracle, grid.floor, *grid.baselines.values())):
            raise InputError("a risk is not finite: take more labels, or less extreme signals")
        return RateTable(self.instance.name, grid)
