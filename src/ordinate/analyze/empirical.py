r"""Kernels of any network, measured: the tangent kernel and its differential by automatic differentiation, and the moments of an ensemble's outputs.

:math:`H_{ij}(x_a, x_b) = \sum_\mu \lambda_\mu\, \partial_\mu z_i(x_a)\, \partial_\mu z_j(x_b)` with :math:`\lambda_W / n_{\mathrm{in}}` for the weights of linear and convolutional layers and :math:`\lambda_b` for everything else that is trained.

A weight's derivative in a linear layer is an outer product of what comes in, s, and the derivative by what goes out, δ; so a network whose parameters all lie in linear layers has

.. math:: H_{ij}(a, b) = \sum_\ell \Big(\lambda_b + \frac{\lambda_W}{n_{\mathrm{in}}}\, s^\ell_a \cdot s^\ell_b\Big)\, \delta^\ell_{ai} \cdot \delta^\ell_{bj},

which takes one backward pass an output and memory for activations only. Other networks get their whole Jacobian.

Source: Roberts, Yaida, Hanin, The Principles of Deep Learning Theory (2022), sections 7.1 and 11.1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call, jacrev, jvp

from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive
from ordinate.nn.variance_init import fan_in, weight_layers
from ordinate.train.ensemble import Ensemble

__all__ = ["EnsembleKernels", "empirical_dntk", "empirical_ntk", "layer_outputs", "measure"]


def _check_batch(x: Tensor) -> None:
    if x.ndim < 2 or not len(x) or not bool(torch.isfinite(x).all()):
        raise InputError(f"inputs are a batch of finite numbers (inputs, ...), not {tuple(x.shape)}")


def _lambdas(model: nn.Module, lambda_b: float, lambda_W: float) -> dict[str, float]:
    """The learning rate of each trained parameter, by name."""
    weights = {id(layer.weight): lambda_W / fan_in(layer) for _, layer in weight_layers(model)}
    return {name: weights.get(id(parameter), lambda_b) for name, parameter in model.named_parameters() if parameter.requires_grad}


def layer_outputs(model: nn.Module, x: Float[Tensor, "batch *features"]) -> list[Tensor]:
    """What every linear and convolutional layer gives out on x, in the order in which they run: the preactivations of a network. One tensor a call.

    Raises:
        InputError: no such layer ran.
    """
    _check_batch(x)
    found: list[Tensor] = []
    hooks = [layer.register_forward_hook(lambda module, inputs, output: found.append(output)) for _, layer in weight_layers(model)]
    try:
        with torch.no_grad():
            model(x)
    finally:
        for hook in hooks:
            hook.remove()
    if not found:
        raise InputError("no linear or convolutional layer ran")
    return found


def empirical_ntk(
    model: nn.Module, x: Float[Tensor, "batch *features"], *, lambda_b: float = 1.0, lambda_W: float = 1.0, method: str = "auto"
) -> Float[Tensor, "batch batch outputs outputs"]:
    """H[a, b, i, j], in the model's dtype. The model is taken in evaluation mode, and its inputs must not see each other.

    Args:
        model: x (B, ...) -> outputs (B, O).
        x: inputs.
        lambda_b, lambda_W: learning rates of biases, and of weights times the number of their inputs.
        method: ``"linear"``, by activations and backward passes, for models whose trained parameters all lie in linear layers that run once on (B, features); ``"jacobian"`` for any; ``"auto"``.

    Raises:
        InputError: outputs of another shape, or a model that ``"linear"`` does not suit.
    """
    choose("method", method, ("auto", "jacobian", "linear"))
    _check_batch(x)
    training = model.training
    model.eval()
    try:
        if method != "jacobian":
            found = _by_activations(model, x, lambda_b, lambda_W)
            if found is not None:
                return found
            if method == "linear":
                raise InputError(
                    "this model has trained parameters outside linear layers, or uses one twice, or on more than (batch, features): use jacobian"
                )
        rows = _scaled_jacobian(model, x, lambda_b, lambda_W)
        count, outputs = len(x), len(rows) // len(x)
        return (rows @ rows.mT).reshape(count, outputs, count, outputs).permute(0, 2, 1, 3)
    finally:
        model.train(training)


def _outputs(model: nn.Module, x: Tensor) -> Tensor:
    out = model(x)
    if not isinstance(out, Tensor) or out.ndim != 2 or len(out) != len(x):
        raise InputError(f"the model must give (batch, outputs), not {tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__}")
    return out


def _by_activations(model: nn.Module, x: Tensor, lambda_b: float, lambda_W: float) -> Tensor | None:
    layers = weight_layers(model)
    inside = {id(parameter) for _, layer in layers if isinstance(layer, nn.Linear) for parameter in layer.parameters()}
    if any(parameter.requires_grad and id(parameter) not in inside for parameter in model.parameters()):
        return None
    calls: list[tuple[nn.Linear, Tensor, Tensor]] = []
    hooks = [layer.register_forward_hook(lambda module, inputs, output: calls.append((module, inputs[0], output))) for _, layer in layers]
    try:
        with torch.enable_grad():
            out = _outputs(model, x.detach().requires_grad_())
    finally:
        for hook in hooks:
            hook.remove()
    if len({id(module) for module, _, _ in calls}) != len(calls) or any(entering.ndim != 2 for _, entering, _ in calls):
        return None
    leaving = [output for _, _, output in calls]
    backward = [torch.autograd.grad(out[:, i].sum(), leaving, retain_graph=True, materialize_grads=True) for i in range(out.shape[1])]
    total = out.new_zeros(len(x), len(x), out.shape[1], out.shape[1])
    for number, (module, entering, _) in enumerate(calls):
        delta = torch.stack([parts[number] for parts in backward], dim=1)  # (B, O, n)
        level = out.new_zeros(len(x), len(x))
        if module.weight.requires_grad:
            level = level + lambda_W / fan_in(module) * (entering @ entering.mT)
        if module.bias is not None and module.bias.requires_grad:
            level = level + lambda_b
        total += level[:, :, None, None] * torch.einsum("ain,bjn->abij", delta, delta)
    return total.detach()


def _function(model: nn.Module, x: Tensor) -> tuple[Callable[[dict[str, Tensor]], Tensor], dict[str, Tensor]]:
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not parameters:
        raise InputError("the model has nothing that is trained: its tangent kernel is empty")
    _outputs(model, x)
    return lambda values: functional_call(model, values, (x,)), parameters


def _scaled_jacobian(model: nn.Module, x: Tensor, lambda_b: float, lambda_W: float) -> Float[Tensor, "rows parameters"]:
    """Every output's derivatives times the roots of their learning rates, (B O, P)."""
    function, parameters = _function(model, x)
    rates = _lambdas(model, lambda_b, lambda_W)
    jacobian = jacrev(function)(parameters)
    return torch.cat([part.flatten(2).flatten(0, 1) * rates[name] ** 0.5 for name, part in jacobian.items()], dim=1).detach()


