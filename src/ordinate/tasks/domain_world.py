"""A small world of task vectors: digits seen in several domains, one weak encoder that knows a little of each, and one fine-tuned encoder a domain.

The encoder is an MLP with layer normalisation under a frozen head of random unit prototypes, which stands for the text embeddings of class names: it is the same for all domains. Pre-training is short, on images turned by any
angle and half of them inverted; fine-tuning is on one domain each. All arms of a seed share the world, which is made once.
"""

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.adapt.coefficient_learning import TaskData, accuracy
from ordinate.adapt.linearised import LinearisedModel
from ordinate.adapt.lora_vectors import LowRankVector, attach_low_rank
from ordinate.adapt.task_vector import TaskBank, TaskVector
from ordinate.data.batches import Shuffled, Source, Subset, TensorSource
from ordinate.data.few_shots import few_shots
from ordinate.data.image_domains import ImageDomain, turned
from ordinate.data.images import Standardised, open_images
from ordinate.experiment.setting import Setting
from ordinate.ground.seeds import derive, generator
from ordinate.nn.prototype_head import PrototypeHead
from ordinate.tasks.training import make_seeded
from ordinate.train.fit import Batch, fit
from ordinate.train.recipe import Recipe

__all__ = ["COVERED", "SOURCES", "UNCOVERED", "DomainWorld", "WorldSize", "domain_world", "world_size"]

SOURCES = (*(ImageDomain(angle) for angle in (0, 60, 120, 180)), ImageDomain(0, True), ImageDomain(90, True))
"""The domains of the bank's vectors."""
COVERED = (ImageDomain(40), ImageDomain(150))
"""Held-out domains between those of the bank."""
UNCOVERED = (ImageDomain(45, True),)
"""Held-out domains that the bank hardly covers."""
_WIDTHS = (256, 128, 64)
_SCALE = 10.0
_BATCH = 64


@dataclass(frozen=True)
class WorldSize:
    """How large a world is.

    Attributes:
        base_rows, base_steps: images and steps of pre-training.
        rows, steps: images of a domain and steps of its fine-tuning.
        learned, checked, tested: images of each domain that coefficients are learned on, judged by, and scored on.
    """

    base_rows: int = 2_000
    base_steps: int = 60
    rows: int = 10_000
    steps: int = 300
    learned: int = 2_000
    checked: int = 1_000
    tested: int = 2_000


def world_size(setting: Setting) -> WorldSize:
    """The size at a scale."""
    return setting.pick(
        smoke=WorldSize(base_rows=1_000, rows=2_000, steps=80, learned=600, checked=300, tested=500),
        full=WorldSize(),
        gpu=WorldSize(base_rows=4_000, rows=40_000, steps=2_000, learned=4_000, checked=4_000, tested=10_000),
    )


