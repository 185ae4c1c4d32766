import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.nn.feature_maps import FEATURE_MAPS, RandomFeatures, feature_map, unit_norm


@pytest.mark.parametrize("orthogonal", [False, True])
@pytest.mark.parametrize("kind", ["prf", "trf"])
def test_the_estimate_of_the_exponential_is_unbiased(kind, orthogonal):
    x, y = torch.randn(2, 1, 8, dtype=torch.float64) * 0.3
    exact = (x * y).sum().exp()
    estimates = []
    for seed in range(400):
        features = RandomFeatures(kind, 8, 16, orthogonal=orthogonal, generator=torch.Generator().manual_seed(seed)).double()
        estimates.append((features(x[None])[0] @ features(y[None])[0].mT).item())
    found = torch.tensor(estimates, dtype=torch.float64)
    assert abs(found.mean() - exact) < 3 * found.std() / 400**0.5


def test_orthogonal_projections_are_orthogonal_with_gaussian_lengths_and_vary_less():
    drawn = RandomFeatures("prf", 16, 40, heads=3, orthogonal=True, generator=torch.Generator().manual_seed(0)).weight
    block = drawn[:, :16] / drawn[:, :16].norm(dim=-1, keepdim=True)
    assert torch.allclose(block @ block.mT, torch.eye(16).expand(3, -1, -1), atol=1e-5)
    assert abs(drawn.square().sum(-1).mean() - 16) < 2
    x = unit_norm(torch.randn(1, 200, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1)))
    y = unit_norm(torch.randn(1, 200, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2)))
    exact = (x * y).sum(-1).exp()

    def error(orthogonal):
        total = 0.0
        for seed in range(60):
            made = RandomFeatures("prf", 16, 16, orthogonal=orthogonal, generator=torch.Generator().manual_seed(seed)).double()
            total += float((((made(x) * made(y)).sum(-1) / exact - 1) ** 2).mean())
        return total

    assert error(True) < 0.9 * error(False)


def test_positive_features_are_positive_and_trigonometric_ones_are_not():
    x = torch.randn(2, 3, 50, 8)
    for kind in FEATURE_MAPS:
        made = feature_map(kind, 8, features=None if kind == "elu" else 12, heads=3)
        phi = made(x)
        assert phi.shape == (2, 3, 50, made.width)
        assert made.positive == bool((phi >= 0).all()) or kind == "elu"
    assert feature_map("trf", 8, features=12).width == 24


@pytest.mark.parametrize("kind", ["prf", "trf"])
def test_large_vectors_do_not_overflow(kind):
    made = feature_map(kind, 8, features=16)
    phi, lacking = made.scaled(torch.randn(1, 20, 8) * 40)
    assert phi.isfinite().all()
    assert lacking.isfinite().all()
    assert lacking.abs().max() > 100, "this test is about exponentials that float32 cannot hold"


def test_the_gradient_takes_the_missing_factor_for_a_constant_without_being_wrong():
    made = feature_map("prf", 4, features=6).double()
    x = torch.randn(1, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(made, (x,))


def test_unit_norm_is_smooth_at_zero_and_takes_the_last_axis():
    x = torch.randn(2, 3, 5, 4)
    assert torch.allclose(unit_norm(x).norm(dim=-1), torch.ones(2, 3, 5))
    zero = torch.zeros(1, 4, requires_grad=True)
    unit_norm(zero).sum().backward()
    assert zero.grad.isfinite().all()


def test_redrawing_changes_the_projections_and_counts_calls_reproducibly():
    made = feature_map("prf", 4, features=6, heads=2, redraw_every=3)
    before = made.weight.clone()
    kept = {name: value.clone() for name, value in made.state_dict().items()}
    for _ in range(3):
        made.count_call()
    drawn = made.weight.clone()
    assert not torch.equal(before, drawn)
    made.load_state_dict(kept)
    torch.manual_seed(99)
    for _ in range(3):
        made.count_call()
    assert torch.equal(made.weight, drawn), "the draw depends on what was drawn elsewhere"
    made.eval()
    for _ in range(3):
        made.count_call()
    assert torch.equal(made.weight, drawn)


def test_projections_are_saved_and_not_trained():
    made = feature_map("prf", 4)
    assert "weight" in made.state_dict()
    assert not list(made.parameters())


def test_bad_arguments_are_refused():
    for call in (
        lambda: feature_map("tanh", 4),
        lambda: feature_map("prf", 4, features=0),
        lambda: feature_map("elu", 4, features=9),
        lambda: feature_map("elu", 4, orthogonal=True),
        lambda: feature_map("prf", 4, redraw_every=0),
        lambda: feature_map("prf", 4, heads=2)(torch.randn(1, 3, 5, 4)),
        lambda: feature_map("prf", 4)(torch.randn(1, 2, 5, 3)),
    ):
        with pytest.raises(InputError):
            call()
