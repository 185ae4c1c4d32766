r"""Labels held against the layers of a network: how much of each layer's variance a label explains, how well it can be decoded, and whether the two agree.

They need not: a label may be decoded without error and explain next to nothing of the variance, and then principal components, distances, and representational similarity don't show it (Lampinen, Chan and Hermann, 2024). A report says where that is so.

It speaks about labels that are known and that vary independently. Labels that are correlated share what they explain, which the report says too, and shows by the *unique* part; labels that nobody gave cannot be seen.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from ordinate.analyze.capture import collect
from ordinate.analyze.decoding import cross_predict, decoding
from ordinate.analyze.pca_decodability import by_probe, pca_decodability
from ordinate.analyze.representations import check_representation, pooling
from ordinate.analyze.similarity import rdm, rsa
from ordinate.analyze.variance_explained import Encoding
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["FeatureReport", "FeatureRow", "association", "compare_representations", "report_features"]

COMPONENTS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
RELATED = 0.15  # association above which labels are called correlated
RAREST = 8  # examples of a class that are needed, so that both halves and all folds have some
BALANCED = 0.65  # share of a class of two above which a label explains less by its imbalance
RECOVERED = 0.8  # part of the way from chance to certainty above which a label is decoded
SLIGHT = 0.05  # part of the variance below which a label hardly shows
TIMES = 2.0  # ratio of variances that is told


@dataclass(frozen=True)
class FeatureRow:
    """One label in one layer.

    Attributes:
        layer, feature: names.
        variance: the part of the layer's variance that the label explains, on held-out examples.
        per_example: the same, averaged over examples.
        unique: what the joint fit of all labels loses without it.
        dense: units of which it explains more than a tenth.
        units: of the layer.
        accuracy: of a cross-validated linear probe; `chance` the share of the most frequent class, `control` its accuracy on shuffled labels.
        mlp: the accuracy of an MLP probe, or None where it was not asked for.
        rsa: Spearman's correlation of the layer's RDM with the label's.
        components: the least number of principal components, of those tried, from which a linear probe keeps 95 % of the accuracy on the whole; None where none does.
    """

    layer: str
    feature: str
    variance: float
    per_example: float
    unique: float
    dense: int
    units: int
    accuracy: float
    chance: float
    control: float
    mlp: float | None
    rsa: float
    components: int | None

    @property
    def recovered(self) -> float:
        """The part of the way from chance to certainty that the linear probe goes."""
        return (self.accuracy - self.chance) / (1 - self.chance)


@dataclass(frozen=True)
class FeatureReport:
    """Every label in every layer.

    Attributes:
        rows: layer by layer, in the order that they were given.
        joint: layer -> the part of its variance that all labels explain together.
        layers: pair of layers -> Spearman's correlation of their RDMs.
        association: pair of labels -> Cramér's V.
        examples: how many there were.
        warnings: what to know before reading it.
    """

    rows: tuple[FeatureRow, ...]
    joint: dict[str, float]
    layers: dict[tuple[str, str], float]
    association: dict[tuple[str, str], float]
    examples: int
    warnings: tuple[str, ...]

    def row(self, layer: str, feature: str) -> FeatureRow:
        """One of the rows.

        Raises:
            InputError: no such layer or label.
        """
        for row in self.rows:
            if (row.layer, row.feature) == (layer, feature):
                return row
        raise InputError(f"the report has no label {feature!r} at layer {layer!r}")

    def bias(self, first: str, second: str, layer: str) -> float:
        """How many times the variance of the second label the first explains; infinite where that is none.

        Raises:
            InputError: no such layer or label.
        """
        one, other = self.row(layer, first).variance, self.row(layer, second).variance
        return one / other if other > 0 else math.inf

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "examples": self.examples,
            "rows": [asdict(row) for row in self.rows],
            "joint": self.joint,
            "layers": [{"a": a, "b": b, "rsa": value} for (a, b), value in self.layers.items()],
            "association": [{"a": a, "b": b, "cramers_v": value} for (a, b), value in self.association.items()],
            "warnings": list(self.warnings),
        }


def association(a: Shaped[Tensor, " rows"], b: Shaped[Tensor, " others"]) -> float:
    """Cramér's V of two labels, in [0, 1], less its bias (Bergsma, "A bias-correction for Cramér's V and Tschuprow's T", 2013): about 0 for independent labels, however many classes they have.

    Raises:
        InputError: labels of different examples, or a constant one.
    """
    if len(a) != len(b) or len(a) < 2:
        raise InputError(f"labels are of the same two examples or more: {len(a)} and {len(b)}")
    (kinds_a, codes_a), (kinds_b, codes_b) = (each.cpu().unique(return_inverse=True) for each in (a, b))
    r, c, n = len(kinds_a), len(kinds_b), len(a)
    if min(r, c) < 2:
        raise InputError("a constant label is associated with nothing")
    counts = torch.bincount(codes_a * c + codes_b, minlength=r * c).double().view(r, c)
    expected = counts.sum(dim=1, keepdim=True) * counts.sum(dim=0) / n
    phi = max(0.0, float(((counts - expected).square() / expected).sum()) / n - (r - 1) * (c - 1) / (n - 1))
    least = min(r - (r - 1) ** 2 / (n - 1), c - (c - 1) ** 2 / (n - 1)) - 1
    return min(1.0, math.sqrt(phi / least)) if least > 0 else 0.0


def compare_representations(
    representations: Mapping[str, Float[Tensor, "_ ..."]],
    labels: Mapping[str, Shaped[Tensor, "..."]],
    *,
    mlp: bool = False,
    similar: int = 512,
    seed: int = 0,
) -> FeatureReport:
    """Hold labels against representations of the same examples.

    Args:
        representations: layer -> (n, d). Half of the examples, drawn by the seed, are fitted on and the others measured, for what is explained; probes are cross-validated in 5 folds.
        labels: name -> (n,) class ids.
        mlp: decode by an MLP probe too, which takes a second or so each.
        similar: at most this many examples are compared pair by pair.
        seed: of the halves, the folds, and the examples that are compared.

    Raises:
        InputError: no layers or labels, a label that is constant or has a class in fewer than 8 examples, labels that say the same, or what is no representation.
    """
    if not representations or not labels:
        raise InputError("a report needs at least one layer and one label")
    phis = {layer: check_representation(phi, name=f"layer {layer!r}") for layer, phi in representations.items()}
    codes = {name: _codes(name, values) for name, values in labels.items()}
    n = len(next(iter(phis.values())))
    for name, length in [*((layer, len(phi)) for layer, phi in phis.items()), *((name, len(each)) for name, each in codes.items())]:
        if length != n:
            raise InputError(f"layers and labels are of the same examples: {name!r} has {length}, and the first layer {n}")
    remarks = []
    related = {(a, b): association(codes[a], codes[b]) for a, b in combinations(codes, 2)}
    for (a, b), value in related.items():
        if value > RELATED:
            remarks.append(f"{a} and {b} are correlated (Cramér's V {value:.2f}): they share what they explain; read the unique part")
    for name, each in codes.items():
        share = float(each.bincount().max()) / n
        if int(each.max()) == 1 and share > BALANCED:
            remarks.append(
                f"{name} is unbalanced ({100 * share:.0f} % in one class): it explains less variance by that alone; balance the examples"
            )
    order = _shuffled(codes, n, seed)
    fitted, tested = order[: n // 2].sort().values, order[n // 2 :].sort().values
    encoding = Encoding([each[fitted] for each in codes.values()], [each[tested] for each in codes.values()])
    if n < 20 * encoding.regressors:
        remarks.append(f"{n} examples are few for {encoding.regressors} regressors: what is explained is uncertain")
    compared = order[: max(3, similar)]
    theirs = {layer: rdm(phi[compared], "euclidean", condensed=True) for layer, phi in phis.items()}
    ours = {name: rdm(_one_hot(each[compared]), "euclidean", condensed=True) for name, each in codes.items()}
    rows, joint = [], {}
    for layer, phi in phis.items():
        found = encoding.explain(phi[fitted], phi[tested])
        by_example = encoding.explain(phi[fitted], phi[tested], per_example=True)
        joint[layer] = found.joint
        dense = found.density()
        decoded = {name: decoding(phi, each, seed=seed) for name, each in codes.items()}
        ks = [k for k in COMPONENTS if k <= min(len(fitted), phi.shape[1])]
        stacked = torch.stack(list(codes.values()), dim=1)
        kept = pca_decodability(phi[fitted], stacked[tested], by_probe(phi[fitted], stacked[fitted], phi[tested]), components=ks)
        for number, (name, each) in enumerate(codes.items()):
            enough = (kept.accuracy[:, number] >= 0.95 * decoded[name].accuracy).nonzero()
            rows.append(
                FeatureRow(
                    layer,
                    name,
                    float(found.per_feature[number]),
                    float(by_example.per_feature[number]),
                    float(found.unique[number]),
                    dense[number],
                    phi.shape[1],
                    decoded[name].accuracy,
                    decoded[name].chance,
                    decoded[name].control,
                    float((cross_predict(phi, each, probe="mlp", seed=seed)[0] == each).double().mean()) if mlp else None,
                    rsa(theirs[layer], ours[name]),
                    ks[int(enough[0])] if len(enough) else None,
                )
            )
        remarks += _disagreements(layer, [row for row in rows if row.layer == layer])
    between = {(a, b): rsa(theirs[a], theirs[b]) for a, b in combinations(phis, 2)}
    return FeatureReport(tuple(rows), joint, between, related, n, tuple(remarks))


def report_features(
    model: nn.Module,
    layers: Sequence[str],
    batches: Iterable[Any],
    labels: Mapping[str, Shaped[Tensor, "..."]],
    *,
    pool: str = "positions",
    forward: Callable[[nn.Module, Any], Any] | None = None,
    mlp: bool = False,
    seed: int = 0,
) -> FeatureReport:
    """Hold labels against the layers of any network.

    Args:
        model: any module; put in evaluation mode by whoever calls.
        layers: names of its modules, see `ordinate.analyze.capture`.
        batches: what the model takes, a batch at a time.
        labels: name -> (n,) class ids, of all examples in the order of the batches.
        pool: how an activation becomes a vector an example; see `ordinate.analyze.representations.pooling`.
        forward: how a batch goes through the model; None calls it with the batch.
        mlp, seed: as for `compare_representations`.

    Raises:
        InputError: a layer that the model hasn't, or what `compare_representations` refuses.
    """
    return compare_representations(collect(model, layers, batches, reduce=pooling(pool), forward=forward), labels, mlp=mlp, seed=seed)


def _codes(name: str, values: Tensor) -> Tensor:
    if values.ndim != 1:
        raise InputError(f"label {name!r} is one class an example, not {tuple(values.shape)}")
    if values.is_floating_point() and not bool(torch.isfinite(values).all()):
        raise InputError(f"label {name!r} is not finite in some examples")
    classes, codes = values.cpu().unique(return_inverse=True)
    if len(classes) < 2:
        raise InputError(f"label {name!r} is constant: there is nothing that it could explain")
    if len(classes) > len(values) // 2:
        raise InputError(f"label {name!r} has {len(classes)} values on {len(values)} examples: it is no class; cut it into some")
    rare = codes.bincount()
    if int(rare.min()) < RAREST:
        which = classes[int(rare.argmin())].item()
        raise InputError(
            f"label {name!r} has class {which} in {int(rare.min())} examples, and {RAREST} are needed: merge rare classes, or take more examples"
        )
    return codes


def _shuffled(codes: Mapping[str, Tensor], n: int, seed: int) -> Tensor:
    """An order whose first half has every class of every label."""
    attempt = 0
    while True:
        order = torch.randperm(n, generator=generator(seed, "halves", attempt))
        if all(len(each[order[: n // 2]].unique()) == int(each.max()) + 1 for each in codes.values()):
            return order
        attempt += 1  # a class of eight is in one half alone once in a hundred times


def _one_hot(codes: Tensor) -> Tensor:
    return torch.nn.functional.one_hot(codes).double()


def _disagreements(layer: str, rows: Sequence[FeatureRow]) -> list[str]:
    """Labels that are decoded well and of which the variance says little, alone or beside another."""
    decoded = [row for row in rows if row.recovered >= RECOVERED]
    found = [
        f"{layer}: {row.feature} is decoded ({100 * row.accuracy:.0f} %) and explains {100 * max(0.0, row.variance):.1f} % of the variance: "
        "principal components, distances and RSA hardly show it"
        for row in decoded
        if row.variance < SLIGHT
    ]
    if len(decoded) > 1:
        largest, least = max(decoded, key=lambda row: row.variance), min(decoded, key=lambda row: row.variance)
        if least.variance >= SLIGHT and largest.variance > TIMES * least.variance:
            found.append(
                f"{layer}: {largest.feature} and {least.feature} are decoded alike ({100 * largest.accuracy:.0f} and {100 * least.accuracy:.0f} %), "
                f"yet {largest.feature} explains {largest.variance / least.variance:.1f} times the variance: what looks alike here is alike in {largest.feature}"
            )
    return found
