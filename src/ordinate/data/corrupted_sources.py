r"""Corrupted images as tasks: each is one kind of corruption with one class, and asks which images are of that class.

With C kinds and k classes there are C k binary tasks, of which one is the target and those with other kinds are the sources (with all sixteen kinds of MNIST-C and ten digits: 160 tasks, 150 sources a target). Samples are half of
the class and half of the others, with targets 1 and -1; images are new ones of the training split until it is used up, each corrupted by its own chance.

Source: the set-up of Chen et al., "Active multi-task representation learning" (ICML 2022), section 5, and of Wang et al. (ICML 2023), which follow it.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Float32
from torch import Tensor

from ordinate.data.batches import Subset
from ordinate.data.corruptions import CORRUPTIONS, corrupt
from ordinate.data.images import ImageData
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive, generator

__all__ = ["CorruptedSampler", "CorruptedTasks"]


class CorruptedTasks:
    """The images, corrupted once, of some kinds.

    Args:
        data: images with classes.
        kinds: of corruption, two or more.
        images: of the training split that are used, the first of a permutation; None for all.
        tested: the same of the test split.
        severity: see `ordinate.data.corruptions.corrupt`.
        seed: of the permutations and the corruptions.

    Attributes:
        train, test: (kinds, images, C, H, W) float32, standardised as `data` is.
        train_labels, test_labels: (images,) int64.

    Raises:
        InputError: fewer than two kinds, one twice, or an unknown one.
    """

    def __init__(
        self,
        data: ImageData,
        kinds: Sequence[str] = CORRUPTIONS,
        *,
        images: int | None = None,
        tested: int | None = None,
        severity: int | None = None,
        seed: int = 0,
    ) -> None:
        if len(kinds) < 2 or len(set(kinds)) != len(kinds):
            raise InputError(f"there must be two or more kinds of corruption, none twice, not {list(kinds)}")
        for kind in kinds:
            choose("corruption", kind, CORRUPTIONS)
        self.kinds, self.classes = tuple(kinds), len(data.classes)
        self.severity, self.seed = severity, seed
        self.mean, self.std = (torch.tensor(each)[:, None, None] for each in (data.mean, data.std))
        self.train, self.train_labels = self._read(data, "train", images)
        self.test, self.test_labels = self._read(data, "test", tested)

    def _read(self, data: ImageData, split: str, count: int | None) -> tuple[Tensor, Tensor]:
        source = data.train if split == "train" else data.test
        rows = torch.randperm(len(source), generator=generator(self.seed, split))[:count]
        batch = Subset(source, rows).take(torch.arange(len(rows)))
        pixels = (batch["image"] * self.std + self.mean).clamp(0, 1)
        changed = [corrupt(pixels, kind, self.severity, seed=derive(self.seed, split), rows=rows) for kind in self.kinds]
        return (torch.stack(changed) - self.mean) / self.std, batch["label"]

    def sources(self, target: tuple[int, int]) -> list[tuple[int, int]]:
        """The (kind, class) of the sources of a target: all whose kind is another."""
        return [(kind, label) for kind in range(len(self.kinds)) if kind != target[0] for label in range(self.classes)]

    def tested(self, target: tuple[int, int]) -> tuple[Float32[Tensor, "images ..."], Float[Tensor, " images"]]:
        """Test images of a target with its class, and as many of the others: (images, targets in {-1, 1})."""
        own = torch.nonzero(self.test_labels == target[1])[:, 0]
        others = torch.nonzero(self.test_labels != target[1])[:, 0]
        others = others[torch.randperm(len(others), generator=generator(self.seed, "tested", *target))[: len(own)]]
        rows = torch.cat([own, others])
        return self.test[target[0], rows], torch.where(self.test_labels[rows] == target[1], 1.0, -1.0)


class CorruptedSampler:
    """Samples of (kind, class) tasks: `sampler(task, n) -> (X (n, C, H, W), y (n,))`, y in {-1, 1}, each class's images in an order of the seed, from the beginning again when they are used up.

    Args:
        tasks: the images.
        numbered: the (kind, class) of each task's number; -1 is the last one's, so that the target may stand there.
        seed: of the orders.
    """

    def __init__(self, tasks: CorruptedTasks, numbered: Sequence[tuple[int, int]], seed: int) -> None:
        self.tasks = tasks
        self.numbered = list(numbered)
        self.seed = seed
        self._given: dict[tuple[int, int], int] = dict.fromkeys(self.numbered, 0)

    def __call__(self, task: int, n: int) -> tuple[Float32[Tensor, "samples ..."], Float[Tensor, " samples"]]:
        """The next n samples of a task, of the class and of the others in turn.

        Raises:
            InputError: no such task, or a class without images.
        """
        if not -len(self.numbered) <= task < len(self.numbered):
            raise InputError(f"there is no task {task}: there are {len(self.numbered)}")
        kind, label = self.numbered[task]
        places = torch.arange(self._given[kind, label], self._given[kind, label] + n)
        self._given[kind, label] += n
        rows = torch.where(places % 2 == 0, self._row(places // 2, kind, label, own=True), self._row(places // 2, kind, label, own=False))
        return self.tasks.train[kind, rows], torch.where(places % 2 == 0, 1.0, -1.0)

    def _row(self, places: Tensor, kind: int, label: int, *, own: bool) -> Tensor:
        rows = torch.nonzero((self.tasks.train_labels == label) == own)[:, 0]
        if not len(rows):
            raise InputError(f"there are no images {'of' if own else 'outside'} class {label}: use more images")
        order = torch.randperm(len(rows), generator=generator(self.seed, "order", kind, label, int(own)))
        return rows[order[places % len(rows)]]
