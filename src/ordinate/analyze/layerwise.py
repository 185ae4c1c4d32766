r"""Kernels of real perceptrons, layer by layer, for many networks at once.

The tangent kernel :math:`H_{ij}(a, b) = \sum_\mu \lambda_\mu\, \partial_\mu z_i(x_a)\, \partial_\mu z_j(x_b)` of a perceptron, and its differential
:math:`dH_{i_0 i_1 i_2}(a, b, c) = \sum_{\mu\nu} \lambda_\mu \lambda_\nu\, \partial_\mu \partial_\nu z_{i_0}(x_a)\, \partial_\mu z_{i_1}(x_b)\, \partial_\nu z_{i_2}(x_c)`, obey recursions in the network's own weights: with
:math:`w_a = W \operatorname{diag}(\sigma'_a)` and :math:`U_{ab} = H_{ab} w_b^\top`,

.. math:: H'_{ab} &= (\lambda_b + \tfrac{\lambda_W}{n}\, \sigma_a \cdot \sigma_b)\, \mathbb 1 + w_a U_{ab}, \\
   dH'_{abc} &= \tfrac{\lambda_W}{n} [\delta_{i_0 i_1} (\sigma_b \sigma'_a)^\top U_{ac} + \delta_{i_0 i_2} (\sigma_c \sigma'_a)^\top U_{ab}]
   + \sum_k W_{i_0 k}\, \sigma''_{a,k}\, U_{ab, k i_1} U_{ac, k i_2} + (w_a \otimes w_b \otimes w_c)\, dH_{abc}.

No gradient is taken, and weights are drawn, used and dropped a layer at a time.

Source: Roberts, Yaida, Hanin, The Principles of Deep Learning Theory (2022), sections 8.0 and 11.2.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.analyze.kernels import check_variances
from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation

__all__ = ["LayerState", "Moments", "draw_layers", "first_layer", "measure_moments", "next_layer"]


@dataclass(frozen=True)
class LayerState:
    """One layer of E networks on D inputs.

    Attributes:
        z: preactivations, (E, D, n).
        ntk: H, (E, D, D, n, n), or None.
        dntk: dH, (E, D, D, D, n, n, n), or None.
    """

    z: Float[Tensor, "nets inputs width"]
    ntk: Float[Tensor, "nets inputs inputs width width"] | None = None
    dntk: Float[Tensor, "nets inputs inputs inputs width width width"] | None = None


def first_layer(
    x: Float[Tensor, "inputs features"],
    weight: Float[Tensor, "nets width features"],
    bias: Float[Tensor, "nets width"],
    *,
    lambda_b: float = 1.0,
    lambda_W: float = 1.0,
    order: int = 2,
) -> LayerState:
    """z^1 with H^1 (from order 1) and dH^1 = 0 (from order 2)."""
    z = x @ weight.mT + bias[:, None]
    nets, inputs, width = z.shape
    ntk = dntk = None
    if order >= 1:
        level = lambda_b + lambda_W * (x @ x.mT) / x.shape[1]
        ntk = (level[:, :, None, None] * torch.eye(width, dtype=z.dtype, device=z.device)).expand(nets, -1, -1, -1, -1)
    if order >= 2:
        dntk = z.new_zeros(nets, inputs, inputs, inputs, width, width, width)
    return LayerState(z, ntk, dntk)


def next_layer(
    act: Activation,
    state: LayerState,
    weight: Float[Tensor, "nets width before"],
    bias: Float[Tensor, "nets width"],
    *,
    lambda_b: float = 1.0,
    lambda_W: float = 1.0,
    residual: float = 0.0,
) -> LayerState:
    """The layer after `state`, through the networks' own weights. Nothing but z is followed with a residual connection.

    Raises:
        InputError: a tangent kernel to be followed through a residual connection.
    """
    value = act(state.z)
    z = value @ weight.mT + bias[:, None]
    if residual:
        if state.ntk is not None:
            raise InputError("tangent kernels are not followed through residual connections")
        return LayerState(z + residual * state.z)
    if state.ntk is None:
        return LayerState(z)
    slope = act.derivative(state.z)
    count, width = value.shape[-1], z.shape[-1]
    eye = torch.eye(width, dtype=z.dtype, device=z.device)
    turned = weight[:, None] * slope[:, :, None, :]  # w_a
    carried = state.ntk @ turned[:, None].mT  # U_ab
    level = lambda_b + lambda_W * (value @ value.mT) / count
    ntk = level[..., None, None] * eye + turned[:, :, None] @ carried
    if state.dntk is None:
        return LayerState(z, ntk)
    bend = weight[:, None] * act.second_derivative(state.z)[:, :, None, :]
    direct = torch.einsum("ebk,eak,eacki->eabci", value, slope, carried) * (lambda_W / count)
    dntk = torch.einsum("eaik,eabkj,eackl->eabcijl", bend, carried, carried)
    dntk = dntk + torch.einsum("eabcl,ij->eabcijl", direct, eye) + torch.einsum("eacbj,il->eabcijl", direct, eye)
    moved = torch.einsum("eaik,eabckmn->eabcimn", turned, state.dntk)
    moved = torch.einsum("ebjm,eabcimn->eabcijn", turned, moved)
    return LayerState(z, ntk, dntk + torch.einsum("ecln,eabcijn->eabcijl", turned, moved))


def draw_layers(
    act: Activation,
    x: Float[Tensor, "inputs features"],
    widths: Sequence[int],
    C_b: float,
    C_W: float,
    nets: int,
    generator: torch.Generator,
    *,
    lambda_b: float = 1.0,
    lambda_W: float = 1.0,
    residual: float = 0.0,
    order: int = 2,
) -> Iterator[LayerState]:
    """E networks drawn at random, a layer at a time.

    Args:
        act: the activation.
        x: inputs (D, n_0); their dtype is the networks'.
        widths: n_1, ..., n_L.
        C_b, C_W: variances, as in :func:`ordinate.analyze.kernels.kernel_map`.
        nets: E.
        generator: on the CPU.
        lambda_b, lambda_W: learning rates of biases, and of weights times the number of their inputs.
        residual: γ around the layers that keep the width; order 0 only.
        order: 0 for z alone, 1 with the tangent kernels, 2 with their differentials.

    Yields:
        The state at the layers 1..L.

    Raises:
        InputError: numbers out of range.
    """
    check_variances(C_b, C_W, residual)
    if nets < 1 or not widths or min(widths) < 1 or order not in (0, 1, 2):
        raise InputError(
            f"there must be a network and a layer, and an order of 0, 1 or 2, not nets={nets}, widths={list(widths)}, order={order}"
        )

    def draw(after: int, before: int) -> tuple[Tensor, Tensor]:
        weight = torch.randn(nets, after, before, generator=generator, dtype=x.dtype) * (C_W / before) ** 0.5
        bias = torch.randn(nets, after, generator=generator, dtype=x.dtype) * C_b**0.5
        return weight.to(x.device), bias.to(x.device)

    state = first_layer(x, *draw(widths[0], x.shape[1]), lambda_b=lambda_b, lambda_W=lambda_W, order=order)
    yield state
    for before, after in pairwise(widths):
        state = next_layer(
            act, state, *draw(after, before), lambda_b=lambda_b, lambda_W=lambda_W, residual=residual if before == after else 0.0
        )
        yield state


@dataclass(frozen=True)
class Moments:
    """What E networks on one input say of the quantities of :class:`ordinate.analyze.flow.RGFlow`, at the layers 1..L; all (L,) float64.

    V, A, B, D, F, P and Q are multiplied by the width of the layer before, as there; K and Theta are plain means. What was not asked for is empty.
    """

    K: Float[Tensor, " layers"]
    V: Float[Tensor, " layers"]
    Theta: Float[Tensor, " measured"]
    A: Float[Tensor, " measured"]
    B: Float[Tensor, " measured"]
    D: Float[Tensor, " measured"]
    F: Float[Tensor, " measured"]
    P: Float[Tensor, " turned"]
    Q: Float[Tensor, " turned"]


def _off_diagonal(first: Tensor, second: Tensor) -> Tensor:
    """The mean over i != j of first_i second_j: (E, n), (E, n) -> (E,)."""
    n = first.shape[-1]
    return (first.sum(-1) * second.sum(-1) - (first * second).sum(-1)) / (n * (n - 1))


def _one_layer(state: LayerState) -> dict[str, Tensor]:
    """Sums over the networks of the moments of one layer, for input 0."""
    z = state.z[:, 0].double()
    square = z.square()
    found = {"zz": square.mean(-1), "zzzz": _off_diagonal(square, square)}
    if state.ntk is not None:
        H = state.ntk[:, 0, 0].double()
        own = H.diagonal(dim1=-2, dim2=-1)
        n = z.shape[-1]
        pairs = n * (n - 1)
        found["H"] = own.mean(-1)
        found["HH"] = _off_diagonal(own, own)
        found["Hzz"] = _off_diagonal(own, square)
        found["cross"] = (H.square().sum((-2, -1)) - own.square().sum(-1)) / pairs
        found["zHz"] = (torch.einsum("ei,eij,ej->e", z, H, z) - (own * square).sum(-1)) / pairs
        if state.dntk is not None:
            dH = state.dntk[:, 0, 0, 0].double()
            every = torch.einsum("eiii,ei->e", dH, z)
            found["P"] = (torch.einsum("eijj,ei->e", dH, z) - every) / pairs
            found["Q"] = (torch.einsum("eiij,ej->e", dH, z) + torch.einsum("eiji,ej->e", dH, z) - 2 * every) / (2 * pairs)
    return {name: value.sum() for name, value in found.items()}


def measure_moments(
    act: Activation,
    x: Float[Tensor, "1 features"],
    widths: Sequence[int],
    C_b: float,
    C_W: float,
    nets: int,
    generator: torch.Generator,
    *,
    lambda_b: float = 1.0,
    lambda_W: float = 1.0,
    residual: float = 0.0,
    order: int = 2,
    at_once: int = 256,
) -> Moments:
    """Draw E networks and measure what the theory predicts to first order in 1/n, averaged over networks, neurons and pairs of neurons.

    Args:
        at_once: networks that are held in memory together; the rest as in `draw_layers`, with a single input x (1, n_0) and widths of 2 or more.

    Raises:
        InputError: numbers out of range, or a width of 1, which has no pairs.
    """
    if len(x) != 1 or not widths or min(widths) < 2:
        raise InputError(
            f"moments are measured on one input, in layers of two neurons or more, not on {len(x)} inputs with widths {list(widths)}"
        )
    sums: list[dict[str, Tensor]] = [{} for _ in widths]
    for start in range(0, nets, at_once):
        states = draw_layers(
            act,
            x,
            widths,
            C_b,
            C_W,
            min(at_once, nets - start),
            generator,
            lambda_b=lambda_b,
            lambda_W=lambda_W,
            residual=residual,
            order=order,
        )
        for total, state in zip(sums, states, strict=True):
            for name, value in _one_layer(state).items():
                total[name] = total.get(name, 0.0) + value
    mean = {name: torch.stack([total[name] for total in sums]).cpu() / nets for name in sums[0]}
    n = torch.tensor([x.shape[1], *widths[:-1]], dtype=torch.float64)
    none = torch.empty(0, dtype=torch.float64)
    K, Theta = mean["zz"], mean.get("H", none)
    return Moments(
        K=K,
        V=n * (mean["zzzz"] - K.square()),
        Theta=Theta,
        A=n * (mean["HH"] - Theta.square()) if order else none,
        B=n * mean["cross"] if order else none,
        D=n * (mean["Hzz"] - Theta * K) if order else none,
        F=n * mean["zHz"] if order else none,
        P=n * mean["P"] if order == 2 else none,
        Q=n * mean["Q"] if order == 2 else none,
    )
