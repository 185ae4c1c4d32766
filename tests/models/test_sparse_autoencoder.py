import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.ground.errors import InputError
from ordinate.models.registry import load_official
from ordinate.models.sparse_autoencoder import CircuitSAE, geometric_median, sparse_loss


@settings(max_examples=15)
@given(rows=st.integers(1, 5), dim=st.integers(1, 7), features=st.integers(1, 9), norm=st.sampled_from(["row", "column"]))
def test_features_are_not_negative_and_gradients_have_no_part_along_what_is_normalised(
    rows: int, dim: int, features: int, norm: str
) -> None:
    torch.manual_seed(rows)
    sae = CircuitSAE(dim, features, decoder_norm=norm)
    x = torch.randn(rows, dim)
    acts, back = sae(x)
    assert acts.shape == (rows, features) and back.shape == x.shape and bool((acts >= 0).all())
    sparse_loss(x, acts, back, 0.1).backward()
    along = {"row": 1, "column": 0}[norm]
    for weight, over in ((sae.encoder, 1), (sae.decoder, along)):
        assert weight.grad is not None
        assert torch.allclose(weight.norm(dim=over), torch.ones(()), atol=1e-6)
        assert float((weight.detach() * weight.grad).sum(dim=over).abs().max()) < 1e-6


@pytest.mark.parametrize("norm", ["row", "column"])
def test_the_weights_lengths_do_not_matter_and_can_be_brought_back(norm: str) -> None:
    """Longer weights give the same output, and a gradient that is shorter by as much and has no part along them either."""
    along = {"row": 1, "column": 0}[norm]
    sae, x = CircuitSAE(4, 6, decoder_norm=norm), torch.randn(3, 4)
    features, before = sae(x)
    loss = sparse_loss(x, features, before, 0.1)
    weights = [sae.encoder, sae.decoder]
    unit = torch.autograd.grad(loss, [*weights, sae.threshold, sae.centre])
    lengths = [torch.rand(6, 1) + 0.5, torch.rand((4, 1) if norm == "row" else (1, 6)) + 0.5]
    with torch.no_grad():
        for weight, length in zip(weights, lengths, strict=True):
            weight.mul_(length)
    features, after = sae(x)
    torch.testing.assert_close(after, before)
    long = torch.autograd.grad(sparse_loss(x, features, after, 0.1), [*weights, sae.threshold, sae.centre])
    for place, (weight, length, over) in enumerate(zip(weights, lengths, (1, along), strict=True)):
        torch.testing.assert_close(long[place], unit[place] / length, atol=1e-6, rtol=1e-4)
        assert float((weight.detach() * long[place]).sum(dim=over).abs().max()) < 1e-6
    for place in (2, 3):
        torch.testing.assert_close(long[place], unit[place], atol=1e-6, rtol=1e-4)
    sae.normalise_()
    assert torch.allclose(sae.encoder.norm(dim=1), torch.ones(())) and torch.allclose(sae.decoder.norm(dim=along), torch.ones(()))


def test_the_loss_is_the_error_and_the_size_of_a_vector_s_features() -> None:
    x, features, back = torch.zeros(2, 4), torch.tensor([[1.0, 2.0], [0.0, 3.0]]), torch.full((2, 4), 2.0)
    assert float(sparse_loss(x, features, back, 0.5)) == 4 + 0.5 * 3


def test_the_bias_begins_at_the_centre_and_the_median_withstands_an_outlier() -> None:
    x = torch.cat([torch.randn(50, 3) * 0.01, torch.full((1, 3), 1000.0)])
    centre = geometric_median(x)
    assert float(centre.norm()) < 0.05 < float(x.mean(dim=0).norm())
    assert torch.equal(CircuitSAE(3, 5, centre=centre).centre.detach(), centre)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        CircuitSAE(0, 3)
    with pytest.raises(InputError, match="unknown decoder norm"):
        CircuitSAE(2, 3, decoder_norm="both")
    with pytest.raises(InputError, match=r"shape \(2,\)"):
        CircuitSAE(2, 3, centre=torch.zeros(3))
    with pytest.raises(InputError, match="width 2, not 5"):
        CircuitSAE(2, 3)(torch.zeros(1, 5))
    state = {
        "tied_bias": torch.zeros(2),
        "encoder.1.weight": torch.ones(3, 2),
        "encoder.1.bias": torch.zeros(3),
        "decoder.0.weight": torch.ones(2, 3),
    }
    assert isinstance(load_official("circuit-autoencoder", state), CircuitSAE)
    with pytest.raises(InputError, match="n_learned_features=3, not 4"):
        load_official("circuit-autoencoder", state, n_learned_features=4)
