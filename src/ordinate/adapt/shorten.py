"""What one would do to shorten an embedding that was not trained for it: the baselines of nested embeddings.

- ``prefix``: the first m features of a plain model;
- ``random``: m features chosen at random;
- ``pca``: the m principal components (centred); ``svd``: the m leading singular directions (not centred);
- ``jl``: a Gaussian random projection to m dimensions (Johnson and Lindenstrauss, 1984).

Each is a scikit-learn transformer: fitted on training embeddings (N, d), it maps (N, d) to (N, m). The fifth baseline of the paper, a model trained for m features alone (FF-m), is a head: `ordinate.nn.nested_head.FixedFeatureHead`.

Source: Kusupati et al., "Matryoshka Representation Learning", 2022, section 4.1.
"""

from typing import Any

import torch
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.random_projection import GaussianRandomProjection
from sklearn.utils.validation import check_is_fitted, validate_data

from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator

__all__ = ["SHORTENERS", "FeatureSubset", "shortener"]

SHORTENERS = ("prefix", "random", "pca", "svd", "jl")


class FeatureSubset(TransformerMixin, BaseEstimator):
    """Keep `size` of the features: the first ones, or, with a seed, ones chosen at random (in their own order)."""

    def __init__(self, size: Any = 1, seed: Any = None) -> None:
        """
        Args:
            size: how many features.
            seed: None keeps the first ones.
        """
        self.size = size
        self.seed = seed

    def fit(self, X: Any, y: Any = None) -> "FeatureSubset":
        """Choose the features.

        Args:
            X: (N, d).
            y: not read.

        Raises:
            InputError: `size` is not in 1..d.
        """
        X = validate_data(self, X)
        width = X.shape[1]
        if not 1 <= self.size <= width:
            raise InputError(f"{self.size} of {width} features cannot be kept")
        chosen = (
            range(self.size)
            if self.seed is None
            else torch.randperm(width, generator=generator(self.seed, "features"))[: self.size].sort().values.tolist()
        )
        self.features_ = list(chosen)
        return self

    def transform(self, X: Any) -> Any:
        """(N, d) to (N, size)."""
        check_is_fitted(self)
        return validate_data(self, X, reset=False)[:, self.features_]


def shortener(method: str, size: int, seed: int = 0) -> TransformerMixin:
    """A transformer that shortens embeddings to `size` features, to be fitted on training embeddings.

    Args:
        method: one of `SHORTENERS`.
        size: m.
        seed: of what is random.

    Raises:
        InputError: an unknown method, or a size below 1.
    """
    choose("way to shorten", method, SHORTENERS)
    if size < 1:
        raise InputError(f"an embedding cannot be shortened to {size} features")
    if method in ("prefix", "random"):
        return FeatureSubset(size, seed if method == "random" else None)
    if method == "jl":
        return GaussianRandomProjection(size, random_state=seed)
    if method == "svd":
        return TruncatedSVD(size, random_state=seed)
    return PCA(size, svd_solver="full")
