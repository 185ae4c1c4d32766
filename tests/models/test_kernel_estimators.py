import math
import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import make_classification
from sklearn.exceptions import NotFittedError
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, WhiteKernel
from sklearn.utils.estimator_checks import check_estimator

from ordinate.ground.errors import InputError
from ordinate.models import kernel_estimators
from ordinate.models.kernel_estimators import DeepKernelClassifier, DeepKernelRegressor


def waves(rows: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    x = generator.uniform(-2, 2, (rows, 2))
    return x, np.sin(2 * x[:, 0]) + 0.3 * x[:, 1] + 0.05 * generator.standard_normal(rows)


@pytest.mark.parametrize("exact", [True, False])
def test_the_regressor_passes_scikit_learns_own_checks(exact: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel_estimators, "MOST_EXACT", 300 if exact else 0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(DeepKernelRegressor(steps=20), on_skip=None)


def test_the_classifier_passes_scikit_learns_own_checks() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(DeepKernelClassifier(steps=25, samples=4), on_skip=None)


@pytest.mark.parametrize("options", [{}, {"inducing": 25}, {"inducing": 25, "batch_size": 20, "steps": 250}, {"dtype": "float32"}], ids=str)
def test_the_regressor_learns_and_says_how_sure_it_is(options: dict) -> None:
    x, y = waves()
    tests, targets = waves(200, seed=1)
    model = DeepKernelRegressor(**{"steps": 120, **options}).fit(x, y)
    mean, deviation = model.predict(tests, return_std=True)
    assert mean.shape == deviation.shape == (200,) and bool((deviation > 0).all())
    assert model.score(tests, targets) > 0.9
    assert np.mean(np.abs(mean - targets) < 3 * deviation) > 0.8
    assert mean.dtype == (np.float32 if options.get("dtype") else np.float64)
    assert model.loss_curve_[-1] < model.loss_curve_[0]


def test_depth_zero_is_a_gaussian_process() -> None:
    x, y = waves()
    ours = DeepKernelRegressor(depth=0, steps=1, lr=1e-9, noise=0.1).fit(x, y)
    standard = (x - x.mean(0)) / x.std(0)
    theirs = GaussianProcessRegressor(RBF(math.sqrt(2)) + WhiteKernel(0.1), optimizer=None).fit(standard, (y - y.mean()) / y.std())
    mean, deviation = theirs.predict(standard, return_std=True)
    found, spread = ours.predict(x, return_std=True)
    np.testing.assert_allclose(found, mean * y.std() + y.mean(), atol=1e-2)
    np.testing.assert_allclose(spread, deviation * y.std(), atol=1e-2)


def test_several_targets_and_constant_columns_are_taken() -> None:
    x, y = waves()
    x = np.column_stack((x, np.full(len(x), 7.0)))
    targets = np.column_stack((y, -y, np.zeros_like(y)))
    model = DeepKernelRegressor(steps=60).fit(x, targets)
    assert model.predict(x).shape == (60, 3)
    np.testing.assert_allclose(model.predict(x)[:, 0], -model.predict(x)[:, 1], atol=1e-8)
    np.testing.assert_allclose(model.predict(x)[:, 2], 0, atol=1e-8)


def test_the_classifier_learns_classes_of_any_kind() -> None:
    x, codes = make_classification(
        150, 5, n_informative=3, n_redundant=0, n_classes=3, n_clusters_per_class=1, class_sep=2.0, random_state=0
    )
    names = np.array(["b", "a", "c"])[codes]
    model = DeepKernelClassifier(steps=120, inducing=40).fit(x[:100], names[:100])
    assert model.score(x[100:], names[100:]) > 0.85
    probabilities = model.predict_proba(x[100:])
    np.testing.assert_allclose(probabilities.sum(axis=1), 1)
    assert list(model.classes_) == ["a", "b", "c"]


def test_a_fit_is_repeated_by_its_random_state_and_survives_pickling() -> None:
    x, y = waves()
    one, two = (DeepKernelRegressor(inducing=10, steps=10, random_state=3).fit(x, y).predict(x) for _ in range(2))
    np.testing.assert_array_equal(one, two)
    assert not np.array_equal(one, DeepKernelRegressor(inducing=10, steps=10, random_state=4).fit(x, y).predict(x))
    model = DeepKernelClassifier(steps=5, inducing=10).fit(x, y > 0)
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(model)).predict_proba(x), model.predict_proba(x))


def test_torchs_generator_is_left_alone() -> None:
    x, y = waves()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    DeepKernelRegressor(steps=3).fit(x, y)
    assert torch.equal(torch.rand(3), expected)


def test_bad_input_is_one_clear_line() -> None:
    x, y = waves()
    for options, message in (
        ({"inducing": 100}, "100 inducing points cannot be put on n_samples=60 rows"),
        ({"kernel": "rbf"}, "unknown kernel 'rbf'"),
        ({"kernel": ["sqexp"], "depth": 2}, "takes 3 kernels"),
        ({"depth": -1}, "0 or more"),
        ({"nu": 0.0}, "nu must be positive"),
        ({"dtype": "float16"}, "unknown dtype"),
        ({"steps": 0}, "at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            DeepKernelRegressor(**options).fit(x, y)
    with pytest.raises(ValueError, match="NaN"):
        DeepKernelRegressor().fit(np.where(x > 1.9, np.nan, x), y)
    with pytest.raises(InputError, match="there is one class"):
        DeepKernelClassifier().fit(x, np.zeros(len(x)))
    with pytest.raises(NotFittedError):
        clone(DeepKernelClassifier()).predict(x)
    few = DeepKernelRegressor(steps=5).fit(x[:3], y[:3])  # fewer rows than features of nothing: three rows are enough
    assert few.predict(x).shape == (60,)


def test_fewer_rows_than_features_repeated_rows_and_constant_features_are_taken() -> None:
    drawn = np.random.default_rng(0)
    wide, few = drawn.normal(size=(6, 20)), drawn.normal(size=6)
    for options in ({}, {"inducing": 4}, {"kernel": "linear"}, {"kernel": "relu"}):
        assert np.isfinite(DeepKernelRegressor(steps=10, **options).fit(wide, few).predict(wide)).all(), options
    repeated = np.repeat(wide[:3], 4, axis=0)
    assert np.isfinite(DeepKernelRegressor(steps=10).fit(repeated, np.arange(12.0)).predict(wide)).all()
    same = np.ones((8, 3))
    mean, deviation = DeepKernelRegressor(steps=10).fit(same, np.arange(8.0)).predict(same, return_std=True)
    assert np.isfinite(deviation).all() and np.ptp(mean) < 1e-9
    assert DeepKernelClassifier(steps=5).fit(same, np.arange(8) % 2).predict_proba(same).shape == (8, 2)


def test_a_kernel_that_is_singular_without_jitter_is_named() -> None:
    twice = np.ones((4, 2))
    with pytest.raises(InputError, match="the kernel of layer 1 is not positive definite"):
        DeepKernelRegressor({"kernel": "linear", "jitter": 0.0}, steps=3).fit(np.concatenate([twice, -twice]), np.arange(8.0))
