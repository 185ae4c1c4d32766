"""Runs of one's own, probed: what the frozen embeddings of several training runs are good for on a dataset, each by itself and side by side, and how redundant they are.

Features are computed once and kept (`ordinate.analyze.feature_cache`), so that a further run costs one pass.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ordinate.adapt.concat import check_distinct
from ordinate.analyze.feature_cache import cached_features
from ordinate.analyze.linear_probe import L2_GRID, LinearProbe
from ordinate.analyze.redundancy import redundancy
from ordinate.data.batches import Source, Subset
from ordinate.data.images import open_images
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.base import VisionEncoder
from ordinate.tasks.training_run import load_run

__all__ = ["ProbedRow", "ProbedRuns", "probe_runs"]


@dataclass(frozen=True)
class ProbedRow:
    """A probe on the embeddings of one run, or of all side by side.

    Attributes:
        name: the run's folder, or "side by side".
        width: of the embeddings.
        accuracy: in [0, 1], on the dataset's test images.
        l2: the penalty that held-out rows chose.
        scores: penalty -> accuracy on those rows.
        adds: what the accuracy of all loses without this run; None for all of them, or for one alone.
    """

    name: str
    width: int
    accuracy: float
    l2: float
    scores: dict[float, float]
    adds: float | None = None


@dataclass(frozen=True)
class ProbedRuns:
    """What was found.

    Attributes:
        data: the dataset.
        fitted, tested: images that probes were fitted on, and scored on.
        rows: one for every run, and one for all of them where there are several.
        cka: between every two runs, (n, n), or None for one run.
        predicted: the held-out R^2 of predicting run j's embeddings (column) from run i's (row), or None.
    """

    data: str
    fitted: int
    tested: int
    rows: tuple[ProbedRow, ...]
    cka: list[list[float]] | None = None
    predicted: list[list[float]] | None = None

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "data": self.data,
            "fitted": self.fitted,
            "tested": self.tested,
            "rows": [{**row.__dict__, "scores": {str(value): score for value, score in row.scores.items()}} for row in self.rows],
            "cka": self.cka,
            "predicted": self.predicted,
        }


def probe_runs(
    runs: Sequence[Path],
    data: str,
    *,
    labels: int | None = None,
    limit: int = 10_000,
    solver: str = "newton",
    l2: Sequence[float] = L2_GRID,
    folder: Path | None = None,
    device: str = "cpu",
    strict: bool = False,
    seed: int = 0,
) -> ProbedRuns:
    """Probe runs on a dataset.

    Args:
        runs: folders of finished runs of image encoders that were trained on images of one shape.
        data: images with classes, by name or path; brought to the size and the standardisation that the runs were trained with.
        labels: fit on so many training images only, drawn by the seed; None takes all up to `limit`.
        limit: at most so many training and as many test images.
        solver, l2: see :class:`ordinate.analyze.linear_probe.LinearProbe`.
        folder: where features are kept; None is the platform's cache folder.
        device: where encoders run.
        strict: a corrupt image is an error.
        seed: of the choice of images, and of the rows that are held out to choose the penalty.

    Raises:
        InputError: no runs, one that is not finished or no image encoder, the same weights twice, other shapes of images, or nothing to fit.
    """
    if not runs:
        raise InputError("there is no run to probe")
    if limit < 2 or (labels is not None and labels < 2):
        raise InputError(f"a probe is fitted on two or more images: labels and limit are {labels} and {limit}")
    finished = [load_run(run) for run in runs]
    for each in finished:
        if not isinstance(each.model, VisionEncoder):
            raise InputError(f"{each.folder} holds a {type(each.model).__name__}, which does not embed images")
    check_distinct([each.model for each in finished])
    images = open_images(data, strict=strict)
    fitted = _some(images.train, limit if labels is None else min(labels, limit), "probed", seed)
    tested = _some(images.test, limit, "tested", seed)
    encoders = []
    for each in finished:
        shape = tuple(each.card["input"]["shape"])
        if shape != images.shape:
            raise InputError(
                f"{each.folder} was trained on images of {shape}, and {data} has {images.shape}: bring them to its size, {data.partition('@')[0]}@{shape[1]}"
            )
        encoders.append(each.model.to(device))
    parts = [[cached_features(encoder, source, folder) for encoder in encoders] for source in (fitted, tested)]
    (a, b), (y, truth) = ([[features for features, _ in part] for part in parts], [part[0][1] for part in parts])

    def probe(members: Sequence[int]) -> LinearProbe:
        return LinearProbe(tuple(l2), solver, seed=seed).fit(torch.cat([a[i] for i in members], dim=1).numpy(), y.numpy())

    def row(name: str, members: Sequence[int], adds: float | None) -> ProbedRow:
        found = probe(members)
        x = torch.cat([b[i] for i in members], dim=1)
        return ProbedRow(name, x.shape[1], float(found.score(x.numpy(), truth.numpy())), found.l2_, found.scores_, adds)

    count = len(encoders)
    if count == 1:
        return ProbedRuns(data, len(y), len(truth), (row(str(runs[0]), [0], None),))
    overlap = redundancy(a, y, b, truth, l2=tuple(l2))
    rows = [row(str(run), [i], float(overlap.gains[i])) for i, run in enumerate(runs)]
    rows.append(row("side by side", range(count), None))
    return ProbedRuns(data, len(y), len(truth), tuple(rows), overlap.cka.tolist(), overlap.predicted.tolist())


def _some(source: Source, most: int, purpose: str, seed: int) -> Source:
    if most >= len(source):
        return source
    return Subset(source, torch.randperm(len(source), generator=generator(purpose, seed))[:most].sort().values)
