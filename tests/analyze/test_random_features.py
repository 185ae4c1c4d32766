import math

import pytest
import torch

from ordinate.analyze.random_features import attention_error, prf_relative_variance
from ordinate.ground.errors import InputError
from ordinate.nn.feature_maps import RandomFeatures, unit_norm


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def test_the_closed_form_is_the_variance_of_the_estimate() -> None:
    x, y = (torch.randn(6, dtype=torch.float64, generator=seeded(n)) * 0.3 for n in range(2))
    draws = []
    for seed in range(3000):
        features = RandomFeatures("prf", 6, 4, generator=seeded(seed)).double()
        draws.append(float(features(x[None, None])[0, 0] @ features(y[None, None])[0, 0]) / math.exp(float(x @ y)))
    found = torch.tensor(draws).var()
    assert found == pytest.approx(float(prf_relative_variance(x, y, 4)), rel=0.2)


def test_at_unit_length_the_variance_is_bounded_and_opposite_vectors_have_none() -> None:
    x, y = (unit_norm(torch.randn(500, 8, dtype=torch.float64, generator=seeded(n))) for n in range(2))
    assert prf_relative_variance(x, y, 10).max() <= (math.e**4 - 1) / 10
    assert prf_relative_variance(x, -x, 10).abs().max() < 1e-9
    with pytest.raises(InputError):
        prf_relative_variance(x, y, 0)


def test_attention_error_falls_with_features_and_grows_with_length() -> None:
    q, k = (torch.randn(2, 2, 30, 8, dtype=torch.float64, generator=seeded(n)) for n in range(2))
    error = {
        (m, scale): attention_error(q, k, RandomFeatures("prf", 8, m, heads=2, generator=seeded(3)).double(), norm_scale=scale).mean()
        for m in (16, 4096)
        for scale in (1.0, 3.0)
    }
    assert error[4096, 1.0] < 0.05 < error[16, 1.0] < error[16, 3.0] < 2
    bias = torch.randn(2, 59, dtype=torch.float64, generator=seeded(4)) * 3
    features = RandomFeatures("prf", 8, 4096, heads=2, generator=seeded(3)).double()
    assert attention_error(q, k, features, diagonals=bias).mean() < 0.1
    assert attention_error(q, k, features, norm_scale=None).shape == (2, 2, 30)