def empirical_dntk(
    model: nn.Module, x: Float[Tensor, "batch *features"], *, lambda_b: float = 1.0, lambda_W: float = 1.0
) -> Float[Tensor, "batch batch batch outputs outputs outputs"]:
    """dH[a, b, c, i0, i1, i2], symmetric under (b, i1) <-> (c, i2), for small networks: the derivative of the whole Jacobian along each of its own rows.

    Args, errors: as in `empirical_ntk`, by Jacobians. A kink's mass in σ'' is not seen, as autograd does not see it.
    """
    _check_batch(x)
    training = model.training
    model.eval()
    try:
        function, parameters = _function(model, x)
        rates = _lambdas(model, lambda_b, lambda_W)
        jacobian = jacrev(function)(parameters)
        count, outputs = next(iter(jacobian.values())).shape[:2]
        scaled = {name: part * rates[name] for name, part in jacobian.items()}
        found = torch.empty(count, outputs, count, outputs, count, outputs, dtype=x.dtype, device=x.device)
        for c in range(count):
            for i2 in range(outputs):
                along = {name: part[c, i2] for name, part in scaled.items()}
                moved = jvp(jacrev(function), (parameters,), (along,))[1]
                found[..., c, i2] = sum(
                    torch.einsum("aip,bjp->aibj", part.flatten(2), scaled[name].flatten(2)) for name, part in moved.items()
                )
        return found.permute(0, 2, 4, 1, 3, 5).detach()
    finally:
        model.train(training)


