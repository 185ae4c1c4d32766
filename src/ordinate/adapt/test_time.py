r"""Test-time adaptation: coefficients learned from a target's images without labels.

- ``"ufm"``: a quarter of every batch is of trusted images, chosen anew every epoch from the model's own predictions; see `ordinate.objectives.ufm`;
- ``"entropy"``: sharpness-aware entropy of reliable images (SAR); see `ordinate.objectives.sharp_entropy`;
- ``"simclr"``: the two views of an image must recognise each other by their embeddings.

No label is read, so there is no best epoch to choose by: the last state is kept. The usual baseline trains the gains and biases of normalisation layers alone, `train_norms`.

Source: Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024), section 5.2 and appendix D. The released code keeps the epoch of the best test accuracy, which needs the labels.
"""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from ordinate.data.augment import Augmentation
from ordinate.data.batches import Batch, Shuffled, Source
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive, generator
from ordinate.objectives.contrastive import InfoNCE
from ordinate.objectives.sharp_entropy import SharpEntropy
from ordinate.objectives.ufm import UFM, trusted_rows
from ordinate.train.fit import fit
from ordinate.train.history import History
from ordinate.train.recipe import Recipe

__all__ = ["OBJECTIVES_AT_TEST_TIME", "learn_unsupervised", "train_norms"]

OBJECTIVES_AT_TEST_TIME = ("ufm", "entropy", "simclr")
_AT_ONCE = 512
_TRUSTED = 4  # one row of so many is of the trusted set


def train_norms(model: nn.Module) -> nn.Module:
    """Freeze a model, in place, but for the gains and biases of its normalisation layers; the baseline.

    Raises:
        InputError: it has none.
    """
    model.requires_grad_(False)
    norms = [module for module in model.modules() if isinstance(module, nn.LayerNorm | nn.GroupNorm | nn.RMSNorm | _NormBase)]
    parameters = [parameter for module in norms for parameter in module.parameters(recurse=False)]
    if not parameters:
        raise InputError(f"{type(model).__name__} has no normalisation layer with gains to train")
    for parameter in parameters:
        parameter.requires_grad_(True)
    return model


