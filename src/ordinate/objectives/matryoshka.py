r"""Nested embeddings: every prefix of the embedding is trained to be an embedding by itself.

For sizes :math:`m_1 < \dots < m_G = d`, weights :math:`c_i` and any base loss, the objective is the sum (not the mean) of one loss a prefix:

.. math:: \mathcal L = \sum_{i=1}^{G} c_i\, \mathcal L_{\text{base}}\bigl(z_{1:m_i},\, \text{target}\bigr).

- `MatryoshkaLoss` wraps any base loss of embeddings: a metric, contrastive or distillation loss. Whatever comes with the embedding and is an embedding of the same width (the other side of a pair, a teacher's
  target) is cut at the same size; with ``normalize="each"`` every prefix is scaled to unit length by itself, since the norm of a prefix is not the norm of the whole.
- `NestedClassification` trains any vision encoder with one classifier a size: separate ones (MRL), or one tied classifier (MRL-E). See `ordinate.nn.nested_head`.

A sum of G losses makes the gradient about G times as large; the paper keeps the learning rate of its baseline, and ``reduction="mean"`` is there for those who would rather keep the scale.
Truncate before any rotation (PCA, whitening) or quantisation: a rotation after training destroys the nesting.

Source: Kusupati et al., "Matryoshka Representation Learning", 2022, equation 1, algorithm 1, and appendix K on weights.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.nn.nested_head import MatryoshkaHead, check_dims, complete_dims, halving_dims, official_head, official_head_state, tied_logits
from ordinate.nn.official import OfficialCheckpoint
from ordinate.objectives.base import Objective

__all__ = ["OFFICIAL", "WEIGHTS", "MatryoshkaLoss", "NestedClassification", "NestedLoss", "check_weights", "truncate"]

WEIGHTS = {"uniform": (), "8boost": (2.0,), "8+16boost": (2.0, 1.5)}


def truncate(z: Float[Tensor, "*batch dim"], size: int, normalize: bool = True) -> Float[Tensor, "*batch size"]:
    """The first `size` features (..., size) of embeddings (..., d), scaled to unit length unless `normalize` is False. A prefix of zeros has no direction and stays zeros.

    Raises:
        InputError: `size` is not in 1..d.
    """
    if not 1 <= size <= z.shape[-1]:
        raise InputError(f"embeddings that are {z.shape[-1]} wide cannot be truncated to {size}")
    prefix = z[..., :size]
    return F.normalize(prefix, dim=-1) if normalize else prefix


def check_weights(weights: str | Sequence[float] | None, count: int) -> tuple[float, ...]:
    """The weights of `count` sizes: None or ``"uniform"`` (all 1), ``"8boost"`` (2, 1, 1, ...), ``"8+16boost"`` (2, 1.5, 1, ...), or numbers.

    Raises:
        InputError: an unknown preset, a wrong number of weights, negative ones, or none above zero.
    """
    if weights is None or isinstance(weights, str):
        first = WEIGHTS[choose("preset of weights", weights or "uniform", WEIGHTS)][:count]
        return first + (1.0,) * (count - len(first))
    found = tuple(float(weight) for weight in weights)
    if len(found) != count:
        raise InputError(f"{count} sizes need {count} weights, not {len(found)}")
    if not all(0 <= weight < float("inf") for weight in found) or not any(found):
        raise InputError(f"weights must be 0 or more, and one of them above 0: {list(found)}")
    return found


class NestedLoss(NamedTuple):
    """The loss that is trained on, a scalar, and what each size contributed to it before weighting, by size, ascending."""

    total: Tensor
    by_size: dict[int, Tensor]


def _combine(losses: dict[int, Tensor], weights: dict[int, float], reduction: str) -> NestedLoss:
    total = torch.stack([weights[size] * losses[size] for size in losses]).sum()
    if reduction == "mean":
        total = total / sum(weights[size] for size in losses)
    return NestedLoss(total, dict(sorted(losses.items())))


class MatryoshkaLoss(nn.Module):
    """Any loss of embeddings, on every prefix."""

    def __init__(
        self,
        base: Callable[..., Tensor] | Sequence[Callable[..., Tensor]],
        dims: Sequence[int],
        weights: str | Sequence[float] | None = None,
        normalize: Literal["each"] | None = None,
        sample: int | None = None,
        reduction: Literal["sum", "mean"] = "sum",
        nested: Sequence[bool] | None = None,
    ) -> None:
        """
        Args:
            base: `base(prefix, *others)` -> scalar, or one such loss for each size. Modules are trained and moved with this one.
            dims: the sizes, ascending; the last is the width d of the embedding.
            weights: one a size, or a preset; see `check_weights`. A size of weight 0 is not computed.
            normalize: ``"each"`` scales every prefix to unit length; None leaves them as they are.
            sample: train on that many sizes only, drawn anew at every call from torch's generator; None takes all. (An extension: not in the paper.)
            reduction: ``"sum"`` as in the paper, or ``"mean"``, the weighted mean over the sizes at hand.
            nested: which of the other arguments are embeddings to be cut, one truth value each; None cuts every floating-point tensor whose last dimension is d.

        Raises:
            InputError: sizes that are not a nesting, wrong weights, or unknown options.
        """
        super().__init__()
        self.dims = check_dims(dims)
        self.weights = dict(zip(self.dims, check_weights(weights, len(self.dims)), strict=True))
        self.normalize = normalize if normalize is None else choose("normalization", normalize, ["each"])
        self.reduction = choose("reduction", reduction, ["sum", "mean"])
        self.trained = tuple(size for size in self.dims if self.weights[size] > 0)
        if sample is not None and not 1 <= sample <= len(self.trained):
            raise InputError(f"sample must be between 1 and the {len(self.trained)} sizes that have a weight, not {sample}")
        self.sample = sample
        self.nested = nested
        bases = [base] * len(self.dims) if callable(base) else list(base)
        if len(bases) != len(self.dims):
            raise InputError(f"{len(self.dims)} sizes need one base loss, or {len(self.dims)}, not {len(bases)}")
        self.bases = dict(zip(self.dims, bases, strict=True))
        self.base_modules = nn.ModuleList(each for each in dict.fromkeys(bases) if isinstance(each, nn.Module))

    def forward(self, z: Float[Tensor, "*batch dim"], *others: object) -> NestedLoss:
        """The loss of embeddings (..., d) and whatever else the base loss takes.

        Raises:
            InputError: `z` is not d wide, an embedding among the others is not, or the base loss gives more than a scalar.
        """
        width = self.dims[-1]
        if z.shape[-1] != width:
            raise InputError(
                f"the loss was made for embeddings that are {width} wide, not {z.shape[-1]}: the last of the sizes {list(self.dims)} must be the embedding's width"
            )
        cut = self._which(others)
        sizes = self.trained
        if self.sample is not None:
            sizes = tuple(sizes[index] for index in torch.randperm(len(sizes))[: self.sample].tolist())
        losses = {}
        # From large to small, so that a base loss which keeps the embedding and shortens what it kept finds the whole first.
        for size in sorted(sizes, reverse=True):
            given = [self._prefix(cast(Tensor, other), size) if nested else other for other, nested in zip(others, cut, strict=True)]
            loss = self.bases[size](self._prefix(z, size), *given)
            if loss.ndim:
                raise InputError(f"the base loss must give a scalar, not a tensor of shape {tuple(loss.shape)}: average it over the batch")
            losses[size] = loss
        return _combine(losses, self.weights, self.reduction)

    def _which(self, others: Sequence[object]) -> list[bool]:
        width = self.dims[-1]
        if self.nested is None:
            return [
                isinstance(other, Tensor) and other.is_floating_point() and other.ndim > 0 and other.shape[-1] == width for other in others
            ]
        if len(self.nested) != len(others):
            raise InputError(f"nested says which of {len(self.nested)} arguments are embeddings, and {len(others)} were given")
        for other, nested in zip(others, self.nested, strict=True):
            if nested and not (isinstance(other, Tensor) and other.ndim and other.shape[-1] == width):
                raise InputError(f"an argument that is to be cut with the embedding must be a tensor that is {width} wide")
        return list(self.nested)

    def _prefix(self, z: Tensor, size: int) -> Tensor:
        return truncate(z, size, normalize=self.normalize == "each")


class NestedClassification(Objective):
    """Cross-entropy of one classifier a size on the embeddings of a vision encoder.

    The classifier of the full size is the encoder's own head, so that the encoder classifies by itself after training; the smaller ones belong to the objective, or share the head's columns where they are tied.
    """

    def __init__(
        self,
        dims: Sequence[int],
        num_classes: int,
        *,
        tied: bool = False,
        weights: str | Sequence[float] | None = None,
        reduction: Literal["sum", "mean"] = "sum",
        label_smoothing: float = 0.0,
    ) -> None:
        """
        Args:
            dims: the sizes, ascending; the last is the encoder's `num_features`.
            num_classes: L.
            tied: MRL-E, one classifier whose columns the smaller sizes share.
            weights: one a size, or a preset; see `check_weights`.
            reduction: ``"sum"`` as in the paper, or ``"mean"``.
            label_smoothing: the share of the probability that is spread over all classes, in [0, 1).

        Raises:
            InputError: sizes that are not a nesting, wrong weights, or a share outside [0, 1).
        """
        super().__init__()
        if not 0 <= label_smoothing < 1:
            raise InputError(f"label_smoothing lies in [0, 1), not {label_smoothing}")
        self.dims = check_dims(dims)
        self.tied = tied
        self.weights = dict(zip(self.dims, check_weights(weights, len(self.dims)), strict=True))
        self.reduction = choose("reduction", reduction, ["sum", "mean"])
        self.label_smoothing = label_smoothing
        self.smaller = MatryoshkaHead(self.dims[:-1], num_classes) if len(self.dims) > 1 and not tied else None

    @classmethod
    def for_model(
        cls,
        model: nn.Module,
        *,
        dims: Sequence[int] | None = None,
        tied: bool = False,
        weights: str | Sequence[float] | None = None,
        reduction: Literal["sum", "mean"] = "sum",
        label_smoothing: float = 0.0,
    ) -> "NestedClassification":
        """For a vision encoder with a linear head.

        Args:
            model: speaks timm's verbs: `num_features`, `forward_features`, `forward_head`.
            dims: the sizes, ascending. The whole width is trained too where it is not among them; None is the encoder's width halved down to 8.
            tied, weights, reduction, label_smoothing: as in the constructor.

        Raises:
            InputError: the model is not such an encoder, or a size is more than its `num_features`.
        """
        head = getattr(model, "head", None)
        if not isinstance(head, nn.Linear):
            raise InputError(
                f"nested classification needs a vision encoder with a linear head (num_classes above 0), and {type(model).__name__} has none"
            )
        width = head.in_features
        sizes = halving_dims(width, min(8, width)) if dims is None else complete_dims(dims, width)
        return cls(sizes, head.out_features, tied=tied, weights=weights, reduction=reduction, label_smoothing=label_smoothing)

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The weighted sum over the sizes of the mean cross-entropy of `image` (B, C, H, W) against `label` (B,) int64, or (B, L) probabilities."""
        logits = self.logits(model, _embed(model, batch["image"]))
        losses = {
            size: F.cross_entropy(each, batch["label"], label_smoothing=self.label_smoothing)
            for size, each in zip(self.dims, logits, strict=True)
        }
        return _combine(losses, self.weights, self.reduction).total

    def logits(self, model: nn.Module, z: Float[Tensor, "batch dim"]) -> list[Float[Tensor, "batch classes"]]:
        """Embeddings (B, d) of `model` to logits (B, L), one tensor a size, smallest first.

        Raises:
            InputError: `z` is not d wide.
        """
        if z.shape[-1] != self.dims[-1]:
            raise InputError(f"the objective was made for embeddings that are {self.dims[-1]} wide, not {z.shape[-1]}")
        if self.tied:
            return tied_logits(z, model.head.weight, model.head.bias, self.dims)  # type: ignore[union-attr, arg-type]
        smaller = self.smaller(z[..., : self.dims[-2]]) if self.smaller is not None else []
        return [*smaller, model.head(z)]  # type: ignore[operator]


def _embed(model: nn.Module, images: Tensor) -> Tensor:
    return model.forward_head(model.forward_features(images), pre_logits=True)  # type: ignore[operator]


OFFICIAL = {"matryoshka-head": OfficialCheckpoint(official_head, official_head_state)}
