import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.ground.errors import InputError
from ordinate.nn.gaussian_divergence import gaussian_kl
from ordinate.nn.gaussian_hellinger import gaussian_hellinger


def covariance(d: int, seed: int) -> torch.Tensor:
    root = torch.randn(d, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return root @ root.mT + 0.2 * torch.eye(d, dtype=torch.float64)


@given(st.integers(1, 5), st.integers(0, 50))
def test_it_is_a_distance_below_one_and_bounded_by_the_divergence(d: int, seed: int) -> None:
    one, other = covariance(d, seed), covariance(d, seed + 1)
    found = gaussian_hellinger(one, other)
    torch.testing.assert_close(found, gaussian_hellinger(other, one))
    assert 0 <= float(found) < 1 and float(gaussian_hellinger(one, one)) < 1e-6
    assert 2 * float(found) ** 2 <= float(gaussian_kl(one, other)) + 1e-9


def test_in_one_dimension_it_is_the_integral() -> None:
    one, other = torch.tensor([[1.0]], dtype=torch.float64), torch.tensor([[4.0]], dtype=torch.float64)
    x = torch.linspace(-40, 40, 400_001, dtype=torch.float64)
    densities = [torch.distributions.Normal(0.0, float(each) ** 0.5).log_prob(x).exp() for each in (one, other)]
    square = 0.5 * torch.trapezoid((densities[0].sqrt() - densities[1].sqrt()).square(), x)
    assert float(gaussian_hellinger(one, other)) == pytest.approx(float(square.sqrt()), abs=1e-8)


def test_many_at_once_and_bad_matrices() -> None:
    batch = torch.stack([covariance(3, seed) for seed in range(4)])
    found = gaussian_hellinger(batch, batch.flip(0))
    assert found.shape == (4,) and float(found[1]) == pytest.approx(float(gaussian_hellinger(batch[1], batch[2])))
    eye = torch.eye(2, dtype=torch.float64)
    for one, other in ((eye, -eye), (eye, torch.tensor([[1.0, 0.5], [0, 1]], dtype=torch.float64)), (eye, eye * float("nan"))):
        with pytest.raises(InputError):
            gaussian_hellinger(one, other)