class _Mixed:
    """Batches of two views, a quarter of the rows from the trusted set, which is set anew every epoch."""

    def __init__(self, source: Source, batch_size: int, seed: int, weak: Augmentation | None, strong: Augmentation) -> None:
        self.source, self.batch_size, self.seed, self.weak, self.strong = source, batch_size, seed, weak, strong
        self.rows, self.labels = torch.empty(0, dtype=torch.int64), torch.empty(0, dtype=torch.int64)
        self.share = max(1, batch_size // _TRUSTED)

    def trust(self, rows: Tensor, labels: Tensor) -> None:
        self.rows, self.labels = rows, labels
        known = torch.zeros(len(self.source), dtype=torch.bool)
        known[rows] = True
        others = (~known).nonzero()[:, 0]
        # Where every image is trusted, the rest of a batch is of trusted images too.
        self.others = others if len(others) else rows

    def __call__(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        chance = generator(self.seed, "trusted", step)
        picked = torch.randint(len(self.rows), (self.share,), generator=chance)
        rest = self.others[torch.randint(len(self.others), (self.batch_size - self.share,), generator=chance)]
        images = self.source.take(torch.cat([self.rows[picked], rest]))["image"]
        count = len(images)
        target = torch.zeros(count, dtype=torch.int64)
        target[: self.share] = self.labels[picked]
        trusted = torch.arange(count) < self.share
        views = {}
        for name, change in (("weak", self.weak), ("strong", self.strong)):
            views[name] = images if change is None else change.apply(images, change.draw(count, generator(self.seed, name, step)))
        mine = slice(rank * count // world, (rank + 1) * count // world)
        return {name: entry[mine] for name, entry in {**views, "target": target, "trusted": trusted}.items()}


class _Views:
    """Batches of two independent strong views, without anything else."""

    def __init__(self, source: Source, batch_size: int, seed: int, strong: Augmentation) -> None:
        self.batches, self.strong, self.seed = Shuffled(source, batch_size, seed), strong, seed

    def __call__(self, step: int, rank: int = 0, world: int = 1) -> Batch:
        images = self.batches(step)["image"]
        mine = slice(rank * len(images) // world, (rank + 1) * len(images) // world)
        views = {}
        for name in ("query", "key"):
            views[name] = self.strong.apply(images, self.strong.draw(len(images), generator(self.seed, name, step)))[mine]
        return views


@torch.no_grad()
def _probabilities(model: nn.Module, source: Source, device: str) -> Tensor:
    parts = [model(source.take(rows)["image"].to(device)).softmax(dim=1).cpu() for rows in torch.arange(len(source)).split(_AT_ONCE)]
    return torch.cat(parts)


def learn_unsupervised(
    encoder: nn.Module,
    head: nn.Module,
    source: Source,
    objective: str = "ufm",
    *,
    strong: Augmentation,
    weak: Augmentation | None = None,
    epochs: int = 10,
    batch_size: int = 128,
    lr: float = 0.1,
    weight_decay: float = 0.1,
    temperature: float = 0.1,
    compat: str = "paper",
    seed: int = 0,
    device: str = "cpu",
) -> History:
    """Adapt an encoder to unlabelled images, in place.

    Args:
        encoder: a composition; or any encoder of images to embeddings, of which whatever requires a gradient is trained.
        head: embeddings (B, d) to logits; frozen.
        source: rows with an ``"image"``; labels are not read.
        objective: one of `OBJECTIVES_AT_TEST_TIME`.
        strong: the changes of the strong view, and of both views of ``"simclr"``.
        weak: those of the weak view; None leaves it as it is.
        epochs: over the source.
        batch_size: rows a step; at most as many as there are.
        lr, weight_decay: of AdamW with a cosine schedule.
        temperature: of ``"simclr"``.
        compat: of ``"ufm"``: ``"released"`` takes a tenth of the trusted images, chooses them once, and keeps the threshold at 0.99.
        seed: of all that is random.
        device: to learn on.

    Raises:
        InputError: an unknown objective, fewer than two rows, or nothing to train.
    """
    choose("objective at test time", objective, OBJECTIVES_AT_TEST_TIME)
    if len(source) < 2:
        raise InputError("test-time adaptation needs at least two images")
    size = min(batch_size, len(source))
    every = max(1, len(source) // size)
    recipe = Recipe(steps=epochs * every, lr=lr, weight_decay=weight_decay, schedule="cosine", clip=1.0)
    head.requires_grad_(False)
    model = nn.Sequential(encoder, head).to(device)
    if objective == "simclr":
        loss = InfoNCE(temperature).to(device)

        def recognise(judged: nn.Module, batch: Batch) -> Tensor:
            queries, keys = encoder(torch.cat([batch["query"], batch["key"]])).chunk(2)
            return loss(queries, keys)

        return fit(model, recognise, _Views(source, size, derive(seed, "views"), strong), recipe, seed=seed, device=device)
    if objective == "entropy":
        return fit(model, SharpEntropy(), Shuffled(source, size, seed, weak), recipe, seed=seed, device=device)
    released = compat == "released"
    ufm = UFM(recipe.steps, *((0.99, 0.99) if released else (0.9, 1.0)), compat=compat)
    batches = _Mixed(source, size, seed, weak, strong)

    def trust(judged: nn.Module) -> dict[str, float]:
        rows, labels = trusted_rows(_probabilities(judged, source, device), share=0.1 if released else 1.0)
        batches.trust(rows, labels)
        return {"trusted": float(len(rows))}

    trust(model.eval())
    return fit(model, ufm, batches, recipe, seed=seed, device=device, evaluate=None if released else trust, evaluate_every=every)
