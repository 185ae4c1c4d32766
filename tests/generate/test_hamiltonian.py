import pytest
import torch
from torch import Tensor

from ordinate.generate.hamiltonian import sample_hamiltonian
from ordinate.ground.errors import InputError

MEAN = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
ROOT = torch.tensor([[1.0, 0.0, 0.0], [0.6, 0.5, 0.0], [-0.3, 0.2, 2.0]], dtype=torch.float64)


def gaussian(state: Tensor) -> Tensor:
    return -0.5 * torch.linalg.solve_triangular(ROOT, (state - MEAN).T, upper=False).square().sum(dim=0)


def chains(count: int = 64) -> Tensor:
    return torch.randn(count, 3, dtype=torch.float64)


def run(seed: int = 0, **options):
    generator = torch.Generator().manual_seed(seed)
    torch.manual_seed(0)
    return sample_hamiltonian(gaussian, chains(), **{"draws": 100, "warmup": 60, "generator": generator, **options})


def test_moments_are_those_of_the_density() -> None:
    found = run()
    assert found.observed.shape == (100, 64, 3)
    draws = found.observed.reshape(-1, 3)
    torch.testing.assert_close(draws.mean(dim=0), MEAN, atol=0.1, rtol=0)
    torch.testing.assert_close(draws.T.cov(), ROOT @ ROOT.T, atol=0.25, rtol=0)
    assert 0.7 < found.acceptance < 0.97


def test_a_seed_gives_the_same_draws_and_another_gives_others() -> None:
    assert torch.equal(run(0, draws=3).observed, run(0, draws=3).observed)
    assert not torch.equal(run(0, draws=3).observed, run(1, draws=3).observed)


def test_only_what_is_observed_is_kept() -> None:
    assert run(draws=4, observe=lambda state: state[:, 0]).observed.shape == (4, 64)


def test_trajectories_that_leave_the_density_are_rejected() -> None:
    found = run(draws=5, warmup=0, step=1e3)
    assert found.acceptance < 1e-6
    assert torch.equal(found.observed[0], found.observed[-1])


def test_bad_counts_and_starts_are_refused() -> None:
    for options in ({"draws": 0}, {"leapfrogs": 0}, {"step": 0.0}, {"target": 1.0}, {"warmup": -1}):
        with pytest.raises(InputError, match="must be at least 1"):
            run(**options)
    with pytest.raises(InputError, match="not finite where the chains start"):
        sample_hamiltonian(lambda state: state.log().sum(dim=-1), -torch.ones(2, 3), draws=1, warmup=0, generator=torch.Generator())
