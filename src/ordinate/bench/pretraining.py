"""Pretraining on unlabelled rows against straightforward code: a study of rates against a double loop over its sizes, and expectation-maximisation against scikit-learn's.

The double loop fits a factor model, a head and labels alone anew for every repetition, m and n: on the same rows as the study, which gives the same risks, or on rows of every cell's own, as code that is written cell by cell does. The two mixtures have spherical components, begin at the same centres and take
the same number of steps; scikit-learn's also estimates weights and a variance a component, which costs it one product more a step.
"""

import warnings
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch import Tensor

from ordinate.analyze.excess_risk import linear_excess_risk
from ordinate.analyze.rate_instances import FactorInstance
from ordinate.bench.base import Bench, BenchResult, Timing, fitted_exponents
from ordinate.data.latent_models import FactorProblem, MixtureProblem
from ordinate.experiment.measure import measure_time
from ordinate.ground.seeds import generator
from ordinate.models.factor_model import FactorModel
from ordinate.models.gaussian_mixture import GaussianMixturePretrainer
from ordinate.models.latent_heads import RidgeHead

__all__ = ["BENCHES", "looped_risks", "sklearn_steps", "steps"]

NS = (50, 100, 200, 400, 800, 1600, 20_000)
MS = (100, 200, 400, 800, 1600, 3200, 6400, 50_000)
COMPONENTS, COORDINATES, STEPS = 30, 50, 10


def looped_risks(
    instance: FactorInstance, ms: Sequence[int], ns: Sequence[int], reps: int, seed: int, *, fresh: bool = False
) -> tuple[Tensor, Tensor]:
    """The peer of `FactorInstance.grid`: risks of two phases (R, M, N) and of labels alone (R, N), every cell by itself, and with `fresh` on rows of its own."""
    two_phase = torch.zeros(reps, len(ms), len(ns), dtype=torch.float64)
    alone = torch.zeros(reps, len(ns), dtype=torch.float64)
    for rep in range(reps):
        chance = generator("factor", seed, rep)
        problem = FactorProblem.draw(instance.d, instance.singular, chance, beta=instance.beta, noise=instance.noise)
        x, y = problem.sample(ns[-1], chance)
        unlabelled = problem.inputs(ms[-1], chance)
        for row, m in enumerate(ms):
            for column, n in enumerate(ns):
                if fresh:
                    x, y = problem.sample(n, chance)
                    unlabelled = problem.inputs(m, chance)
                model = FactorModel(len(instance.singular)).fit(unlabelled[:m].numpy())
                maps = model.posterior(torch.eye(instance.d, dtype=torch.float64))
                head = RidgeHead().fit(model.posterior(x[:n]).numpy(), y[:n].numpy())
                two_phase[rep, row, column] = linear_excess_risk(maps @ head.weight_, problem.best, problem.covariance)
        for column, n in enumerate(ns):
            if fresh:
                x, y = problem.sample(n, chance)
            weights = RidgeHead().fit(x[:n].numpy(), y[:n].numpy()).weight_
            alone[rep, column] = linear_excess_risk(weights, problem.best, problem.covariance)
    return two_phase, alone


def _rates(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    ms, ns = (MS[:4], NS[:4]) if quick else (MS, NS)
    for reps in sizes or ((1,) if quick else BENCHES["rate-study"].sizes):
        calls: dict[str, Callable[[], Any]] = {
            "ordinate": partial(FactorInstance().grid, ms, ns, reps, 0),
            "double loop, same rows": partial(looped_risks, FactorInstance(), ms, ns, reps, 0),
            "double loop, fresh rows": partial(looped_risks, FactorInstance(), ms, ns, reps, 0, fresh=True),
        }
        for contender, call in calls.items():
            watch(f"{contender}, {reps} repetitions of {len(ms)} x {len(ns)} sizes")
            rows.append(Timing(contender, reps, measure_time(call, repeats=1 if not quick else 3)))
    return BenchResult(
        rows, peer="ordinate", size_name="repetitions", remarks=["the time of drawing the rows is included: it is most of ordinate's"]
    )


def steps(x: Tensor, centres: Tensor, count: int) -> GaussianMixturePretrainer:
    """A mixture after `count` steps from given centres."""
    return GaussianMixturePretrainer(len(centres), noise="free", steps=count + 1, tol=0.0, start=centres).fit(x)


def sklearn_steps(x: Any, centres: Any, count: int) -> Any:
    """Scikit-learn's after as many."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return GaussianMixture(
            len(centres),
            covariance_type="spherical",
            tol=0.0,
            max_iter=count,
            means_init=centres,
            init_params="random_from_data",
            random_state=0,
        ).fit(x)


def _mixture(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    for m in sizes or ((2_000, 5_000) if quick else BENCHES["mixture-em"].sizes):
        chance = generator("bench mixture", m)
        problem = MixtureProblem.draw(COORDINATES, COMPONENTS, 2, chance)
        x = problem.inputs(m, chance)
        centres = x[:COMPONENTS]
        calls: dict[str, Callable[[], Any]] = {
            "ordinate": partial(steps, x, centres, STEPS),
            "scikit-learn": partial(sklearn_steps, x.numpy(), centres.numpy(), STEPS),
            "ordinate, float32": partial(steps, x.float(), centres.float(), STEPS),
        }
        for contender, call in calls.items():
            watch(f"{contender}, {m:,} rows")
            rows.append(Timing(contender, m, measure_time(call, repeats=3)))
    return BenchResult(
        rows,
        peer="ordinate",
        size_name="rows",
        exponents=fitted_exponents(rows),
        remarks=[f"{STEPS} steps of {COMPONENTS} components in {COORDINATES} dimensions, from the same centres"],
    )


BENCHES = {
    "mixture-em": Bench(
        "Expectation-maximisation of a mixture of spherical Gaussians, against scikit-learn", _mixture, (10_000, 30_000, 100_000)
    ),
    "rate-study": Bench("Excess risks over a grid of sizes from nested prefixes, against a double loop over its cells", _rates, (1, 2, 4)),
}
