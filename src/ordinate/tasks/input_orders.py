"""Hulls of points that are given in one order or another: what the order of an input is worth to a reader of sequences, and to one of sets.

Arms by name are ``"pointer"``, which reads the points as they are drawn; ``"pointer-by-angle"``, which is given them sorted by the angle around their mean, so that every answer runs through its slots upwards; and
``"process-5-glimpse"`` (or any other number of steps, with the glimpse or without), a Read-Process-Write that does not see their order.

Source: Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), section 4.1.
"""

import re
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.data.planar import Hull, PlanarData, label
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Outcome, Run, Task
from ordinate.ground.errors import InputError
from ordinate.models.registry import create_model
from ordinate.tasks.planar import Drawn, Planar

__all__ = ["TASKS", "ByAngle", "InputOrders", "InputOrdersArm", "by_angle"]

_NAMED = re.compile(r"process-(\d{1,3})(-glimpse)?")


@dataclass(frozen=True, kw_only=True)
class InputOrdersArm(Arm):
    """An arm that may be given its points in another order.

    Attributes:
        by_angle: they are sorted by the angle around their mean.
    """

    by_angle: bool = False


def by_angle(points: Float[Tensor, "batch n 2"]) -> Float[Tensor, "batch n 2"]:
    """The points of each row sorted by the angle around their mean, counter-clockwise from the negative x axis on."""
    away = points - points.mean(dim=1, keepdim=True)
    order = torch.atan2(away[..., 1], away[..., 0]).argsort(dim=1)
    return points.gather(1, order[..., None].expand(-1, -1, 2))


@dataclass(frozen=True)
class ByAngle(Drawn):
    """The same instances, all of one size, with their points sorted by angle and their answers in the new slots."""

    def training(self, seed: int) -> PlanarData:
        """The training instances of a seed."""
        return _relabelled(Drawn(self.problem, self.sizes, self.count, self.tested, self.within), seed, None)

    def test(self, name: str) -> PlanarData:
        """A set of test instances with their reference answers."""
        return _relabelled(Drawn(self.problem, self.sizes, self.count, self.tested, self.within), None, name)


@lru_cache(maxsize=8)
def _relabelled(drawn: Drawn, seed: int | None, name: str | None) -> PlanarData:
    data = drawn.training(seed) if seed is not None else drawn.test(str(name))
    return label(drawn.problem, by_angle(data.points))


class InputOrders(Task):
    """Convex hulls, with the points given in one order or another.

    An arm is an `InputOrdersArm`; its `make(n_max=...)` gives a network over slots.
    """

    name = "input-orders"

    def __init__(
        self, n: int, *, steps: int, count: int = 20_000, tested: int = 1_000, batch_size: int = 64, lr: float = 1e-2, hidden: int = 64
    ) -> None:
        """
        Args:
            n: points of every instance.
            steps: optimizer steps.
            count: training instances for each seed.
            tested: test instances.
            batch_size: instances a step.
            lr: the peak learning rate.
            hidden: the width of the networks that are arms by name.
        """
        self.hidden = hidden
        self.drawn, self.sorted = (
            Planar(kind(Hull(), (n, n), count, tested, (n,)), steps=steps, batch_size=batch_size, lr=lr, hidden=hidden)
            for kind in (Drawn, ByAngle)
        )
        self.metrics = self.drawn.metrics
        self.title = f"Convex hulls of {n} points, given in several orders"

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "InputOrders":
        """A number of points: ``"hull:8"``.

        Raises:
            InputError: anything else.
        """
        given = (data or "hull:8").removeprefix("hull:")
        if not given.isdigit() or int(given) < Hull.smallest:
            raise InputError(f"hulls of how many points? Give hull:8, or any number from {Hull.smallest} on, not {data!r}")
        return cls(
            int(given), steps=setting.pick(smoke=100, full=2_000, gpu=20_000), count=setting.pick(smoke=2_000, full=20_000, gpu=1_000_000)
        )

    def arm(self, name: str) -> InputOrdersArm:
        """``"pointer"``, ``"pointer-by-angle"``, or ``"process-P"`` for any number P of steps, with ``"-glimpse"`` behind it or not."""
        if name in ("pointer", "pointer-by-angle"):
            make = partial(create_model, "pointer", hidden=self.hidden)
            return InputOrdersArm(name, make, role="baseline" if name == "pointer" else "method", by_angle=name != "pointer")
        found = _NAMED.fullmatch(name)
        if found is None:
            raise InputError(f"unknown arm {name!r}: there are pointer, pointer-by-angle, process-5, process-5-glimpse, ...")
        return InputOrdersArm(
            name, partial(create_model, "read-process-write", dim=self.hidden, steps=int(found[1]), glimpses=int(found[2] is not None))
        )

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train one arm at one seed, and score it."""
        chosen = self.sorted if isinstance(arm, InputOrdersArm) and arm.by_angle else self.drawn
        return chosen.run(arm, run)


TASKS = {InputOrders.name: InputOrders}
