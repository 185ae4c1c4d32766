import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from ordinate.ground.errors import InputError
from ordinate.nn.gaussian_divergence import gaussian_kl, taylor_divergence


def positive(points: int, seed: int) -> Tensor:
    rows = torch.randn(points, points + 3, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return rows @ rows.T / points


@given(st.integers(1, 6), st.integers(0, 1000))
@settings(max_examples=25)
def test_it_is_the_divergence_of_gaussians_never_negative_and_invariant(points: int, seed: int) -> None:
    gram, kernel = positive(points, seed), positive(points, seed + 1)
    found = gaussian_kl(gram, kernel)
    zero = torch.zeros(points, dtype=torch.float64)
    torch.testing.assert_close(found, kl_divergence(MultivariateNormal(zero, gram), MultivariateNormal(zero, kernel)))
    assert float(found) >= 0
    turn = torch.randn(points, points, dtype=torch.float64, generator=torch.Generator().manual_seed(seed + 2))
    torch.testing.assert_close(gaussian_kl(turn @ gram @ turn.T, turn @ kernel @ turn.T), found, atol=1e-6, rtol=1e-6)
    assert abs(float(gaussian_kl(gram, gram))) < 1e-10


def test_the_stand_in_is_the_expansion_to_second_order_where_the_matrices_commute_and_above_it_elsewhere() -> None:
    kernel = positive(5, 0)
    for step in (1e-2, 1e-3):
        gram = kernel + step * kernel @ kernel
        assert abs(float(taylor_divergence(gram, kernel) / gaussian_kl(gram, kernel)) - 1) < 20 * step
        other = kernel + step * positive(5, 1)
        ratio = torch.linalg.solve(other, kernel) - torch.eye(5)
        assert float(taylor_divergence(other, kernel)) > 0.25 * float((ratio @ ratio).trace())


def test_gradients_are_those_of_finite_differences() -> None:
    def call(gram: Tensor, kernel: Tensor) -> Tensor:
        return torch.stack([divergence(gram + gram.mT, kernel + kernel.mT) for divergence in (gaussian_kl, taylor_divergence)])

    assert torch.autograd.gradcheck(call, (positive(4, 0).requires_grad_(), positive(4, 1).requires_grad_()))


def test_what_is_no_gram_matrix_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    good = positive(3, 0)
    with pytest.raises(InputError, match="not symmetric"):
        gaussian_kl(good + torch.ones(3, 3).triu(1), good)
    with pytest.raises(InputError, match="K is not positive definite in float64"):
        gaussian_kl(good, torch.ones(3, 3, dtype=torch.float64))
    with pytest.raises(InputError, match="G is not finite"):
        gaussian_kl(good * torch.nan, good)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the checker of signatures would speak first
    with pytest.raises(InputError, match="square matrices of one shape"):
        gaussian_kl(good, positive(4, 0))
