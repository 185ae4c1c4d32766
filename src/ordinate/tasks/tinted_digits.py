"""Out-of-distribution heads: networks trained on digits over two environments whose grounds go with the class, frozen, and a head trained on them by ERM or V-REx; tested where the grounds mislead.

Members differ in their seed alone. Heads are chosen twice: by held-out rows of the training environments (IID-tune), and by an environment of its own between those and the test's (OOD-tune).

Source: Zhang and Bottou, "Learning useful representations for shifting tasks and distributions", 2023, out-of-distribution experiments (Camelyon17 there).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from ordinate.adapt.members import train_members_at_once
from ordinate.analyze.environment_probe import EnvironmentProbe, tune
from ordinate.data.batches import Shuffled, TensorSource
from ordinate.data.images import open_images
from ordinate.data.tinted import tinted
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import derive, generator
from ordinate.models.encoding import encode_all
from ordinate.models.mlp import MLP
from ordinate.objectives.classification import Classification
from ordinate.tasks.class_transfer import parameters_of
from ordinate.train.recipe import Recipe

__all__ = ["Shift", "TintedDigits"]

_RUNS, _SINGLE_RUNS = 3, 10
_WEIGHTS = (1.0, 10.0, 100.0)
_DECAYS = (1e-3, 1e-2, 1e-1)
_DECAY = 1e-2  # of V-REx, whose weight is chosen instead


@dataclass(frozen=True)
class Shift:
    """Data, and how members are trained on them.

    Attributes:
        data: grey images with classes.
        shares: of the images with the other half's ground, in each training environment.
        between: in the environment of OOD-tune.
        shifted: in the test environment.
        images: of the training environments, each.
        tested: of each of the others.
        width: of a member's hidden layer; its vectors have half as many dimensions.
        steps, batch_size, lr: of its training by AdamW.
    """

    data: str = "mnist"
    shares: tuple[float, ...] = (0.1, 0.2)
    between: float = 0.5
    shifted: float = 0.9
    images: int = 2000
    tested: int = 2000
    width: int = 24
    steps: int = 300
    batch_size: int = 128
    lr: float = 3e-3
    device: str = "cpu"


@dataclass(frozen=True)
class _Environments:
    train: TensorSource
    held_out: TensorSource
    between: TensorSource
    shifted: TensorSource
    classes: int


@lru_cache(maxsize=4)
def _environments(shift: Shift) -> _Environments:
    data = open_images(shift.data)
    if data.shape[0] != 1:
        raise InputError(f"grounds are tinted behind grey images, and those of {shift.data} have {data.shape[0]} channels")
    classes = len(data.classes)

    def drawn(count: int, share: float, number: int, test: bool) -> tuple[Tensor, Tensor]:
        whole = data.test if test else data.train
        order = torch.randperm(len(whole), generator=generator("tinted", int(test)))
        rows = order[torch.arange(number * count, (number + 1) * count) % len(order)]
        batch = whole.take(rows)
        grey = batch["image"] * data.std[0] + data.mean[0]
        return tinted(grey.clamp(0, 1), batch["label"], share, classes=classes, seed=derive("tinted", number, int(test))), batch["label"]

    parts = [drawn(shift.images, share, number, False) for number, share in enumerate(shift.shares)]
    inside: list[dict[str, Tensor]] = []
    outside: list[dict[str, Tensor]] = []
    for number, (image, label) in enumerate(parts):
        cut = len(label) * 4 // 5
        for kept, rows in ((inside, slice(None, cut)), (outside, slice(cut, None))):
            kept.append({"image": image[rows], "label": label[rows], "environment": torch.full_like(label[rows], number)})
    train, held_out = (TensorSource(**{name: torch.cat([each[name] for each in kept]) for name in kept[0]}) for kept in (inside, outside))
    between, shifted = (
        TensorSource(**dict(zip(("image", "label"), drawn(shift.tested, share, number, True), strict=True)))
        for number, share in enumerate((shift.between, shift.shifted))
    )
    return _Environments(train, held_out, between, shifted, classes)


@lru_cache(maxsize=4)
def _members(shift: Shift, n: int, seed: int) -> tuple[nn.Module, ...]:
    found = _environments(shift)
    side = found.train.tensors["image"].shape[2]

    def network() -> MLP:
        return MLP(num_classes=found.classes, image_size=side, in_chans=2, hidden=(shift.width,), num_features=max(1, shift.width // 2))

    return tuple(
        train_members_at_once(
            network,
            Classification(),
            lambda each: Shuffled(found.train, shift.batch_size, each),
            Recipe(steps=shift.steps, lr=shift.lr, warmup=min(20, shift.steps)),
            [derive(seed, "member", number) for number in range(n)],
            device=shift.device,
        )
    )


class TintedDigits(Task):
    """Accuracy in the shifted environment, the mean over several runs a seed. An arm's `make` takes nothing and gives how many members are laid side by side.

    Of a seed's members every run takes others: ten runs of one network, three of a concatenation, as far as there are enough. The notes hold each of them, so that spreads can be told.
    """

    name = "tinted-digits"

    def __init__(self, shift: Shift, n: int, pool: int | None = None) -> None:
        """
        Args:
            shift: data and training.
            n: members of the largest concatenation.
            pool: members that are trained for a seed; None is n.

        Raises:
            InputError: fewer members than the largest concatenation takes.
        """
        self.shift = shift
        self.n = n
        self.pool = n if pool is None else pool
        if not 1 <= n <= self.pool:
            raise InputError(f"of {self.pool} members there is no concatenation of {n}")
        self.title = f"Digits of {shift.data} on grounds that mislead"
        self.metrics = tuple(
            Metric(
                f"{risk} {protocol}",
                "%",
                meaning=f"of test images in the shifted environment, head trained by {risk.upper()} and chosen {how}",
            )
            for risk in ("erm", "vrex")
            for protocol, how in (("iid", "by training environments"), ("ood", "by another environment"))
        )

    def arm(self, name: str) -> Arm:
        """``one`` or ``cat-N``."""
        kind, _, count = name.rpartition("-")
        if name == "one":
            return Arm(name, lambda: 1, role="baseline", note="one network")
        if kind != "cat" or not count.isdigit() or not 1 <= int(count) <= self.n:
            raise InputError(f"task {self.name!r} has no arm {name!r}: it has one, and cat-2 to cat-{self.n}")
        return Arm(name, lambda: int(count), note="vectors of n networks side by side")

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train the members of the seed, or take them where they have been, and fit heads."""
        count: int = arm.make()
        members = _members(self.shift, self.pool, run.seed)
        runs = min(self.pool // count, _RUNS if count > 1 else _SINGLE_RUNS)
        each = [self._score(members[number * count : (number + 1) * count], run.seed) for number in range(runs)]
        metrics = {name: sum(found[name] for found in each) / len(each) for name in each[0]}
        notes = {"each": {name: [found[name] for found in each] for name in metrics}}
        return Outcome(metrics, parameters=sum(map(parameters_of, members[:count])), notes=notes)

    def _score(self, members: Sequence[nn.Module], seed: int) -> dict[str, float]:
        found = _environments(self.shift)
        z, held, between, shifted = (
            torch.cat([encode_all(member, source.tensors["image"]) for member in members], dim=1)
            for source in (found.train, found.held_out, found.between, found.shifted)
        )
        train, metrics = found.train.tensors, {}
        for risk in ("erm", "vrex"):
            penalties = [(0.0, l2) for l2 in _DECAYS] if risk == "erm" else [(weight, _DECAY) for weight in _WEIGHTS]
            candidates = [EnvironmentProbe(risk, *each) for each in penalties]  # as many for both
            judges = {"iid": (held, found.held_out.tensors["label"]), "ood": (between, found.between.tensors["label"])}
            for protocol, best in tune(candidates, z, train["label"], train["environment"], judges, seed).items():
                metrics[f"{risk} {protocol}"] = 100 * best.probe.score(shifted, found.shifted.tensors["label"])
        return metrics
