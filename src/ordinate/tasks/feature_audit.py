"""A run of `ordinate train` held against labels: those of the images, those of a file, and two plain properties that every image has (how bright it is, and how contrasted).

The properties are there because they are simple: what is simple, frequent or learnt first takes more of a representation than what is hard, however well both are known.
"""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from jaxtyping import Int64
from torch import Tensor

from ordinate.analyze.feature_report import FeatureReport, report_features
from ordinate.data.label_files import read_labels
from ordinate.data.to_embed import Pictures, open_pictures
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.base import VisionEncoder
from ordinate.tasks.training_run import load_run

__all__ = ["DEFAULT_LAYER", "audit_run", "image_properties"]

DEFAULT_LAYER = "head:input"
_AT_ONCE = 128


def image_properties(pictures: Pictures, rows: Int64[Tensor, " rows"]) -> dict[str, Int64[Tensor, " rows"]]:
    """Whether an image is brighter, and more contrasted, than half of these: (n,) each; left out where all are alike."""
    means, spreads = [], []
    for part in rows.split(_AT_ONCE):
        images = pictures.source.take(part)["image"].flatten(1)
        means.append(images.mean(dim=1))
        spreads.append(images.std(dim=1))
    found = {}
    for name, parts in (("brightness", means), ("contrast", spreads)):
        values = torch.cat(parts)
        high = (values > values.median()).long()
        if 0 < int(high.sum()) < len(high):
            found[name] = high
    return found


def audit_run(
    run: Path,
    data: str,
    *,
    layers: Sequence[str] = (DEFAULT_LAYER,),
    labels: Path | None = None,
    pool: str = "space",
    limit: int = 4000,
    properties: bool = True,
    mlp: bool = False,
    device: str = "cpu",
    strict: bool = False,
    seed: int = 0,
) -> FeatureReport:
    """Hold a trained image model against labels.

    Args:
        run: a run folder.
        data: images, as `ordinate embed` takes them; their own class, where they have one, is the label ``"class"``.
        layers: names of the model's modules; ``":input"`` after one is what goes into it.
        labels: a CSV file of further labels; see :func:`ordinate.data.label_files.read_labels`.
        pool: how maps become vectors; see :func:`ordinate.analyze.representations.pooling`.
        limit: at most this many images, drawn by the seed.
        properties: add brightness and contrast as labels.
        mlp: decode by an MLP probe too.
        device, strict, seed: where it runs, whether a corrupt file is an error, and what is drawn.

    Raises:
        InputError: no finished run of an image model, no such data, layer or pooling, nothing to hold it against, or labels that cannot be held against anything.
        MissingError: a named dataset is not at hand.
    """
    finished = load_run(run)
    model = finished.model.to(device).eval()
    if not isinstance(model, VisionEncoder):
        raise InputError(
            f"{run} holds a {type(model).__name__}: only image models are read from a run; for others call ordinate.analyze.feature_report.report_features"
        )
    if limit < 20:
        raise InputError(f"a report needs at least 20 images, not {limit}")
    card = finished.card["input"]
    pictures = open_pictures(data, tuple(card["shape"]), tuple(card["mean"]), tuple(card["std"]), strict=strict)
    rows = torch.randperm(len(pictures.ids), generator=generator(seed, "audited"))[:limit].sort().values
    held: dict[str, Tensor] = {}
    if pictures.labels is not None:
        names = {name: number for number, name in enumerate(sorted(set(pictures.labels)))}
        held["class"] = torch.tensor([names[pictures.labels[row]] for row in rows.tolist()])
    if labels is not None:
        own = read_labels(labels, pictures.ids)
        if "class" in own:
            held.pop("class", None)
        held |= {name: values[rows] for name, values in own.items()}
    if properties:
        held = image_properties(pictures, rows) | held
    if not held:
        raise InputError(f"{data} has no classes, and there are no other labels: give a file with --labels")

    def batches() -> Iterator[Tensor]:
        for part in rows.split(_AT_ONCE):
            yield pictures.source.take(part)["image"].to(device)

    return report_features(model, layers, batches(), held, pool=pool, mlp=mlp, seed=seed)
