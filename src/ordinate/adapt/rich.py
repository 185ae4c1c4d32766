"""A rich representation from its factory to its use: members trained, laid side by side, distilled, or fine-tuned in two stages.

Source: Zhang and Bottou, "Learning useful representations for shifting tasks and distributions", 2023.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from ordinate.adapt.concat import Concat
from ordinate.adapt.distil import Distillation, teacher_logits
from ordinate.adapt.members import train_members, train_snapshots
from ordinate.adapt.two_stage import two_stage_finetune
from ordinate.data.batches import Shuffled, TensorSource
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive
from ordinate.models.encoding import Classifier, encode_all
from ordinate.train.fit import Batch, fit
from ordinate.train.recipe import Recipe

__all__ = ["MODES", "RichRepresentation"]

MODES = ("seeds", "snapshots")


class RichRepresentation:
    """Several trainings of one network as one representation.

    Attributes:
        members: after `fit`, the trained networks, heads included.
        concat: their vectors side by side, frozen.
    """

    def __init__(self, factory: Callable[[], nn.Module], n: int, seeds: Sequence[int] | None = None, mode: str = "seeds") -> None:
        """
        Args:
            factory: makes a network: `network.embed(x)` (or the call itself) gives vectors.
            n: members.
            seeds: one a member, or for snapshots one; 0, 1, ... by default.
            mode: ``"seeds"`` trains n networks, ``"snapshots"`` keeps n copies along one training.

        Raises:
            InputError: no members, an unknown mode, or another number of seeds.
        """
        self.mode = choose("mode", mode, MODES)
        wanted = n if mode == "seeds" else 1
        self.seeds = list(range(wanted)) if seeds is None else list(seeds)
        if n < 1 or len(self.seeds) != wanted:
            raise InputError(f"{n} members by {mode} need {wanted} seeds, not {len(self.seeds)}")
        self.factory = factory
        self.n = n
        self._members: list[nn.Module] = []

    @property
    def members(self) -> list[nn.Module]:
        """The trained networks.

        Raises:
            InputError: `fit` has not been called.
        """
        if not self._members:
            raise InputError("the representation has no members yet: call fit first")
        return self._members

    @property
    def concat(self) -> Concat:
        """Their vectors side by side, frozen; a new module at every call, on the same members."""
        return Concat(self.members)

    def fit(
        self,
        source: TensorSource,
        objective: Callable[[nn.Module, Batch], Tensor],
        recipe: Recipe,
        *,
        batch_size: int = 128,
        device: str = "cpu",
    ) -> "RichRepresentation":
        """Train the members, each on the same rows in an order of its own.

        Args:
            source: rows.
            objective: `objective(network, batch)` -> scalar, without parameters of its own.
            recipe: of every training; with snapshots its rate is constant.
            batch_size: rows a step.
            device: where.

        Raises:
            InputError: what the training refuses, or members that came out the same.
        """

        def train(network: nn.Module, seed: int) -> None:
            fit(network, objective, Shuffled(source, batch_size, seed), recipe, seed=seed, device=device)

        if self.mode == "seeds":
            self._members = train_members(self.factory, train, self.seeds, devices=[device])
            return self
        seed = self.seeds[0]
        with torch.random.fork_rng([]):
            torch.manual_seed(derive(seed, "init"))
            network = self.factory()
        batches = Shuffled(source, batch_size, seed)
        self._members = train_snapshots(network, objective, batches, recipe, self.n, seed=seed, device=device)
        return self

    def transform(self, inputs: Tensor) -> Float[Tensor, "rows features"]:
        """The features (N, sum of D_i), on the CPU, of inputs (N, ...)."""
        return encode_all(self.concat, inputs)

    def distil(
        self,
        inputs: Tensor,
        student: nn.Module,
        recipe: Recipe,
        *,
        targets: str = "soft",
        tau: float = 10.0,
        batch_size: int = 128,
        seed: int = 0,
        device: str = "cpu",
    ) -> nn.Module:
        """Train a student, in place, to imitate every member's logits; its heads are dropped.

        Args:
            inputs: (N, ...), without labels.
            student: inputs to vectors; it says their width by `num_features`, or else is asked for it.
            recipe: of the training.
            targets, tau: see :class:`ordinate.adapt.distil.Distillation`.
            batch_size, seed, device: of the training.

        Raises:
            InputError: not fitted, or what the training refuses.
        """
        logits = teacher_logits(self.members, inputs)
        width = getattr(student, "num_features", None) or encode_all(student, inputs[:2]).shape[1]
        with torch.random.fork_rng([]):
            torch.manual_seed(derive(seed, "distil"))
            objective = Distillation(width, logits.shape[2], logits.shape[1], targets=targets, tau=tau)
        source = TensorSource(image=inputs, teachers=logits)
        fit(student, objective, Shuffled(source, batch_size, seed), recipe, seed=seed, device=device)
        return student.cpu().eval()

    def two_stage_finetune(
        self,
        inputs: Tensor,
        labels: Int64[Tensor, " rows"],
        train: Callable[[Classifier, int], Any],
        *,
        head_epochs: int = 2,
        seed: int = 0,
    ) -> Classifier:
        """Fine-tune every member by `train(classifier, number)`, then one head on all of them; see :func:`ordinate.adapt.two_stage.two_stage_finetune`."""
        classes = int(labels.max()) + 1
        return two_stage_finetune(self.members, classes, train, inputs, labels, head_epochs=head_epochs, seed=seed)
