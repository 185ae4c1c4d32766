r"""How many unlabelled rows and labels a target takes, from a few pilot runs.

The runs' excess risks (or errors) are fitted by

.. math:: E(m, n) = a\, m^{-p} + b\, n^{-q} + c, \qquad a, b, c \ge 0,

by least squares on logarithms, from the best of many non-negative linear fits. c is kept only where the runs ask for it (an F test at 5 %): a floor that noise put there would make targets unreachable. Runs with m = 0 are labels alone, :math:`d\, n^{-q'}`. c is what neither removes: the bias of a model that is wrong, or the noise of
an error that is no excess. From the fit follow

- the cheapest (m, n) that reaches a target: with prices :math:`c_m, c_n` it is where :math:`c_m m^{p+1} / (a p) = c_n n^{q+1} / (b q)`, found by bisection;
- what is the bottleneck now, the larger of the two terms;
- the labels that pretraining saves, and from how many unlabelled rows on it is ahead of labels alone.

Intervals come from refits to resampled residuals. `SamplePlanner.theory` takes :math:`p = q = \frac12` and constants from the bound instead: the shape is the theorem's, and its constants are generous.

Source: the two terms are those of Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024); the planner is ours.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from scipy import stats
from scipy.optimize import least_squares, nnls

from ordinate.analyze.risk_bound import CONSTANTS, log_bracketing_number
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import derive

__all__ = ["Bottleneck", "Fit", "PilotRun", "Plan", "SamplePlanner"]

_EXPONENTS = (0.1, 2.0)  # between which they are looked for
_STARTS = (0.25, 0.5, 0.75, 1.0, 1.25)


class PilotRun(NamedTuple):
    """A run: unlabelled rows (0: labels alone), labels, and the risk that came out."""

    m: int
    n: int
    risk: float


class Fit(NamedTuple):
    """E(m, n) = a m^-p + b n^-q + c."""

    a: float
    p: float
    b: float
    q: float
    c: float

    def risk(self, m: float, n: float) -> float:
        """E(m, n); infinite sizes are allowed."""
        return self.a * m**-self.p + self.b * n**-self.q + self.c


class Bottleneck(NamedTuple):
    """The terms at (m, n): what more unlabelled rows would remove, what more labels would, and what neither does; `name` is the largest: ``"unlabelled"``, ``"labelled"`` or ``"floor"``."""

    name: str
    unlabelled: float
    labelled: float
    floor: float


@dataclass(frozen=True)
class Plan:
    """The cheapest sizes for a target.

    Attributes:
        m, n: unlabelled rows and labels, before rounding up.
        cost: of both.
        risk: E(m, n), the target.
        cost_low, cost_high: a 95 % interval of the cost over refits; infinite where the target is out of reach of some.
        supervised: labels that would reach the target alone; None without runs of labels alone.
    """

    m: float
    n: float
    cost: float
    risk: float
    cost_low: float
    cost_high: float
    supervised: float | None


class SamplePlanner:
    """See the module.

    Args:
        resamples: refits for intervals.
        seed: of the resampling.

    Attributes:
        fit_: the fitted curve.
        intervals_: its parameters' 95 % intervals, by name.
        alone_: labels alone, (d, q'), or None.
        misfit_: the root mean square of the runs' log residuals.
    """

    fit_: Fit
    intervals_: dict[str, tuple[float, float]]
    alone_: tuple[float, float] | None
    misfit_: float

    def __init__(self, resamples: int = 100, seed: int = 0) -> None:
        self.resamples = resamples
        self.seed = seed
        self._refits: list[Fit] = []

    @classmethod
    def theory(
        cls, *, parameters: int, head: int, kappa: float = 1.0, loss_bound: float = 1.0, delta: float = 0.05, rows: int = 10_000
    ) -> "SamplePlanner":
        """A planner from the bound, without runs: both exponents are 1/2.

        Args:
            parameters: of the latent-variable model.
            head: parameters of the head.
            kappa: see `ordinate.analyze.informativeness`.
            loss_bound: L.
            delta: the chance that the bound does not hold.
            rows: unlabelled rows at which the logarithm in the bound is taken.

        Raises:
            InputError: an argument out of range.
        """
        if head < 1 or kappa <= 0 or not math.isfinite(kappa) or loss_bound <= 0 or not 0 < delta < 1:
            raise InputError("head must be at least 1, kappa and the loss's bound positive and finite, and delta in (0, 1)")
        first, second, third = CONSTANTS
        planner = cls()
        planner.fit_ = Fit(
            second * kappa * loss_bound * math.sqrt(log_bracketing_number(parameters, rows) - math.log(delta)),
            0.5,
            first * loss_bound * math.sqrt(head) + third * loss_bound * math.sqrt(math.log(4 / delta) / 2),
            0.5,
            0.0,
        )
        planner.intervals_, planner.alone_, planner.misfit_ = {}, None, 0.0
        return planner

    def fit(self, runs: Iterable[tuple[int, int, float]]) -> "SamplePlanner":
        """Fit the curves.

        Args:
            runs: (m, n, risk), the risk above 0; m = 0 for labels alone. With one m only, or one n, its term stays 0: it cannot be told from the floor.

        Raises:
            InputError: fewer runs than there are numbers to fit, or numbers out of range.
        """
        found = [PilotRun(*run) for run in runs]
        if any(not math.isfinite(run.risk) or run.risk <= 0 or run.m < 0 or run.n < 1 for run in found):
            raise InputError("a run has m of 0 or more, n of 1 or more, and a risk that is finite and above 0")
        two_phase, alone = [run for run in found if run.m], [run for run in found if not run.m]
        terms = [len({run[axis] for run in two_phase}) > 1 for axis in (0, 1)]
        if len(two_phase) < 2 * sum(terms) + 1 or not any(terms):
            raise InputError(
                f"{len(two_phase)} runs with unlabelled rows do not fix the curve: give at least 3 sizes of m and of n, crossed"
            )
        if alone and len({run.n for run in alone}) < 2:
            raise InputError("labels alone are a power of n: give such runs (m = 0) at two n or more, or none")
        sizes = np.array([(run.m, run.n) for run in two_phase], dtype=float)
        logs = np.log([run.risk for run in two_phase])
        self.fit_ = _chosen(sizes, logs, terms)
        expected = np.log([self.fit_.risk(m, n) for m, n in sizes])
        residuals = logs - expected
        self.misfit_ = float(np.sqrt(np.square(residuals).mean()))
        spare = len(logs) - 2 * sum(terms) - 1
        widened = residuals * math.sqrt(len(logs) / spare) if spare > 0 else residuals
        chance = np.random.default_rng(derive("planner", self.seed))
        self._refits = [
            _fitted(sizes, expected + chance.choice(widened, len(widened)), terms, start=self.fit_) for _ in range(self.resamples)
        ]
        spread = np.array(self._refits) if self._refits else np.array([self.fit_])
        self.intervals_ = {
            name: (float(np.quantile(values, 0.025)), float(np.quantile(values, 0.975)))
            for name, values in zip(Fit._fields, spread.T, strict=True)
        }
        self.alone_ = _power_law([run.n for run in alone], [run.risk for run in alone]) if alone else None
        return self

    def predict(self, m: float, n: float) -> float:
        """E(m, n); with m = 0, labels alone.

        Raises:
            InputError: nothing was fitted, or sizes out of range.
        """
        fit = self._fit()
        if m < 0 or n < 1:
            raise InputError(f"sizes are m of 0 or more and n of 1 or more, not {m} and {n}")
        if m:
            return fit.risk(m, n)
        scale, power = self._alone()
        return scale * n**-power

    def plan(self, target: float, cost_unlabelled: float, cost_labelled: float) -> Plan:
        """The cheapest m and n with E(m, n) = target.

        Args:
            target: the risk to be reached.
            cost_unlabelled, cost_labelled: prices of a row and of a label, above 0.

        Raises:
            InputError: prices that are not positive, a target that is not above the floor, or one that is reached with a single row and label.
        """
        if min(cost_unlabelled, cost_labelled) <= 0 or not math.isfinite(cost_unlabelled + cost_labelled):
            raise InputError(
                f"prices must be positive and finite, not {cost_unlabelled} and {cost_labelled}: what is free has no best amount"
            )
        fit = self._fit()
        if not math.isfinite(target) or target <= fit.c:
            raise InputError(
                f"a risk of {target:g} is out of reach: {fit.c:.4g} is left with any amount of data; fit a better model, or aim higher"
            )
        m, n = _cheapest(fit, target, cost_unlabelled, cost_labelled)
        cost = cost_unlabelled * m + cost_labelled * n
        costs = [
            cost_unlabelled * found[0] + cost_labelled * found[1] if target > refit.c else math.inf
            for refit in self._refits
            for found in ([_cheapest(refit, target, cost_unlabelled, cost_labelled)] if target > refit.c else [(0.0, 0.0)])
        ]
        low, high = _ends(costs) if costs else (cost, cost)
        alone = (self.alone_[0] / target) ** (1 / self.alone_[1]) if self.alone_ else None
        return Plan(m, n, cost, fit.risk(m, n), low, high, alone)

    def bottleneck(self, m: float, n: float) -> Bottleneck:
        """Which kind of data would help most at (m, n).

        Raises:
            InputError: nothing was fitted, or sizes below 1.
        """
        fit = self._fit()
        if m < 1 or n < 1:
            raise InputError(f"sizes are at least 1, not {m} and {n}")
        terms = {"unlabelled": fit.a * m**-fit.p, "labelled": fit.b * n**-fit.q, "floor": fit.c}
        return Bottleneck(max(terms, key=lambda name: terms[name]), terms["unlabelled"], terms["labelled"], terms["floor"])

    def saved_labels(self, m: float, n: float) -> float:
        """How many more labels labels alone would need for the risk of (m, n); negative where pretraining loses.

        Raises:
            InputError: nothing was fitted, no runs of labels alone, or sizes out of range.
        """
        scale, power = self._alone()
        return float((scale / self.predict(m, n)) ** (1 / power) - n)

    def crossover(self, n: float) -> float:
        """The m from which two phases are ahead of labels alone at n labels; infinite where they never are, 0 where they always are.

        Raises:
            InputError: nothing was fitted, no runs of labels alone, or n below 1.
        """
        fit = self._fit()
        room = self.predict(0, n) - fit.b * n**-fit.q - fit.c
        if fit.a == 0:
            return 0.0 if room > 0 else math.inf
        return float((fit.a / room) ** (1 / fit.p)) if room > 0 else math.inf

    def _fit(self) -> Fit:
        if not hasattr(self, "fit_"):
            raise InputError("the planner has no curve yet: give it runs by fit, or make it by SamplePlanner.theory")
        return self.fit_

    def _alone(self) -> tuple[float, float]:
        self._fit()
        if self.alone_ is None:
            raise InputError("the planner knows nothing of labels alone: give it runs with m = 0 at two n or more")
        return self.alone_


def _power_law(sizes: Sequence[int], risks: Sequence[float]) -> tuple[float, float]:
    x, y = torch.tensor(sizes, dtype=torch.float64).log(), torch.tensor(risks, dtype=torch.float64).log()
    power = -float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())
    if power <= 0:
        raise InputError("labels alone do not get better with more labels in these runs (m = 0): give runs further apart, or more of them")
    return math.exp(float(y.mean()) + power * float(x.mean())), power


def _chosen(sizes: "np.ndarray", logs: "np.ndarray", terms: Sequence[bool]) -> Fit:
    """With a floor where an F test finds one, else without."""
    with_floor, without = (_fitted(sizes, logs, terms, floor=floor) for floor in (True, False))
    spare = len(logs) - 2 * sum(terms) - 1
    if with_floor.c == 0 or spare < 1:
        return without
    rest, more = (
        sum((log - math.log(fit.risk(m, n))) ** 2 for (m, n), log in zip(sizes, logs, strict=True)) for fit in (with_floor, without)
    )
    return with_floor if (more - rest) / max(rest, 1e-300) * spare > stats.f.ppf(0.95, 1, spare) else without


def _fitted(sizes: "np.ndarray", logs: "np.ndarray", terms: Sequence[bool], *, start: Fit | None = None, floor: bool = True) -> Fit:
    """Least squares on logarithms, over scaled sizes so that every coefficient is a share of the typical risk."""
    middle, level = np.exp(np.log(sizes).mean(axis=0)), math.exp(float(logs.mean()))
    scaled, target = sizes / middle, np.exp(logs) / level

    def columns(p: float, q: float) -> "np.ndarray":
        powers = (scaled[:, 0] ** -p * terms[0], scaled[:, 1] ** -q * terms[1], np.full(len(scaled), float(floor)))
        return np.stack(powers, axis=1)

    def shares(p: float, q: float) -> tuple["np.ndarray", float]:
        found, off = nnls(columns(p, q) / target[:, None], np.ones(len(target)))
        return found, float(off)

    if start is None:
        p, q = min(product(_STARTS if terms[0] else (0.5,), _STARTS if terms[1] else (0.5,)), key=lambda pair: shares(*pair)[1])
        first = shares(p, q)[0]
    else:
        p, q = start.p, start.q
        first = np.array([start.a * middle[0] ** -p, start.b * middle[1] ** -q, start.c]) / level

    def off(at: "np.ndarray") -> "np.ndarray":
        return np.log(np.maximum(columns(at[3], at[4]) @ at[:3], 1e-300) / target)

    tiny = 1e-9  # a start on the bound would stay there
    found = least_squares(
        off,
        np.array([*np.maximum(first, tiny), p, q]),
        bounds=([0, 0, 0, _EXPONENTS[0], _EXPONENTS[0]], [np.inf, np.inf, np.inf, _EXPONENTS[1], _EXPONENTS[1]]),
        xtol=1e-12,
    ).x
    a, b, c, p, q = (float(each) for each in found)
    scales = [float(each) for each in middle]
    return Fit(
        level * a * scales[0] ** p if terms[0] and a > 10 * tiny else 0.0,
        p,
        level * b * scales[1] ** q if terms[1] and b > 10 * tiny else 0.0,
        q,
        level * c if floor and c > 1e-6 else 0.0,
    )


def _cheapest(fit: Fit, target: float, cost_m: float, cost_n: float) -> tuple[float, float]:
    room = target - fit.c
    if fit.a == 0 or fit.b == 0:  # one kind of data does nothing: one row of it
        m = (fit.a / room) ** (1 / fit.p) if fit.a else 1.0
        n = (fit.b / room) ** (1 / fit.q) if fit.b else 1.0
        return max(m, 1.0), max(n, 1.0)

    def sizes(log_odds: float) -> tuple[float, float]:
        share = 1 / (1 + math.exp(-log_odds))
        other = 1 / (1 + math.exp(log_odds))
        return (fit.a / (room * share)) ** (1 / fit.p), (fit.b / (room * other)) ** (1 / fit.q)

    def imbalance(log_odds: float) -> float:
        m, n = sizes(log_odds)
        return math.log(cost_m * m) - math.log(fit.p * share_of(log_odds)) - math.log(cost_n * n) + math.log(fit.q * share_of(-log_odds))

    def share_of(log_odds: float) -> float:
        return 1 / (1 + math.exp(-log_odds))

    # c_m m / (p t) falls with the share t that unlabelled rows may leave of the room, and c_n n / (q (1 - t)) rises.
    low, high = -300.0, 300.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if imbalance(middle) > 0 else (low, middle)
    return sizes((low + high) / 2)


def _ends(costs: Sequence[float]) -> tuple[float, float]:
    ordered = sorted(costs)
    last = len(ordered) - 1
    return ordered[math.floor(0.025 * last)], ordered[math.ceil(0.975 * last)]
