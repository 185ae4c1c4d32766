r"""Deep kernel machines with scikit-learn's manners: fit, predict, score, on tables as they are.

- `DeepKernelRegressor` is exact up to a few hundred rows (a Gram matrix of all training rows in every layer) and has inducing points beyond, where the output values are the best ones in closed form
  (or follow by minibatches, where a batch size is given). `predict(X, return_std=True)` gives the predictive standard deviation too, noise included.
- `DeepKernelClassifier` has inducing points and a softmax. `predict_proba` averages over the posterior of the values.

Features and targets are standardised by the training rows; a constant feature becomes 0. With ``nu=inf`` both are the NNGP, and with ``depth=0`` (one kernel, nothing learned but its numbers) a Gaussian process,
with inducing points a sparse variational one. As scikit-learn asks, arguments of a constructor are checked when the estimator is fitted.

Source: Yang et al., A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023).
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.utils import check_random_state
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data
from torch import Tensor, nn

from ordinate.data.batches import Shuffled, TensorSource
from ordinate.ground.errors import InputError
from ordinate.models.deep_kernel import read_dtype
from ordinate.models.deep_kernel_machine import DeepKernelMachine, full_batch_recipe
from ordinate.models.sparse_deep_kernel_machine import SparseDeepKernelMachine
from ordinate.nn.likelihoods import CategoricalLikelihood
from ordinate.train.fit import Batches, fit

__all__ = ["DeepKernelClassifier", "DeepKernelRegressor"]

MOST_EXACT = 300  # rows up to which the regressor is exact by default
INDUCING = 128
_ROWS_AT_ONCE = 4096


class _DeepKernelEstimator(BaseEstimator):
    """What the regressor and the classifier share: arguments to kernels, arrays to standardised tensors, and the fit."""

    kernel: Any
    depth: Any
    nu: Any
    inducing: Any
    steps: Any
    lr: Any
    dtype: Any
    random_state: Any
    _predictor: Callable[[Tensor], tuple[Tensor, Tensor]]

    def _kernels(self) -> list[Any]:
        if isinstance(self.kernel, str | Mapping):
            if self.depth < 0:
                raise InputError(f"depth is the number of learned Gram matrices, 0 or more, not {self.depth}")
            return [self.kernel] * (self.depth + 1)
        if len(self.kernel) != self.depth + 1:
            raise InputError(f"depth={self.depth} takes {self.depth + 1} kernels, or one for all, not {len(self.kernel)}")
        return list(self.kernel)

    def _begin(self, X: Any) -> Tensor:
        self._kind = read_dtype(self.dtype)
        x = torch.tensor(np.asarray(X), dtype=self._kind)
        self.mean_ = x.mean(dim=0)
        spread = x.std(dim=0, correction=0)
        self.scale_ = torch.where(spread > 0, spread, torch.ones_like(spread))
        self._seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return (x - self.mean_) / self.scale_

    def _read(self, X: Any) -> Tensor:
        check_is_fitted(self)
        rows = validate_data(self, X, dtype=[np.float64, np.float32], reset=False)
        return (torch.tensor(np.asarray(rows), dtype=self._kind) - self.mean_) / self.scale_

    def _inducing_points(self, rows: int) -> int:
        if self.inducing == "auto":
            return min(INDUCING, rows)
        if not 1 <= self.inducing <= rows:
            raise InputError(f"{self.inducing} inducing points cannot be put on n_samples={rows} rows: ask for 1 to {rows}")
        return int(self.inducing)

    def _train(self, machine: nn.Module, loss: Callable[[nn.Module, dict[str, Tensor]], Tensor], batches: Batches) -> None:
        history = fit(machine, loss, batches, full_batch_recipe(self.steps, self.lr, self._kind), seed=self._seed)
        self.loss_curve_ = [value for _, value in history.curves["loss"]]
        self.machine_ = machine

    def _values(self, X: Any) -> tuple[Tensor, Tensor]:
        """The mean (M, C) and the variance (M,) that the machine gives for rows (M, d)."""
        rows = self._read(X)
        parts = [self._predictor(part) for part in rows.split(_ROWS_AT_ONCE)]
        means, variances = zip(*parts, strict=True)
        return torch.cat(means), torch.cat(variances)


class DeepKernelRegressor(RegressorMixin, _DeepKernelEstimator):
    """Regression onto one target or several. See the module."""

    def __init__(
        self,
        kernel: Any = "sqexp",
        depth: Any = 1,
        nu: Any = 1.0,
        *,
        prior: Any = True,
        inducing: Any = "auto",
        relevance: Any = False,
        noise: Any = 0.1,
        steps: Any = 200,
        lr: Any = 0.05,
        batch_size: Any = None,
        dtype: Any = "float64",
        random_state: Any = 0,
    ) -> None:
        """
        Args:
            kernel: of every layer, a name or a JSON value as `ordinate.nn.gram_kernels.make_gram_kernel` takes it; or a list of depth + 1 of them.
            depth: how many Gram matrices are learned.
            nu: the relative width of the layers, one for all or a list; infinity is the NNGP.
            prior: False drops the divergences from the kernels below: maximum a posteriori.
            inducing: how many inducing points; None for none, which is exact; ``"auto"`` for none up to 300 rows and 128 beyond.
            relevance: learn one relevance (an inverse squared length scale) for each feature.
            noise: the variance of the noise to begin with, beside standardised targets.
            steps: of the optimizer.
            lr: its peak learning rate.
            batch_size: with inducing points, rows a step; None takes all rows at once and the best output values.
            dtype: ``"float64"`` or ``"float32"``.
            random_state: of the inducing points and the batches.
        """
        self.kernel = kernel
        self.depth = depth
        self.nu = nu
        self.prior = prior
        self.inducing = inducing
        self.relevance = relevance
        self.noise = noise
        self.steps = steps
        self.lr = lr
        self.batch_size = batch_size
        self.dtype = dtype
        self.random_state = random_state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags

    def fit(self, X: Any, y: Any) -> "DeepKernelRegressor":
        """Maximise the objective on the training rows.

        Args:
            X: (N, d).
            y: (N,) or (N, C).

        Raises:
            InputError: arguments out of range, or more inducing points than rows.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], multi_output=True, y_numeric=True)
        x = self._begin(X)
        targets = torch.tensor(np.asarray(y), dtype=self._kind)
        self._flat = targets.ndim == 1
        targets = targets.view(len(x), -1)
        self.target_mean_ = targets.mean(dim=0)
        spread = targets.std(dim=0, correction=0)
        self.target_scale_ = torch.where(spread > 0, spread, torch.ones_like(spread))
        targets = (targets - self.target_mean_) / self.target_scale_
        if self.inducing is None or (self.inducing == "auto" and len(x) <= MOST_EXACT):
            self._fit_exact(x, targets)
        else:
            self._fit_sparse(x, targets)
        return self

    def _fit_exact(self, x: Tensor, y: Tensor) -> None:
        machine = DeepKernelMachine(
            len(x),
            x.shape[1],
            y.shape[1],
            kernels=self._kernels(),
            nu=self.nu,
            prior=self.prior,
            relevance=self.relevance,
            noise=self.noise,
            dtype=self.dtype,
        )
        history = machine.fit(x, y, steps=self.steps, lr=self.lr, seed=self._seed)
        self.loss_curve_ = [value for _, value in history.curves["loss"]]
        self.machine_ = machine
        self._predictor = machine.prepared()
        self.noise_ = 0.0  # the exact machine's predictions hold it already

    def _fit_sparse(self, x: Tensor, y: Tensor) -> None:
        machine = SparseDeepKernelMachine(
            x.shape[1],
            y.shape[1],
            inducing=self._inducing_points(len(x)),
            kernels=self._kernels(),
            nu=self.nu,
            prior=self.prior,
            relevance=self.relevance,
            noise=self.noise,
            dtype=self.dtype,
        ).initialise(x, y, seed=self._seed)
        if self.batch_size is None:
            self._train(machine, _minus_collapsed_bound, partial(_all_rows, x, y))
            machine.collapse(x, y)
        else:
            batches = Shuffled(TensorSource(x=x, y=y), min(self.batch_size, len(x)), self._seed)
            self._train(machine, partial(_minus_elbo, len(x)), batches)
        self._predictor = machine.eval().prepared()
        self.noise_ = float(cast(Any, machine.likelihood).noise.detach())

    def predict(self, X: Any, return_std: bool = False) -> Any:
        """The predictive mean, (M,) or (M, C) as the targets were, of rows (M, d); with `return_std` also the predictive standard deviation of the same shape, noise included."""
        mean, variance = self._values(X)
        mean = mean * self.target_scale_ + self.target_mean_
        deviation = (variance + self.noise_).sqrt()[:, None] * self.target_scale_
        found = tuple((each[:, 0] if self._flat else each).numpy() for each in (mean, deviation))
        return found if return_std else found[0]