@dataclass(frozen=True)
class EnsembleKernels:
    """What the outputs of an ensemble of E networks say, on B inputs; float64. Each comes with its standard error over the networks.

    Attributes:
        K: the mean over networks and outputs of z_a z_b, (B, B).
        four_point: cov(z_i² , z_j²) over pairs of outputs i != j, for each input, (B,): V / n; empty for a single output.
        Theta: the mean over networks and outputs of H_ii, (B, B); empty where it was not asked for.
    """

    K: Float[Tensor, "batch batch"]
    K_error: Float[Tensor, "batch batch"]
    four_point: Float[Tensor, " measured"]
    four_point_error: Float[Tensor, " measured"]
    Theta: Float[Tensor, "rows rows"]
    Theta_error: Float[Tensor, "rows rows"]


def measure(
    make: Callable[[], nn.Module],
    x: Float[Tensor, "batch *features"],
    nets: int = 256,
    *,
    seed: int = 0,
    tangent: bool = False,
    lambda_b: float = 1.0,
    lambda_W: float = 1.0,
    at_once: int = 64,
) -> EnsembleKernels:
    """Make an ensemble of networks and measure its kernels.

    Args:
        make: makes a network with random weights, x (B, ...) -> outputs (B, O); called with torch's generator seeded for each.
        x: inputs.
        nets: E, at least 2.
        seed: of the ensemble.
        tangent: whether to measure the tangent kernel too, a network at a time.
        lambda_b, lambda_W: as in `empirical_ntk`.
        at_once: networks that are held in memory and run together.

    Raises:
        InputError: fewer than two networks, or outputs of another shape.
    """
    _check_batch(x)
    if nets < 2 or at_once < 1:
        raise InputError(f"an ensemble has at least two networks, and some at once, not nets={nets}, at_once={at_once}")
    kernels, fours, tangents = [], [], []
    for start in range(0, nets, at_once):
        ensemble = Ensemble.make(make, [derive(seed, "net", number) for number in range(start, min(start + at_once, nets))]).eval()
        with torch.no_grad():
            z = ensemble.apply_to_each(_outputs, x).double()
        kernels.append(torch.einsum("eai,ebi->eab", z, z) / z.shape[2])
        if z.shape[2] > 1:
            fours.append(_pair_moments(z))
        if tangent:
            for number in range(ensemble.count):
                H = empirical_ntk(ensemble.member(number), x, lambda_b=lambda_b, lambda_W=lambda_W)
                tangents.append(H.diagonal(dim1=2, dim2=3).mean(dim=-1).double()[None])
    K, K_error = _mean_and_error(kernels)
    four_point = four_point_error = torch.empty(0, dtype=torch.float64)
    if fours:
        moment, four_point_error = _mean_and_error(fours)
        four_point = moment - K.diagonal().square()
    Theta, Theta_error = _mean_and_error(tangents) if tangents else (torch.empty(0, 0, dtype=torch.float64),) * 2
    return EnsembleKernels(K, K_error, four_point, four_point_error, Theta, Theta_error)


def _pair_moments(z: Tensor) -> Tensor:
    square = z.square()
    n = z.shape[2]
    return (square.sum(-1).square() - square.square().sum(-1)) / (n * (n - 1))


def _mean_and_error(parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    whole = torch.cat(list(parts))
    return whole.mean(dim=0), whole.std(dim=0) / len(whole) ** 0.5
