"""Planar problems: a network learns convex hulls, triangulations or tours from solved instances, and answers for new ones, also of sizes that it has not seen.

Every number is measured for each size of the test instances apart, so that a metric's name ends in the size: ``accuracy@10``. Hulls and triangulations are decoded greedily and without constraints, as in the paper;
tours with a beam and the constraint that every city be visited once, and once more greedily without it.

Source: Vinyals, Fortunato, Jaitly, Pointer Networks (NIPS 2015), section 4.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from ordinate.analyze.polygons import hull_metrics
from ordinate.analyze.tours import tour_metrics, valid_tours
from ordinate.analyze.triangulations import triangulation_metrics
from ordinate.data.batches import Shuffled
from ordinate.data.planar import PROBLEMS, Hull, PlanarData, Problem, Tour, Triangulation, label, sample
from ordinate.data.planar_files import read_planar
from ordinate.data.tours import SOLVERS
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run
from ordinate.generate.constraints import Constraint, tour
from ordinate.generate.decoding import StepDecoder, beam_search
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive, generator
from ordinate.models.registry import create_model
from ordinate.objectives.base import create_objective
from ordinate.tasks.training import TrainingTask, arm_recipe, make_seeded, train_arm
from ordinate.train.fit import Batches
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "Drawn", "Filed", "Instances", "Planar", "Taught"]

AT_ONCE = 500  # instances decoded together
EXACT = 12  # the most cities for which tours are solved exactly
NETWORKS = {"pointer": "pointer", "attention": "seq2seq-attention", "seq2seq": "seq2seq"}

Answer = Callable[[PlanarData, int, Constraint | None], Tensor]
"""`answer(data, width, constraint)` -> (N, T) slots, by a beam of that width under that constraint."""


def _score_hulls(answer: Answer, data: PlanarData, width: int) -> dict[str, float]:
    return hull_metrics(data.points, answer(data, width, None), data.targets)


def _score_triangulations(answer: Answer, data: PlanarData, width: int) -> dict[str, float]:
    return triangulation_metrics(answer(data, width, None), data.targets)


def _score_tours(answer: Answer, data: PlanarData, width: int) -> dict[str, float]:
    found = tour_metrics(data.points, data.lengths, answer(data, width, tour), data.targets)
    free = 100 * valid_tours(answer(data, 1, None), data.lengths).double().mean().item()
    return {**found, "unconstrained validity": free}


SCORES: dict[type[Problem], Callable[[Answer, PlanarData, int], dict[str, float]]] = {
    Hull: _score_hulls,
    Triangulation: _score_triangulations,
    Tour: _score_tours,
}
TITLES: dict[type[Problem], str] = {Hull: "Convex hulls", Triangulation: "Delaunay triangulations", Tour: "Tours"}
METRICS: dict[type[Problem], tuple[Metric, ...]] = {
    Hull: (
        Metric("accuracy", "%", meaning="of answers that are the true polygon"),
        Metric("area", "%", meaning="of the true hull's, over the answers that are simple polygons; 0 where none is"),
        Metric("not simple", "%", higher_is_better=False, meaning="of answers that are no simple polygon; the paper writes FAIL above 1 %"),
    ),
    Triangulation: (
        Metric("coverage", "%", meaning="of true triangles that appear in the answer"),
        Metric("accuracy", "%", meaning="of answers that are the true set of triangles"),
    ),
    Tour: (
        Metric(
            "ratio",
            "x",
            higher_is_better=False,
            meaning="mean length over that of the optimal tours (above 12 points, of 2-opt's), constrained beam search",
        ),
        Metric("length", higher_is_better=False, meaning="mean length of the tours, constrained beam search"),
        Metric("validity", "%", meaning="of answers that visit every city once, constrained beam search"),
        Metric("unconstrained validity", "%", meaning="of greedy answers without the constraint that visit every city once"),
    ),
}


@dataclass(frozen=True)
class Drawn:
    """Instances drawn uniformly, as many as are wanted.

    Attributes:
        problem: what is asked of them.
        sizes: the fewest and the most points of a training instance.
        count: training instances for each seed.
        tested: test instances of each size.
        within: sizes of test instances that every arm is scored on, none larger than what is trained on.
        beyond: sizes that only those are scored on which can take them.
    """

    problem: Problem
    sizes: tuple[int, int]
    count: int
    tested: int
    within: tuple[int, ...]
    beyond: tuple[int, ...] = ()

    @property
    def largest(self) -> int:
        """The most points of a training instance."""
        return self.sizes[1]

    @property
    def described(self) -> str:
        """What is trained on, for titles."""
        low, high = self.sizes
        return f"of {low} points" if low == high else f"of {low} to {high} points"

    @property
    def within_names(self) -> tuple[str, ...]:
        """What the sets of test instances that every arm is scored on are called."""
        return tuple(str(n) for n in self.within)

    @property
    def beyond_names(self) -> tuple[str, ...]:
        """What the further sets are called."""
        return tuple(str(n) for n in self.beyond)

    def training(self, seed: int) -> PlanarData:
        """The training instances of a seed."""
        return _sampled(self.problem, self.sizes, self.count, derive("planar training", seed))

    def test(self, name: str) -> PlanarData:
        """A set of test instances with their reference answers: the same for every arm and seed. Tours of up to 12 cities are the optimal ones, and longer ones nearest neighbour's improved by 2-opt."""
        n = int(name)
        reference = _tours_for(n) if isinstance(self.problem, Tour) else PROBLEMS[self.problem.name]
        return _sampled(reference, (n, n), self.tested, derive("planar test", n))


