import pytest
import torch
from torch import nn

from ordinate.adapt.composed_model import ComposedModel
from ordinate.adapt.linearised import LinearisedModel, expanded
from tests.adapt.small import bank_of, network, set_coefficients


def _shift(model: nn.Module, size: float) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    return {name: size * torch.randn_like(parameter) for name, parameter in model.named_parameters()}


def _moved(model: nn.Module, shift: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    return torch.func.functional_call(model, {name: parameter + shift[name] for name, parameter in model.named_parameters()}, (x,))


def test_it_is_exact_where_the_model_is_linear_in_its_weights() -> None:
    model, x = nn.Linear(4, 3), torch.randn(5, 4)
    shift = _shift(model, 1.0)
    torch.testing.assert_close(expanded(model, shift, x), _moved(model, shift, x))


def test_its_error_falls_with_the_square_of_the_step() -> None:
    model, x = network().double(), torch.randn(5, 4, dtype=torch.float64)
    whole = _shift(model, 0.02)
    errors = []
    for factor in (1.0, 0.5):
        shift = {name: factor * change for name, change in whole.items()}
        errors.append(float((expanded(model, shift, x) - _moved(model, shift, x)).detach().norm()))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


def test_attention_is_linearised() -> None:
    model = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).eval()
    x = torch.randn(2, 3, 8)
    shift = _shift(model, 1e-3)
    assert (expanded(model, shift, x) - _moved(model, shift, x)).abs().max() < 1e-3


def test_it_starts_as_the_model_and_is_trained_from_there() -> None:
    model, x = network(), torch.randn(5, 4)
    linear = LinearisedModel(model)
    assert torch.equal(linear(x), model(x))
    before = float(linear(x).detach().square().mean())
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.05)
    for _ in range(20):
        optimizer.zero_grad()
        linear(x).square().mean().backward()
        optimizer.step()
    assert float(linear(x).detach().square().mean()) < before
    assert all(torch.equal(a, b) for a, b in zip(linear.origin.parameters(), model.parameters(), strict=True))
    vector = linear.task_vector()
    composed = ComposedModel(model, {"it": vector}, "scalar", linearised=True)
    set_coefficients(composed, 1.0)
    torch.testing.assert_close(composed(x), linear(x), atol=1e-5, rtol=1e-5)


def test_gradients_reach_the_coefficients_through_the_expansion() -> None:
    model, x = network(), torch.randn(5, 4)
    bank = bank_of(model)
    composed = ComposedModel(model, bank, linearised=True)
    set_coefficients(composed, torch.randn_like(composed.coef))
    out = composed(x)
    (gradient,) = torch.autograd.grad(out.sum(), composed.coef)
    # The output is affine in the coefficients.
    rest = composed.coef.detach().clone()
    set_coefficients(composed, 0.0)
    torch.testing.assert_close(out.sum(), composed(x).sum() + (gradient * rest).sum(), atol=1e-4, rtol=1e-4)
