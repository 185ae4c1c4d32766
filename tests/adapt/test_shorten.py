from typing import Any

import numpy as np
import pytest
import torch
from sklearn.utils.estimator_checks import parametrize_with_checks

from ordinate.adapt.shorten import SHORTENERS, FeatureSubset, shortener
from ordinate.ground.errors import InputError


@parametrize_with_checks([FeatureSubset(), FeatureSubset(seed=1)])
def test_it_has_scikit_learns_manners(estimator: Any, check: Any) -> None:
    check(estimator)


@pytest.mark.parametrize("method", SHORTENERS)
def test_every_way_gives_the_size_asked_for_and_is_a_function_of_the_seed(method: str) -> None:
    train, test = torch.randn(60, 12).numpy(), torch.randn(7, 12).numpy()
    first, second = (shortener(method, 3, seed=5).fit(train).transform(test) for _ in range(2))
    assert first.shape == (7, 3) and np.array_equal(first, second)
    other = shortener(method, 3, seed=6).fit(train).transform(test)
    assert np.allclose(first, other, atol=1e-4) == (method in ("prefix", "pca", "svd"))


def test_prefix_and_random_features_are_columns() -> None:
    x = np.arange(24.0).reshape(2, 12)
    assert np.array_equal(shortener("prefix", 4).fit_transform(x), x[:, :4])
    chosen = shortener("random", 4, seed=3).fit(x)
    assert len(set(chosen.features_)) == 4 and np.array_equal(chosen.transform(x), x[:, chosen.features_])


def test_pca_keeps_more_variance_than_any_prefix() -> None:
    x = torch.randn(200, 8).numpy() @ torch.randn(8, 8).numpy()
    kept = {method: shortener(method, 3).fit_transform(x).var(axis=0).sum() for method in ("pca", "prefix", "random")}
    assert kept["pca"] > max(kept["prefix"], kept["random"])


def test_bad_input_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="did you mean pca"):
        shortener("pcaa", 3)
    with pytest.raises(InputError, match="shortened to 0"):
        shortener("pca", 0)
    with pytest.raises(InputError, match="13 of 12 features"):
        shortener("prefix", 13).fit(np.zeros((3, 12)))