def _tours_for(n: int) -> Tour:
    return Tour() if n <= EXACT else Tour(solver="nearest-neighbour+2-opt")


@lru_cache(maxsize=16)
def _sampled(problem: Problem, sizes: tuple[int, int], count: int, seed: int) -> PlanarData:
    return sample(problem, sizes, count, seed)


@dataclass(frozen=True)
class Filed:
    """Instances from a file of the released format; a fifth of them is held out.

    Attributes:
        problem: what is asked of them.
        path: the file.
    """

    problem: Problem
    path: Path
    within_names: tuple[str, ...] = ("held-out",)
    beyond_names: tuple[str, ...] = ()
    _data: PlanarData = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        data = read_planar(self.path, closed=not isinstance(self.problem, Triangulation))
        if len(data) < 2:
            raise InputError(f"{self.path} holds one instance: at least two are needed, one to train on and one to test with")
        object.__setattr__(self, "_data", data)

    @property
    def largest(self) -> int:
        """The most points of an instance."""
        return self._data.points.shape[1]

    @property
    def described(self) -> str:
        """What is trained on, for titles."""
        return f"of {self.path.name}"

    def _split(self) -> tuple[Tensor, Tensor]:
        order = torch.randperm(len(self._data), generator=generator("planar held out"))
        held_out = max(1, len(order) // 5)
        return order[held_out:], order[:held_out]

    def training(self, seed: int) -> PlanarData:
        """All that are not held out."""
        return self._data.rows(self._split()[0])

    def test(self, name: str) -> PlanarData:
        """Those that are."""
        return self._data.rows(self._split()[1])


Instances = Drawn | Filed


@dataclass(frozen=True, kw_only=True)
class Taught(Arm):
    """An arm that learns from answers of its own: another order of the triangles, tours of an approximation.

    Attributes:
        teacher: what answers the training instances, in place of the task's problem.
    """

    teacher: Problem


class Planar(TrainingTask):
    """One planar problem, learnt from solved instances.

    An arm's `make(n_max=...)` gives a `PointerNetwork`, or a `Problem` whose solver answers without having learnt anything.
    """

    name = "planar"
    title = "Planar problems"
    objectives = ("pointing",)

    def __init__(
        self, instances: Instances, *, steps: int, batch_size: int = 64, lr: float = 2e-2, hidden: int = 64, width: int = 1
    ) -> None:
        """
        Args:
            instances: what is trained on and tested with.
            steps: optimizer steps.
            batch_size: instances a step.
            lr: the peak learning rate.
            hidden: the width of the networks that are arms by name.
            width: of the beam.
        """
        self.instances = instances
        self.steps = steps
        self.batch_size = batch_size
        self.lr = lr
        self.hidden = hidden
        self.width = width
        kind = type(instances.problem)
        self.title = f"{TITLES[kind]} {instances.described}"
        self.metrics = tuple(
            Metric(
                f"{metric.name}@{name}",
                metric.unit,
                metric.higher_is_better,
                f"{metric.meaning}; {name} points" if name.isdigit() else metric.meaning,
            )
            for name in instances.within_names
            for metric in METRICS[kind]
        )

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "Planar":
        """A problem with a number of points, a range, or a file of the released format: ``"hull:10"``, ``"tsp:5-8"``, ``"delaunay:PATH"``.

        Args:
            data: ``"hull:5-10"`` by default.
            setting: its scale decides on steps, instances and widths.
            strict: no difference: a line that cannot be read is always an error.

        Raises:
            InputError: an unknown problem, a range that is none, or a file that cannot be read.
        """
        name, colon, given = (data or "hull:5-10").partition(":")
        problem = PROBLEMS[choose("planar problem", name, PROBLEMS)]
        if not colon or not given:
            raise InputError(f"{name}: of which points? Give {name}:10, {name}:5-10, or {name}:FILE")
        instances = _instances(problem, given, setting)
        return cls(
            instances,
            steps=setting.pick(smoke=300, full=6_000, gpu=100_000),
            batch_size=setting.pick(smoke=64, full=64, gpu=128),
            lr=setting.pick(smoke=1e-2, full=2e-2, gpu=1e-3),
            hidden=setting.pick(smoke=64, full=64, gpu=512),
            width=4 if isinstance(problem, Tour) else 1,
        )

    def recipe(self, setting: Setting) -> Recipe:
        """Adam whose rate is constant until the last fifth, and gradients clipped at 2; the same for every arm."""
        # Training begins with a long plateau, at the entropy of "any point that is left": a rate that falls from the start would cut short what comes after it.
        return Recipe(steps=self.steps, lr=self.lr, schedule="wsd", warmup=min(self.steps, 100), clip=2.0)

    def model_arguments(self) -> dict[str, Any]:
        """The most points that there are to index."""
        return {"n_max": self.instances.largest}

    def batches(self, seed: int, objective: str) -> Batches:
        """Shuffled training instances."""
        return Shuffled(self.instances.training(seed), self.batch_size, seed)

    def arm(self, name: str) -> Arm:
        """``"pointer"``, ``"attention"`` or ``"seq2seq"``; for tours also a solver of `ordinate.data.tours`."""
        solvers = list(SOLVERS) if isinstance(self.instances.problem, Tour) else []
        choose("arm", name, [*NETWORKS, *solvers])
        if name in NETWORKS:
            return Arm(name, partial(create_model, NETWORKS[name], hidden=self.hidden), role="method" if name == "pointer" else "baseline")
        return Arm(name, lambda n_max: Tour(solver=name), role="baseline")

    def input_card(self) -> dict[str, Any]:
        """The problem, and the most points."""
        return {"kind": "points", "problem": self.instances.problem.name, "largest": self.instances.largest}

    def score(self, model: nn.Module, device: str) -> dict[str, float]:
        """The metrics on the test instances that every arm is scored on."""
        return self._measure(partial(_decoded, model, self.instances.problem, device), self.instances.within_names)

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train one arm at one seed where there is anything to train, and score it on all sizes that it can take."""
        contender = make_seeded(lambda: arm.make(**self.model_arguments()), run.seed)
        instances, device = self.instances, run.setting.device
        if isinstance(contender, Problem):
            metrics = self._measure(
                lambda data, width, constraint: contender.targets(data.points, data.lengths),
                (*instances.within_names, *instances.beyond_names),
            )
            return Outcome(metrics, curves=self._over_sizes(metrics))
        data = instances.training(run.seed)
        if isinstance(arm, Taught):
            data = label(arm.teacher, data.points, data.lengths)
        recipe = arm_recipe(self.recipe(run.setting), arm, run)
        trained = train_arm(
            contender,
            create_objective(self.objectives[0], contender),
            Shuffled(data, self.batch_size, run.seed),
            recipe,
            run,
            evaluate=lambda judged: self.score(judged, device),
            evaluate_every=max(1, recipe.steps // self.points),
        )
        metrics = {metric.name: trained.history.last(metric.name) for metric in self.metrics}
        refused = {}
        for name in instances.beyond_names:
            try:
                metrics |= self._measure(partial(_decoded, contender.eval(), instances.problem, device), (name,))
            except InputError as error:  # a fixed head, which says so
                refused[name] = str(error)
        return Outcome(
            metrics,
            curves=trained.history.curves | self._over_sizes(metrics),
            parameters=trained.parameters,
            flops=trained.flops,
            notes={"refused": refused} if refused else {},
        )

    def _measure(self, answer: Answer, names: Sequence[str]) -> dict[str, float]:
        score = SCORES[type(self.instances.problem)]
        return {
            f"{metric}@{name}": value for name in names for metric, value in score(answer, self.instances.test(name), self.width).items()
        }

    def _over_sizes(self, metrics: Mapping[str, float]) -> dict[str, list[tuple[float, float]]]:
        curves: dict[str, list[tuple[float, float]]] = {}
        for each, value in metrics.items():
            metric, _, name = each.partition("@")
            if name.isdigit():
                curves.setdefault(f"{metric} over points", []).append((float(name), value))
        return {name: sorted(points) for name, points in curves.items() if len(points) > 1}


def _instances(problem: Problem, given: str, setting: Setting) -> Instances:
    low, dash, high = given.partition("-")
    if not low.isdigit() or (dash and not high.isdigit()):
        return Filed(problem, Path(given).expanduser())
    sizes = (int(low), int(high) if dash else int(low))
    if not problem.smallest <= sizes[0] <= sizes[1]:
        raise InputError(f"{problem.name} is drawn with {problem.smallest} or more points, the fewest first, not {given}")
    return Drawn(
        _tours_for(sizes[1]) if isinstance(problem, Tour) else problem,
        sizes,
        count=setting.pick(smoke=5_000, full=50_000, gpu=1_000_000),
        tested=setting.pick(smoke=200, full=1_000, gpu=10_000),
        within=tuple(sorted(set(sizes), reverse=True)),
        beyond=(sizes[1] * 3 // 2, sizes[1] * 2),
    )


def _decoded(model: nn.Module, problem: Problem, device: str, data: PlanarData, width: int, constraint: Constraint | None) -> Tensor:
    decoder, parts = cast(StepDecoder[Any], model), []
    for rows in torch.arange(len(data)).split(AT_ONCE):
        batch = data.take(rows)
        inputs = {"points": batch["points"].to(device), "lengths": batch["lengths"].to(device)}
        beams = beam_search(decoder, inputs, width=width, most=problem.longest(batch["points"].shape[1]), constraint=constraint)
        parts.append(beams.best().symbols.cpu())
    longest = max(part.shape[1] for part in parts)
    return torch.cat([nn.functional.pad(part, (0, longest - part.shape[1])) for part in parts])


TASKS = {Planar.name: Planar}
