"""The sliced probe: a wide representation cut into slices, a linear classifier on each, their probabilities averaged.

It has the capacity of an ensemble of small classifiers, and no more than each slice knows by itself. What a probe on the whole gains over it is what the parts know together; what it gains over one slice is ensembling. On a
concatenation the slices are the members; a network of its width is cut alike.

Source: Zhang and Bottou, "Learning useful representations for shifting tasks and distributions", 2023, the dashed curves of its figures as we read them.
"""

from typing import Any

import torch
from torch import Tensor

from ordinate.analyze.linear_probe import L2_GRID, LinearProbe
from ordinate.analyze.probes import _Probe
from ordinate.ground.errors import InputError

__all__ = ["SlicedProbe"]


class SlicedProbe(_Probe):
    """A vote of linear probes, one a slice of the features.

    Attributes:
        probes_: the fitted probes.
    """

    def __init__(self, dims: Any = None, l2: Any = L2_GRID, solver: Any = "newton", use_bn: Any = True, seed: Any = 0) -> None:
        """
        Args:
            dims: the widths of the slices, in order; they add up to the features' width. None is one slice.
            l2, solver, use_bn, seed: of every probe, see :class:`ordinate.analyze.linear_probe.LinearProbe`.
        """
        self.dims = dims
        self.l2 = l2
        self.solver = solver
        self.use_bn = use_bn
        self.seed = seed

    def fit(self, X: Any, y: Any) -> "SlicedProbe":
        """Fit a probe on every slice.

        Args:
            X: (N, d).
            y: (N,).

        Raises:
            InputError: widths that do not add up, or what a probe refuses.
        """
        X, codes = self._begin(X, y)
        self.dims_ = [X.shape[1]] if self.dims is None else [int(width) for width in self.dims]
        if sum(self.dims_) != X.shape[1] or min(self.dims_) < 1:
            raise InputError(f"slices of {self.dims_} do not make up features of {X.shape[1]}")
        self.probes_ = [
            LinearProbe(self.l2, self.solver, self.use_bn, self.seed).fit(part.numpy(), codes.numpy())
            for part in X.split(self.dims_, dim=1)
        ]
        return self

    def decide(self, X: Any) -> Tensor:
        """The mean of the slices' probabilities (M, C)."""
        parts = self._read(X).split(self.dims_, dim=1)
        return torch.stack([probe.decide(part.numpy()).softmax(dim=1) for probe, part in zip(self.probes_, parts, strict=True)]).mean(dim=0)

    def predict(self, X: Any) -> Any:
        """The labels (M,) of features (M, d)."""
        return self._named(self.decide(X).argmax(dim=1))
