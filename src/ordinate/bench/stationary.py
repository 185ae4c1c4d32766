"""What fixed class directions save: logits without a table against the product with one, the contrastive term against a double loop, and a matrix of versions against one that embeds anew for every pair.

- Logits: forward and backward of a batch of 128, in K; the table of the peer takes K (K - 1) numbers.
- Contrastive term: forward and backward, in the rows of a batch, against similarities whose negatives are picked out row by row.
- Matrix: T versions of a perceptron, each pair compared with features that both splits have been embedded to once, or, as the released code does, again for each pair.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.analyze.compatibility import compatibility_matrix, identification
from ordinate.bench.base import Bench, BenchResult, Timing, fitted_exponents
from ordinate.experiment.measure import measure_peak_memory, measure_time
from ordinate.models.mlp import MLP
from ordinate.nn.simplex import simplex_logits, simplex_prototypes
from ordinate.objectives.stationary import HOCLoss

__all__ = ["BENCHES", "hoc_by_rows", "matrix_by_pairs"]

BATCH, WIDTH, MU = 128, 256, 10.0


def hoc_by_rows(new: Tensor, old: Tensor, labels: Tensor) -> Tensor:
    """The peer of the contrastive term: each row gathers its negatives."""
    new, old = F.normalize(new, dim=1), F.normalize(old, dim=1)
    rows = []
    for i in range(len(new)):
        negatives = MU * new[labels != labels[i]] @ old[i]
        rows.append(negatives.logsumexp(dim=0) - MU * new[i] @ old[i])
    return torch.stack(rows).mean()


def matrix_by_pairs(models: Sequence[nn.Module], queries: Tensor, gallery: Tensor, query_labels: Tensor, gallery_labels: Tensor) -> Tensor:
    """The peer of the matrix: queries and gallery are embedded anew for every pair."""
    found = torch.zeros(len(models), len(models), dtype=torch.float64)
    with torch.no_grad():
        for t, new in enumerate(models):
            for k, old in enumerate(models[: t + 1]):
                found[t, k] = identification(new.embed(queries), old.embed(gallery), query_labels, gallery_labels)  # type: ignore[operator]
    return found


def _matrix_once(models: Sequence[nn.Module], queries: Tensor, gallery: Tensor, query_labels: Tensor, gallery_labels: Tensor) -> Tensor:
    with torch.no_grad():
        features = [[model.embed(images) for model in models] for images in (queries, gallery)]  # type: ignore[operator]
    return compatibility_matrix(*features, query_labels, gallery_labels)


def _back(call: Callable[[Tensor], Tensor], features: Tensor, upstream: Tensor) -> None:
    features.grad = None
    call(features).backward(upstream)


def _logits(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    for classes in sizes or ((256, 1024) if quick else BENCHES["simplex-logits"].sizes):
        torch.manual_seed(0)
        features = torch.randn(BATCH, classes - 1, device=device, requires_grad=True)
        upstream, table = torch.randn(BATCH, classes, device=device), simplex_prototypes(classes, device=device)
        calls: dict[str, Callable[[], Any]] = {
            "ordinate": partial(_back, simplex_logits, features, upstream),
            "product with the table": partial(_back, partial(F.linear, weight=table), features, upstream),
        }
        for contender, call in calls.items():
            watch(f"{contender}, {classes} classes")
            seconds = measure_time(call, repeats=3 if quick else 9, device=device)
            rows.append(Timing(contender, classes, seconds, None if quick else measure_peak_memory(call, device)))
    remarks = [f"forward and backward of {BATCH} rows; the table itself, 4 K (K - 1) bytes, is not in the memory's column"]
    return BenchResult(rows, peer="ordinate", size_name="classes", exponents=fitted_exponents(rows), remarks=remarks)


def _hoc(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    for batch in sizes or ((32, 64) if quick else BENCHES["hoc"].sizes):
        torch.manual_seed(0)
        new, old = torch.randn(batch, WIDTH, device=device, requires_grad=True), torch.randn(batch, WIDTH, device=device)
        labels, one = torch.arange(batch, device=device) % 10, torch.ones((), device=device)
        calls: dict[str, Callable[[], Any]] = {
            "ordinate": partial(_back, lambda z, old=old, labels=labels: HOCLoss(MU, same_class="exclude")(z, old, labels), new, one),
            "row by row": partial(_back, lambda z, old=old, labels=labels: hoc_by_rows(z, old, labels), new, one),
        }
        for contender, call in calls.items():
            watch(f"{contender}, {batch} rows")
            rows.append(Timing(contender, batch, measure_time(call, repeats=3 if quick else 7, device=device)))
    return BenchResult(rows, peer="ordinate", size_name="rows", remarks=[f"forward and backward, {WIDTH} features"])


def _matrix(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    count = 200 if quick else 4_000
    for versions in sizes or ((3,) if quick else BENCHES["compatibility-matrix"].sizes):
        torch.manual_seed(0)
        models = [MLP(num_classes=0, hidden=(512, 256), num_features=127).to(device).eval() for _ in range(versions)]
        queries, gallery = (torch.randn(count, 1, 28, 28, device=device) for _ in range(2))
        labels = torch.arange(count, device=device) % 10
        for contender, call in {"ordinate": _matrix_once, "embedded for each pair": matrix_by_pairs}.items():
            watch(f"{contender}, {versions} versions")
            seconds = measure_time(partial(call, models, queries, gallery, labels, labels), repeats=3, device=device)
            rows.append(Timing(contender, versions, seconds))
    return BenchResult(rows, peer="ordinate", size_name="versions", remarks=[f"{count} queries, a gallery of {count}"])


BENCHES = {
    "simplex-logits": Bench("Logits of fixed simplex prototypes, against the product with their table", _logits, (1024, 4096, 16_384)),
    "hoc": Bench("The contrastive term between two versions, against a loop over rows", _hoc, (64, 128, 256)),
    "compatibility-matrix": Bench("Cross-tests of all versions, against embedding for each pair", _matrix, (3, 7, 12)),
}
