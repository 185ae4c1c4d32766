import pytest
import torch
from torch import Tensor, nn

from ordinate.analyze.empirical import empirical_dntk, empirical_ntk, layer_outputs, measure
from ordinate.analyze.flow import rg_flow
from ordinate.analyze.kernels import first_kernel, kernel_flow
from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation
from ordinate.nn.deep_mlp import DeepMLP
from ordinate.nn.variance_init import variance_init_


class Twice(nn.Module):
    """A linear layer that is used twice."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(torch.tanh(self.layer(x)))


def branching() -> nn.Module:
    class Branching(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.out = nn.Linear(4, 5), nn.Linear(4, 5, bias=False), nn.Linear(5, 2)
            self.one.bias.requires_grad_(False)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.tanh(self.one(x)) * self.two(x))

    return Branching()


def convolutional() -> nn.Module:
    return nn.Sequential(nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 3, 2), nn.GELU(), nn.Flatten(), nn.LayerNorm(3), nn.Linear(3, 2))


@pytest.mark.parametrize("make", [lambda: DeepMLP([4, 6, 6, 2], "gelu"), branching, lambda: nn.Linear(4, 3)])
def test_by_activations_or_by_jacobian_it_is_the_same_kernel(make) -> None:
    model, x = make().double(), torch.randn(3, 4, dtype=torch.float64)
    one, other = (empirical_ntk(model, x, lambda_b=0.3, lambda_W=2.0, method=method) for method in ("linear", "jacobian"))
    torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(empirical_ntk(model, x, lambda_b=0.3, lambda_W=2.0), one)


@pytest.mark.parametrize("make", [Twice, convolutional])
def test_other_networks_get_their_jacobian(make) -> None:
    model, x = make().double(), torch.randn(3, 4, dtype=torch.float64)
    kernel = empirical_ntk(model, x)
    flat = kernel.permute(0, 2, 1, 3).flatten(2).flatten(0, 1)
    assert torch.linalg.eigvalsh(flat)[0] > -1e-10
    with pytest.raises(InputError, match="use jacobian"):
        empirical_ntk(model, x, method="linear")
    rows = []
    for out in model(x).flatten():
        model.zero_grad()
        grads = torch.autograd.grad(out, list(model.parameters()), retain_graph=True)
        rates = [1 / parameter[0].numel() if parameter.ndim > 1 else 1.0 for parameter in model.parameters()]
        rows.append(torch.cat([(grad * rate**0.5).flatten() for grad, rate in zip(grads, rates, strict=True)]))
    torch.testing.assert_close(flat, torch.stack(rows) @ torch.stack(rows).mT)


def test_the_differential_is_the_kernel_s_change_under_a_step() -> None:
    model, x = variance_init_(DeepMLP([3, 5, 2], "tanh").double(), 0.1, 1.5), torch.randn(2, 3, dtype=torch.float64)
    dntk = empirical_dntk(model, x)
    step, a, b, c, i2 = 1e-6, 0, 1, 1, 1
    before = empirical_ntk(model, x)
    grads = torch.autograd.grad(model(x)[c, i2], list(model.parameters()))
    with torch.no_grad():
        for parameter, grad in zip(model.parameters(), grads, strict=True):
            parameter += step * grad * (1 / parameter.shape[1] if parameter.ndim > 1 else 1.0)
    moved = (empirical_ntk(model, x)[a, b] - before[a, b]) / step
    expected = dntk[a, b, c, :, :, i2] + dntk[b, a, c, :, :, i2].mT
    torch.testing.assert_close(moved, expected, rtol=1e-4, atol=1e-5)


def test_an_ensemble_shows_the_kernels_within_its_errors() -> None:
    x, n = torch.randn(2, 6), 24

    def make() -> nn.Module:
        return variance_init_(DeepMLP([6, n, n, n], "tanh"), 0.1, 1.2)

    found = measure(make, x, 300, seed=1, tangent=True)
    flow = kernel_flow(Activation.of("tanh"), first_kernel(x, 0.1, 1.2), 3, 0.1, 1.2)
    assert ((found.K - flow.kernel[-1]).abs() < 5 * found.K_error + 3 / n * flow.kernel[-1].abs()).all()
    assert ((found.Theta - flow.tangent[-1]).abs() < 5 * found.Theta_error + 3 / n * flow.tangent[-1].abs()).all()
    for index in range(2):
        vertex = rg_flow(Activation.of("tanh"), 3, 0.1, 1.2, first=float(flow.kernel[0, index, index])).V[-1] / n
        assert abs(float(found.four_point[index]) - float(vertex)) < 5 * float(found.four_point_error[index])
    again = measure(make, x, 300, seed=1, at_once=300)
    torch.testing.assert_close(found.K, again.K) and again.Theta.numel() == 0


def test_the_outputs_of_every_layer_in_the_order_in_which_they_run() -> None:
    model, x = DeepMLP([4, 5, 3], "relu"), torch.randn(2, 4)
    for got, expected in zip(layer_outputs(model, x), model.preactivations(x), strict=True):
        assert torch.equal(got, expected)
    assert not model.layers[0]._forward_hooks


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(InputError, match="batch of finite numbers"):
        empirical_ntk(nn.Linear(2, 2), torch.tensor([[1.0, torch.nan]]))
    with pytest.raises(InputError, match=r"must give \(batch, outputs\)"):
        empirical_ntk(nn.Sequential(nn.Linear(2, 2), nn.Unflatten(1, (1, 2))), torch.randn(3, 2), method="jacobian")
    with pytest.raises(InputError, match="nothing that is trained"):
        empirical_dntk(nn.Linear(2, 2).requires_grad_(False), torch.randn(3, 2))
    with pytest.raises(InputError, match="at least two networks"):
        measure(lambda: nn.Linear(2, 2), torch.randn(3, 2), 1)
    with pytest.raises(InputError, match="no linear or convolutional layer ran"):
        layer_outputs(nn.Tanh(), torch.randn(3, 2))
    with pytest.raises(InputError, match="unknown method"):
        empirical_ntk(nn.Linear(2, 2), torch.randn(3, 2), method="guess")
