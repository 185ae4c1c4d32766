"""Sorting: a network reads a set of numbers and answers with their slots in order. An answer counts when it is right as a whole.

Sets are drawn anew at every step, so that nothing can be learnt by heart. Every number is measured for each size of the test sets apart, so that a metric's name ends in the size: ``accuracy@5``.
Arms by name are readers of one and the same writer: ``"lstm"``, which sees the numbers in the order given, or ``"process-5"``, which does not and attends to them for 5 steps; with ``"-glimpse"`` behind it the writer takes a
glimpse before it points. ``"pointer"`` is the pointer network.

Source: Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), section 4.3.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ordinate.data.batches import Batch, Generated
from ordinate.data.sorting import ORDERS, sorted_slots, sorting_batch
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive, generator
from ordinate.models.registry import create_model
from ordinate.objectives.base import create_objective
from ordinate.tasks.training import TrainingTask, arm_recipe, make_seeded, train_arm
from ordinate.train.fit import Batches
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "Sorting", "SortingArm"]

AT_ONCE = 500  # sets scored together
_NAMED = re.compile(r"(lstm|process-(\d{1,3}))(-glimpse)?")


@dataclass(frozen=True, kw_only=True)
class SortingArm(Arm):
    """An arm that is taught another order, or given its numbers in another.

    Attributes:
        order: of its answers, one of `ordinate.data.sorting.ORDERS`.
        presorted: its numbers are given in ascending order.
    """

    order: str = "ascending"
    presorted: bool = False

    def __post_init__(self) -> None:
        choose("order of numbers", self.order, ORDERS)


class Sorting(TrainingTask):
    """Sets of numbers and their slots in order.

    An arm's `make(in_dim=1, n_max=...)` gives a network `model(points, target, lengths) -> (log_prob, logits)` over slots.
    """

    name = "sorting"
    title = "Sorting"
    objectives = ("pointing", "order-search")

    def __init__(
        self,
        sizes: tuple[int, int],
        *,
        within: tuple[int, ...],
        beyond: tuple[int, ...] = (),
        steps: int,
        batch_size: int = 128,
        lr: float = 2e-3,
        dim: int = 64,
        tested: int = 1000,
    ) -> None:
        """
        Args:
            sizes: the fewest and the most numbers of a training set.
            within: sizes of test sets that every arm is scored on, none larger than what is trained on.
            beyond: sizes that only those are scored on which can take them.
            steps: optimizer steps.
            batch_size: sets a step.
            lr: the peak learning rate.
            dim: the width of the networks that are arms by name.
            tested: test sets of each size.
        """
        low, high = sizes
        if not 1 <= low <= high:
            raise InputError(f"sets have 1 or more numbers, the fewest first, not {low} to {high}")
        self.sizes, self.within, self.beyond = sizes, within, beyond
        self.steps, self.batch_size, self.lr, self.dim, self.tested = steps, batch_size, lr, dim, tested
        self.title = f"Sorting {low} numbers" if low == high else f"Sorting {low} to {high} numbers"
        self.metrics = tuple(
            metric
            for n in within
            for metric in (
                Metric(f"accuracy@{n}", "%", meaning=f"of sets of {n} that are sorted without a mistake"),
                Metric(
                    f"nats@{n}",
                    "nats",
                    higher_is_better=False,
                    meaning=f"cross-entropy of whole answers of the kind that is taught, sets of {n}",
                ),
                Metric(
                    f"sensitivity@{n}",
                    "nats",
                    higher_is_better=False,
                    meaning=f"mean change of an answer's log-probability when the numbers are given in another order, sets of {n}",
                ),
            )
        )

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "Sorting":
        """A number of numbers, or a range: ``"sorting:10"``, ``"sorting:5-10"``.

        Args:
            data: ``"sorting:5"`` by default.
            setting: its scale decides on steps and widths.
            strict: no difference: sets are drawn.

        Raises:
            InputError: neither a number nor a range.
        """
        given = (data or "sorting:5").removeprefix("sorting:")
        low, dash, high = given.partition("-")
        if not low.isdigit() or (dash and not high.isdigit()):
            raise InputError(f"how many numbers are to be sorted? Give sorting:10 or sorting:5-10, not {data!r}")
        sizes = (int(low), int(high) if dash else int(low))
        return cls(
            sizes,
            within=tuple(sorted(set(sizes), reverse=True)),
            beyond=(sizes[1] * 3 // 2,),
            steps=setting.pick(smoke=300, full=6_000, gpu=10_000),
            batch_size=setting.pick(smoke=64, full=128),
            dim=setting.pick(smoke=64, full=64, gpu=128),
            tested=setting.pick(smoke=200, full=1_000, gpu=10_000),
        )

    def recipe(self, setting: Setting) -> Recipe:
        """Adam whose rate falls along a cosine, and gradients clipped at 2; the same for every arm."""
        return Recipe(steps=self.steps, lr=self.lr, schedule="cosine", warmup=min(self.steps, 50), clip=2.0)

    def model_arguments(self) -> dict[str, Any]:
        """The width of an element, and the most of them that there are to index."""
        return {"in_dim": 1, "n_max": self.sizes[1]}

    def batches(self, seed: int, objective: str) -> Batches:
        """Fresh sets at every step."""
        return self._batches(seed, "ascending", False)

    def _batches(self, seed: int, order: str, presorted: bool) -> Generated:
        def make(draws: torch.Generator) -> Batch:
            batch = sorting_batch(self.sizes, self.batch_size, draws, order)
            return _presorted(batch) if presorted else batch

        return Generated(make, derive(seed, "sorting"))

    def arm(self, name: str) -> SortingArm:
        """``"lstm"`` or ``"process-P"`` for any number P of steps, ``"-glimpse"`` behind it or not; or ``"pointer"``."""
        if name == "pointer":
            return SortingArm(name, partial(create_model, "pointer", hidden=self.dim), role="baseline")
        found = _NAMED.fullmatch(name)
        if found is None:
            raise InputError(
                f"unknown arm {name!r}: sorting has pointer, lstm, process-0, process-5, ..., and with a glimpse lstm-glimpse, process-5-glimpse, ..."
            )
        encoder = {"encoder": "lstm"} if found[1] == "lstm" else {"encoder": "set", "steps": int(found[2])}
        make = partial(create_model, "read-process-write", dim=self.dim, glimpses=int(found[3] is not None), **encoder)
        return SortingArm(name, make, role="baseline" if found[1] in ("lstm", "process-0") else "method")

    def input_card(self) -> dict[str, Any]:
        """That inputs are sets of numbers, and the most of them."""
        return {"kind": "numbers", "largest": self.sizes[1]}

    def score(self, model: nn.Module, device: str) -> dict[str, float]:
        """The metrics on the test sets that every arm is scored on."""
        return self._measure(model, device, self.within, "ascending", False)

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train one arm at one seed, and score it on all sizes that it can take."""
        model: nn.Module = make_seeded(lambda: arm.make(**self.model_arguments()), run.seed)
        order, presorted = (arm.order, arm.presorted) if isinstance(arm, SortingArm) else ("ascending", False)
        recipe, device = arm_recipe(self.recipe(run.setting), arm, run), run.setting.device
        trained = train_arm(
            model,
            create_objective("pointing", model),
            self._batches(run.seed, order, presorted),
            recipe,
            run,
            evaluate=lambda judged: self._measure(judged, device, self.within, order, presorted),
            evaluate_every=max(1, recipe.steps // self.points),
        )
        metrics = {metric.name: trained.history.last(metric.name) for metric in self.metrics}
        refused = {}
        for n in self.beyond:
            try:
                metrics |= self._measure(model, device, (n,), order, presorted)
            except InputError as error:  # a fixed alphabet, which says so
                refused[str(n)] = str(error)
        return Outcome(
            metrics,
            curves=trained.history.curves,
            parameters=trained.parameters,
            flops=trained.flops,
            notes={"refused": refused} if refused else {},
        )

    @torch.no_grad()
    def _measure(self, model: nn.Module, device: str, sizes: tuple[int, ...], order: str, presorted: bool) -> dict[str, float]:
        found: dict[str, float] = {}
        for n in sizes:
            batch = sorting_batch((n, n), self.tested, generator("sorting test", n), order)
            batch = _presorted(batch) if presorted else batch
            moved = torch.rand(self.tested, n, generator=generator("sorting moved", n)).argsort(dim=1)
            parts = [
                _scored(model, {name: value[rows].to(device) for name, value in batch.items()}, moved[rows].to(device))
                for rows in torch.arange(self.tested).split(AT_ONCE)
            ]
            right, nats, change = (torch.cat(column).double().mean().item() for column in zip(*parts, strict=True))
            found |= {f"accuracy@{n}": 100 * right, f"nats@{n}": nats, f"sensitivity@{n}": change}
        return found


def _presorted(batch: Batch) -> Batch:
    """The same sets with their numbers in ascending order, so that the answer in ascending order is 1, 2, ..., n."""
    order = sorted_slots(batch["points"][..., 0], batch["lengths"])[:, :-1]
    place = torch.where(order > 0, order - 1, torch.arange(order.shape[1]))
    return _moved(batch, place)


def _moved(batch: Mapping[str, Tensor], order: Tensor) -> dict[str, Tensor]:
    """The sets with element `order[t]` at place t, and the same answers in their new slots."""
    slots = nn.functional.pad(order.argsort(dim=1) + 1, (1, 0))
    points = batch["points"].gather(1, order[..., None])
    return {**batch, "points": points, "target": slots.gather(1, batch["target"])}


def _scored(model: nn.Module, batch: dict[str, Tensor], moved: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    log_prob, logits = model(batch["points"], batch["target"], batch["lengths"])
    # What is likeliest after a right beginning is what greedy decoding emits, up to its first mistake. Whatever is taught, the truth is the ascending order.
    truth = sorted_slots(batch["points"][..., 0].cpu(), batch["lengths"].cpu()).to(logits.device)
    if not torch.equal(truth, batch["target"]):
        _, logits = model(batch["points"], truth, batch["lengths"])
    other = _moved(batch, moved)
    change = (model(other["points"], other["target"], other["lengths"])[0] - log_prob).abs()
    return (logits.argmax(dim=2) == truth).all(dim=1), -log_prob, change


TASKS = {Sorting.name: Sorting}