class DeepKernelClassifier(ClassifierMixin, _DeepKernelEstimator):
    """Classification into two classes or more. See the module."""

    def __init__(
        self,
        kernel: Any = "sqexp",
        depth: Any = 1,
        nu: Any = 1.0,
        *,
        prior: Any = True,
        inducing: Any = "auto",
        relevance: Any = False,
        tempered: Any = False,
        samples: Any = 16,
        steps: Any = 300,
        lr: Any = 0.03,
        batch_size: Any = 256,
        dtype: Any = "float64",
        random_state: Any = 0,
    ) -> None:
        """
        Args:
            kernel, depth, nu, prior, relevance, lr, dtype, random_state: see `DeepKernelRegressor`.
            inducing: how many inducing points; ``"auto"`` for 128, or every row where there are fewer.
            tempered: divide the divergence of the output by the number of classes.
            samples: Monte Carlo draws a row in training.
            steps: of the optimizer.
            batch_size: rows a step.
        """
        self.kernel = kernel
        self.depth = depth
        self.nu = nu
        self.prior = prior
        self.inducing = inducing
        self.relevance = relevance
        self.tempered = tempered
        self.samples = samples
        self.steps = steps
        self.lr = lr
        self.batch_size = batch_size
        self.dtype = dtype
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> "DeepKernelClassifier":
        """Maximise the objective on the training rows.

        Args:
            X: (N, d).
            y: (N,), of any kind.

        Raises:
            InputError: one class, arguments out of range, or more inducing points than rows.
        """
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32])
        check_classification_targets(y)
        self.classes_, codes = np.unique(y, return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError("a classifier tells classes apart, and there is one class: give labels of at least two")
        x, labels = self._begin(X), torch.from_numpy(codes.reshape(-1)).long()
        machine = SparseDeepKernelMachine(
            x.shape[1],
            len(self.classes_),
            inducing=self._inducing_points(len(x)),
            kernels=self._kernels(),
            nu=self.nu,
            prior=self.prior,
            likelihood="categorical",
            samples=self.samples,
            tempered=self.tempered,
            relevance=self.relevance,
            dtype=self.dtype,
        ).initialise(x, labels, seed=self._seed)
        batches = Shuffled(TensorSource(x=x, y=labels), min(self.batch_size, len(x)), self._seed)
        self._train(machine, partial(_minus_elbo, len(x)), batches)
        self._predictor = machine.eval().prepared()
        return self

    def predict_proba(self, X: Any) -> Any:
        """The classes' probabilities (M, C) for rows (M, d), in the order of `classes_`."""
        mean, variance = self._values(X)
        likelihood = cast(CategoricalLikelihood, cast(SparseDeepKernelMachine, self.machine_).likelihood)
        parts = zip(mean.split(_ROWS_AT_ONCE), variance.split(_ROWS_AT_ONCE), strict=True)
        return torch.cat([likelihood.predictive_probabilities(*part) for part in parts]).numpy()

    def predict(self, X: Any) -> Any:
        """The most probable class (M,) of rows (M, d)."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]


def _minus_elbo(rows: int, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return -cast(SparseDeepKernelMachine, model).elbo(batch["x"], batch["y"], rows)


def _minus_collapsed_bound(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return -cast(SparseDeepKernelMachine, model).collapsed_bound(batch["x"], batch["y"]) / len(batch["x"])


def _all_rows(x: Tensor, y: Tensor, step: int, rank: int = 0, world: int = 1) -> dict[str, Tensor]:
    return {"x": x, "y": y}
