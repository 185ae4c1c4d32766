r"""How well labels can be decoded from a representation: cross-validated probes, beside what they could do without it.

- A *linear* probe (ridge regression onto one-hot labels) asks whether a label is laid out in straight lines, an *MLP* probe (one hidden layer) whether it is there at all.
- Every example is predicted by a probe that was fitted on other folds; folds are stratified by class.
- A *control task* (Hewitt and Liang, "Designing and Interpreting Probes with Control Tasks", 2019) gives every type of example (a word, an image repeated) a class at random, drawn with the frequencies of the real ones. A probe that does it well has
  memorised types; accuracy less control accuracy is the *selectivity*. Where examples have no types, the control is the labels shuffled, which only chance can predict.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int64, Shaped
from sklearn.model_selection import StratifiedKFold
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.analyze.probes import RidgeProbe
from ordinate.analyze.representations import check_representation
from ordinate.data.batches import Shuffled, TensorSource
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive, generator
from ordinate.nn.perceptron import Perceptron
from ordinate.train.ensemble import Ensemble, each_its_own, fit_ensemble
from ordinate.train.recipe import Recipe

__all__ = ["PROBES", "Decoding", "control_labels", "cross_predict", "decoding"]

PROBES = ("linear", "mlp")


@dataclass(frozen=True)
class Decoding:
    """What cross-validated probes found.

    Attributes:
        accuracy: over all examples, each predicted by a probe that had not seen it.
        low, high: the least and greatest accuracy of a fold.
        chance: the most frequent class's share.
        control: accuracy on the control task.
    """

    accuracy: float
    low: float
    high: float
    chance: float
    control: float

    @property
    def selectivity(self) -> float:
        """Accuracy less that on the control task."""
        return self.accuracy - self.control

    @property
    def recovered(self) -> float:
        """The part of the way from chance to certainty; 0 at chance, 1 where every example is right."""
        return (self.accuracy - self.chance) / (1 - self.chance)


def control_labels(
    labels: Shaped[Tensor, " rows"], types: Shaped[Tensor, " typed"] | None = None, *, seed: int = 0
) -> Shaped[Tensor, " rows"]:
    """Labels (n,) of the control task: every type gets the label of an example drawn at random; without types, the labels in random order.

    Raises:
        InputError: types of other examples.
    """
    random = generator(seed, "control")
    if types is None:
        return labels[torch.randperm(len(labels), generator=random)]
    if len(types) != len(labels):
        raise InputError(f"there are {len(labels)} labels, and types of {len(types)} examples")
    kinds, codes = types.unique(return_inverse=True)
    return labels[torch.randint(len(labels), (len(kinds),), generator=random)][codes]


def cross_predict(
    phi: Float[Tensor, "rows *units"], labels: Shaped[Tensor, " labelled"], *, probe: str = "linear", folds: int = 5, seed: int = 0
) -> tuple[Shaped[Tensor, " labelled"], Int64[Tensor, " labelled"]]:
    """Every example's label as a probe predicts it that was fitted on the other folds, and the fold of each.

    Args:
        phi: (n, d).
        labels: (n,) classes.
        probe: ``"linear"`` or ``"mlp"``.
        folds: at least 2, and at most as many as the rarest class has examples.
        seed: of folds and of the MLP's weights.

    Raises:
        InputError: no representation, one class, a class rarer than the folds are many, or an unknown probe.
    """
    choose("probe", probe, PROBES)
    phi = check_representation(phi)
    if len(labels) != len(phi):
        raise InputError(f"there are {len(phi)} examples, and {len(labels)} labels")
    classes, codes, counts = labels.cpu().unique(return_inverse=True, return_counts=True)
    if len(classes) < 2:
        raise InputError("the label is constant: there is nothing to decode")
    if not 2 <= folds <= int(counts.min()):
        raise InputError(f"the rarest class has {int(counts.min())} examples: it cannot lie in {folds} folds, of which there are 2 or more")
    splitter = StratifiedKFold(folds, shuffle=True, random_state=np.random.RandomState(derive(seed, "folds") % 2**32))
    fold = torch.empty_like(codes)
    for number, (_, tested) in enumerate(splitter.split(phi.numpy(), codes.numpy())):
        fold[tested] = number
    return classes[(_linear if probe == "linear" else _mlp)(phi, codes, fold, seed)], fold


def _linear(phi: Tensor, codes: Tensor, fold: Tensor, seed: int) -> Tensor:
    found = torch.empty_like(codes)
    for number in range(int(fold.max()) + 1):
        tested = fold == number
        found[tested] = torch.from_numpy(RidgeProbe().fit(phi[~tested], codes[~tested]).predict(phi[tested]))
    return found


def _mlp(phi: Tensor, codes: Tensor, fold: Tensor, seed: int) -> Tensor:
    """A perceptron of 64 hidden units on standardised inputs a fold, all trained as one ensemble."""
    inputs, sources = [], []
    folds = range(int(fold.max()) + 1)
    for number in folds:
        fitted = phi[fold != number]
        mean, scale = fitted.mean(dim=0), fitted.std(dim=0)
        scale = torch.where(scale > 1e-12 * fitted.abs().amax(dim=0), scale, 1.0)
        inputs.append(((phi - mean) / scale).float())
        rows = TensorSource(x=inputs[-1][fold != number], y=codes[fold != number])
        sources.append(Shuffled(rows, min(128, len(rows)), derive(seed, "mlp", number)))
    width = min(source.batch_size for source in sources)
    for source in sources:
        source.batch_size = width  # folds may differ by a row, and members' batches must not
    classes = int(codes.max()) + 1
    probes = Ensemble.make(lambda: Perceptron(phi.shape[1], (64,), classes), [derive(seed, "mlp", number) for number in folds])
    recipe = Recipe(steps=400, lr=3e-3, weight_decay=1e-2)
    fit_ensemble(probes, _cross_entropy, each_its_own(sources), recipe, own=True, seed=seed)
    found = torch.empty_like(codes)
    with torch.no_grad():
        for number in folds:
            found[fold == number] = probes.member(number)(inputs[number][fold == number]).argmax(dim=1)
    return found


def _cross_entropy(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return F.cross_entropy(model(batch["x"]), batch["y"])


def decoding(
    phi: Float[Tensor, "rows *units"],
    labels: Shaped[Tensor, " labelled"],
    *,
    probe: str = "linear",
    types: Shaped[Tensor, " types"] | None = None,
    folds: int = 5,
    seed: int = 0,
) -> Decoding:
    """Decode a label, and its control task.

    Args:
        phi: (n, d).
        labels: (n,) classes.
        probe: ``"linear"`` or ``"mlp"``.
        types: (n,) the type of every example, for a control task that can be memorised; None shuffles the labels.
        folds, seed: as for `cross_predict`.

    Raises:
        InputError: what `cross_predict` refuses, or types of other examples.
    """
    found, fold = cross_predict(phi, labels, probe=probe, folds=folds, seed=seed)
    right = (found == labels.cpu()).double()
    by_fold = [float(right[fold == number].mean()) for number in range(folds)]
    control = control_labels(labels.cpu(), None if types is None else types.cpu(), seed=seed)
    _, counts = control.unique(return_counts=True)
    # A class that chance left out of the control task, or almost, cannot be stratified; what is left is then trivial.
    enough = len(counts) > 1 and int(counts.min()) >= folds
    controlled = float((cross_predict(phi, control, probe=probe, folds=folds, seed=seed)[0] == control).double().mean()) if enough else 1.0
    _, frequencies = labels.cpu().unique(return_counts=True)
    return Decoding(float(right.mean()), min(by_fold), max(by_fold), float(frequencies.max() / len(labels)), controlled)
