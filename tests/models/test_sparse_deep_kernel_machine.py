import pytest
import torch
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.models.deep_kernel_machine import DeepKernelMachine
from ordinate.models.registry import load_model, load_official, save_model
from ordinate.models.sparse_deep_kernel_machine import SparseDeepKernelMachine
from ordinate.nn.gram_forms import FORMS

KERNELS = ["sqexp", "relu", "sqexp"]


def data(rows: int = 12, outputs: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(rows, 3, dtype=torch.float64, generator=generator)
    return x, torch.randn(rows, outputs, dtype=torch.float64, generator=generator)


def moved(machine: torch.nn.Module, size: float = 0.2) -> torch.nn.Module:
    with torch.no_grad():
        for parameter in machine.parameters():
            parameter += size * torch.randn(parameter.shape, dtype=parameter.dtype, generator=torch.Generator().manual_seed(5))
    return machine


@pytest.mark.parametrize("form", sorted(FORMS))
def test_with_all_rows_inducing_the_collapsed_bound_is_the_exact_objective(form: str) -> None:
    x, y = data()
    sparse = SparseDeepKernelMachine(3, 2, inducing=12, kernels=KERNELS, form=form, jitter=1e-8, noise=0.3).initialise(x, y)
    exact = DeepKernelMachine(12, 3, 2, kernels=KERNELS, form=form, jitter=1e-8, noise=0.3).initialise(x, y)
    with torch.no_grad():
        sparse.points.copy_(x)
    sparse.deep.start(sparse.inputs(x).ii)
    for layer, other in zip(sparse.deep.layers, exact.deep.layers, strict=True):
        moved(layer)
        other.load_state_dict(layer.state_dict())
    torch.testing.assert_close(sparse.collapsed_bound(x, y), exact(), atol=1e-4, rtol=0)
    sparse.collapse(x, y)
    torch.testing.assert_close(12 * sparse.elbo(x, y, 12), exact(), atol=1e-4, rtol=0)
    tests, _ = data(5, seed=1)
    mean, variance = sparse(tests)
    expected_mean, expected_variance = exact.predict(tests)
    torch.testing.assert_close(mean, expected_mean, atol=1e-4, rtol=0)
    torch.testing.assert_close(variance + 0.3, expected_variance, atol=1e-4, rtol=0)


def test_more_inducing_points_bring_the_bound_to_the_exact_evidence() -> None:
    x, y = data(24)
    exact = float(DeepKernelMachine(24, 3, 2, kernels=KERNELS, jitter=1e-8, noise=0.3).initialise(x, y)().detach())
    gaps = []
    for inducing in (4, 12, 24):
        sparse = SparseDeepKernelMachine(3, 2, inducing=inducing, kernels=KERNELS, jitter=1e-8, noise=0.3).initialise(x, y)
        gaps.append(exact - float(sparse.collapsed_bound(x, y).detach()))
    assert gaps[0] > gaps[1] > gaps[2] > -1e-6
    assert gaps[2] < 1e-4


def test_minibatches_average_to_the_objective_of_all_data() -> None:
    x, y = data(12)
    machine = moved(SparseDeepKernelMachine(3, 2, inducing=4, kernels=KERNELS).initialise(x, y))
    parts = [machine.elbo(x[rows], y[rows], 12) for rows in torch.arange(12).split(3)]
    torch.testing.assert_close(torch.stack(parts).mean(), machine.elbo(x, y, 12))


class Bounds(torch.nn.Module):
    """Both bounds as one module without arguments, so that its parameters can be put in from outside."""

    def __init__(self, machine: SparseDeepKernelMachine, x: Tensor, y: Tensor) -> None:
        super().__init__()
        self.machine, self.x, self.y = machine, x, y

    def forward(self) -> Tensor:
        return torch.stack([self.machine.elbo(self.x, self.y, 9), self.machine.collapsed_bound(self.x, self.y)])


@pytest.mark.parametrize("form", sorted(FORMS))
def test_gradients_are_those_of_finite_differences(form: str) -> None:
    x, y = data(5)
    kernels = ["relu", "sqexp"]
    bounds = Bounds(moved(SparseDeepKernelMachine(3, 2, inducing=3, kernels=kernels, form=form, normalise=True).initialise(x, y)), x, y)
    names = [name for name, _ in bounds.named_parameters()]

    def call(*values: Tensor) -> Tensor:
        return torch.func.functional_call(bounds, dict(zip(names, values, strict=True)), ())

    assert torch.autograd.gradcheck(call, tuple(bounds.parameters()))


def test_the_categorical_bound_has_a_gradient_for_every_parameter() -> None:
    x, _ = data(10)
    y = torch.arange(10) % 3
    machine = SparseDeepKernelMachine(
        3, 3, inducing=4, kernels=KERNELS, likelihood="categorical", columns=3, divergence="taylor", relevance=True, tempered=True
    )
    moved(machine.initialise(x, y)).elbo(x, y, 10).backward()
    for name, parameter in machine.named_parameters():
        assert parameter.grad is not None and float(parameter.grad.abs().sum()) > 0, name


def test_predictions_from_kept_factors_are_those_made_afresh() -> None:
    x, y = data()
    machine = moved(SparseDeepKernelMachine(3, 2, inducing=4, kernels=KERNELS).initialise(x, y)).eval()
    prepared = machine.prepared()
    with torch.no_grad():
        for one, other in zip(prepared(x), machine(x), strict=True):
            torch.testing.assert_close(one, other)
    mean, covariance = prepared(x, full=True)
    torch.testing.assert_close(covariance.diagonal(), prepared(x)[1])
    torch.testing.assert_close(mean, prepared(x)[0])


def test_a_saved_machine_gives_the_same_values(tmp_path) -> None:
    x, y = data()
    machine = moved(SparseDeepKernelMachine(3, 2, inducing=4, kernels=[{"kernel": "relu", "bias_var": 0.1}, "sqexp"]).initialise(x, y))
    save_model(machine, tmp_path / "model")
    torch.testing.assert_close(load_model(tmp_path / "model")(x)[0], machine(x)[0], atol=0, rtol=0)


def test_a_checkpoint_of_the_follow_ups_library_is_read() -> None:
    sizes = {"1.log_bias_var": (), "1.log_weight_var": (), "2.V": (4, 4), "2.latent_Gscale": (), "4.mu": (4, 2), "4.L": (4, 4)}
    state = {key: torch.randn(size, dtype=torch.float64) for key, size in sizes.items()}
    machine = load_official("deep-kernel-machine", state, kernels=["relu", "sqexp"], N_features=3, dof=2.0)
    assert isinstance(machine, SparseDeepKernelMachine)
    x = torch.randn(4, 3, dtype=torch.float64)
    gram = machine.deep(machine.inputs(x)).grams[0].ii
    torch.testing.assert_close(gram, state["2.V"] @ state["2.V"].T / 4 * state["2.latent_Gscale"].exp())
    with pytest.raises(InputError, match=r"unexpected: 9\.mu"):
        load_official("deep-kernel-machine", {**state, "9.mu": torch.zeros(2)}, kernels=["relu", "sqexp"], N_features=3)
    with pytest.raises(InputError, match="unknown kernel 'conv'"):
        load_official("deep-kernel-machine", state, kernels=["conv", "sqexp"], N_features=3)


def test_bad_machines_and_data_are_refused() -> None:
    x, y = data()
    with pytest.raises(InputError, match="20 inducing points cannot be put on 12 rows"):
        SparseDeepKernelMachine(3, 2, inducing=20).initialise(x, y)
    with pytest.raises(InputError, match="NaN"):
        SparseDeepKernelMachine(3, 2, inducing=4).initialise(x * torch.nan, y)
    with pytest.raises(InputError, match="unknown likelihood"):
        SparseDeepKernelMachine(3, 2, likelihood="poisson")
    categorical = SparseDeepKernelMachine(3, 2, inducing=4, likelihood="categorical")
    with pytest.raises(InputError, match=r"lie in 0 \.\. 1, not in 0 \.\. 2"):
        categorical.initialise(x, torch.arange(12) % 3)
    with pytest.raises(InputError, match="maximise the elbo"):
        categorical.initialise(x, torch.arange(12) % 2).collapsed_bound(x, y)
    with pytest.raises(InputError, match="n_data"):
        SparseDeepKernelMachine(3, 2, inducing=4).elbo(x, y, 0)