class DomainWorld:
    """One seed's encoder, head and data.

    Attributes:
        encoder: theta_0, images (B, 1, 28, 28) to embeddings (B, 64).
        head: of all domains.
        size: of the world.
        seed: of all that is random in it.
    """

    def __init__(self, size: WorldSize, seed: int, folder: Path | None = None) -> None:
        """
        Args:
            size: how large.
            seed: of all that is random.
            folder: where named datasets lie.

        Raises:
            MissingError: MNIST is not at hand.
        """
        self.size, self.seed = size, seed
        images = open_images("mnist", folder=folder)
        counts = (size.base_rows, size.rows, size.learned, size.checked)
        rows = torch.randperm(len(images.train), generator=generator(seed, "world"))[: sum(counts)]
        base, train, learn, check = rows.split(counts)
        self._base, self._train, self._learn, self._check = (_unit(images.train, part) for part in (base, train, learn, check))
        tested = torch.randperm(len(images.test), generator=generator("world tested"))[: size.tested]
        self._test = _unit(images.test, tested)
        self.head, self.encoder = make_seeded(lambda: (PrototypeHead(torch.randn(10, _WIDTHS[-1]), _SCALE), _encoder()), seed)
        self._teach(self.encoder, self.anywhere(self._base), size.base_steps, "base")
        self.encoder.eval()

    def anywhere(self, source: TensorSource) -> TensorSource:
        """Images of a source turned by any angle, half of them inverted."""
        images, chance = source.tensors["image"], generator(self.seed, "anywhere", len(source))
        seen = turned(images, 360 * torch.rand(len(images), generator=chance))
        inverted = torch.rand(len(images), generator=chance)[:, None, None, None] < 0.5
        return TensorSource(image=torch.where(inverted, 1 - seen, seen), label=source.tensors["label"])

    def _teach(self, model: nn.Module, source: Source, steps: int, what: str, lr: float = 1e-3) -> None:
        def loss(judged: nn.Module, batch: Batch) -> Tensor:
            return F.cross_entropy(self.head(judged(batch["image"])), batch["label"])

        seed = derive(self.seed, what)
        fit(model, loss, Shuffled(source, _BATCH, seed), Recipe(steps=steps, lr=lr), seed=seed)

    @lru_cache(maxsize=32)  # noqa: B019 - a world is kept as long as its images are wanted, and few are made
    def _seen(self, part: str, domain: ImageDomain) -> TensorSource:
        source: TensorSource = getattr(self, f"_{part}")
        return (
            self.anywhere(source) if domain is None else TensorSource(image=domain(source.tensors["image"]), label=source.tensors["label"])
        )

    def task(self, domain: ImageDomain, *, share: float = 1.0) -> TaskData:
        """A domain as a task to compose for. `share` of its images are learned on."""
        learn = self._seen("learn", domain)
        rows = torch.arange(max(1, round(share * len(learn))))
        return TaskData(domain.name, Subset(learn, rows), self._seen("check", domain), self.head)

    def union(self, domains: Sequence[ImageDomain]) -> TaskData:
        """Several domains as one task."""
        parts = {part: [self._seen(part, domain).tensors for domain in domains] for part in ("learn", "check")}
        sources = {
            part: TensorSource(**{name: torch.cat([tensors[name] for tensors in found]) for name in ("image", "label")})
            for part, found in parts.items()
        }
        return TaskData("+".join(domain.name for domain in domains), sources["learn"], sources["check"], self.head)

    def shots(self, domain: ImageDomain, count: int) -> TaskData:
        """A domain with so many labelled images of each class."""
        source = self._seen("train", domain)
        rows = few_shots(source.tensors["label"], count, self.seed)
        return TaskData(domain.name, Subset(source, rows), self._seen("check", domain), self.head)

    def some(self, domain: ImageDomain, share: float) -> TaskData:
        """A domain with a share of the images of fine-tuning."""
        source = self._seen("train", domain)
        rows = torch.arange(max(1, round(share * len(source))))
        return TaskData(domain.name, Subset(source, rows), self._seen("check", domain), self.head)

    def test(self, encoder: nn.Module, domain: ImageDomain, head: nn.Module | None = None) -> float:
        """Accuracy on a domain's test images, in %."""
        return 100 * accuracy(encoder, head or self.head, self._seen("test", domain))

    @lru_cache(maxsize=1)  # noqa: B019
    def _tuned(self) -> dict[str, nn.Module]:
        return {domain.name: self.tuned(domain) for domain in SOURCES}

    def tuned(self, domain: ImageDomain) -> nn.Module:
        """The encoder fine-tuned on a domain."""
        model = deepcopy(self.encoder)
        self._teach(model, self._seen("train", domain), self.size.steps, domain.name)
        return model.eval()

    def bank(self) -> TaskBank:
        """The vectors of all source domains."""
        theta0 = self.encoder.state_dict()
        return TaskBank({name: TaskVector.from_checkpoints(theta0, model.state_dict()) for name, model in self._tuned().items()})

    def references(self) -> dict[str, float]:
        """The accuracy of each fine-tuned encoder on its own domain's check images."""
        return {domain.name: accuracy(self._tuned()[domain.name], self.head, self._seen("check", domain)) for domain in SOURCES}

    def ceilings(self) -> list[float]:
        """That on its test images, in %."""
        return [self.test(self._tuned()[domain.name], domain) for domain in SOURCES]

    @lru_cache(maxsize=1)  # noqa: B019
    def linear_bank(self) -> TaskBank:
        """Vectors of encoders fine-tuned as their own linear expansion."""
        found = {}
        for domain in SOURCES:
            model = LinearisedModel(self.encoder)
            self._teach(model, self._seen("train", domain), self.size.steps, domain.name)
            found[domain.name] = model.task_vector()
        return TaskBank(found)

    @lru_cache(maxsize=4)  # noqa: B019
    def low_rank_bank(self, rank: int) -> dict[str, LowRankVector]:
        """Vectors of encoders fine-tuned by low-rank changes of their matrices."""
        found = {}
        for domain in SOURCES:
            model = attach_low_rank(self.encoder, rank, seed=self.seed)
            self._teach(model, self._seen("train", domain), self.size.steps, domain.name, lr=3e-3)
            found[domain.name] = LowRankVector.of(model)
        return found


def _encoder() -> nn.Module:
    layers: list[nn.Module] = [nn.Flatten(), nn.Linear(28 * 28, _WIDTHS[0])]
    for before, after in pairwise(_WIDTHS):
        layers += [nn.LayerNorm(before), nn.ReLU(), nn.Linear(before, after)]
    return nn.Sequential(*layers)


def _unit(source: Source, rows: Tensor) -> TensorSource:
    """Rows with pixels in [0, 1] again, in memory."""
    assert isinstance(source, Standardised)
    batch = source.take(rows)
    return TensorSource(image=batch["image"] * source.std + source.mean, label=batch["label"])


@lru_cache(maxsize=4)
def domain_world(size: WorldSize, seed: int, folder: Path | None = None) -> DomainWorld:
    """The world of a size and seed, made once."""
    return DomainWorld(size, seed, folder)
