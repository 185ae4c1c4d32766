"""The checkpoints of the official PolyCom repository (github.com/BryceZhuo/PolyCom): the activations of its Megatron models.

There an activation has `weight` (r,), descending (the first multiplies the highest power), and `bias` (1,); a feed-forward layer has them beside its two maps without biases:
`mlp.dense_h_to_4h.weight`, `mlp.activation_func.{weight,bias}`, `mlp.dense_4h_to_h.weight`.

- ``polyrelu``, ``polynorm``: an activation by itself.
- ``polyrelu-mlp``, ``polynorm-mlp``: a feed-forward layer.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.nn.blocks import FeedForward
from ordinate.nn.official import OfficialCheckpoint, State
from ordinate.nn.polynomial_activations import PolyNorm, PolyReLU

__all__ = ["OFFICIAL", "ascending"]


def ascending(weight: Float[Tensor, " order"], bias: Float[Tensor, " one"]) -> Float[Tensor, " coefficients"]:
    """Our coefficients a_0, ..., a_r of their weight (a_r, ..., a_1) and bias (a_0)."""
    return torch.cat([bias, weight.flip(0)])


def _activation(state: State, *, of: type[PolyReLU] | type[PolyNorm]) -> PolyReLU | PolyNorm:
    return of(len(_given(state, "weight")))


def _given(state: State, name: str) -> Tensor:
    if name not in state:
        raise InputError(f"this checkpoint has no {name}: give the part of it that belongs to one activation or one feed-forward layer")
    return state[name]


def _translate_activation(state: State, module: nn.Module) -> dict[str, Tensor]:
    rest = {name: tensor for name, tensor in state.items() if name not in ("weight", "bias")}
    return {"coefficients": ascending(_given(state, "weight"), _given(state, "bias")), **rest}


def _layer(state: State, *, of: type[PolyReLU] | type[PolyNorm]) -> FeedForward:
    inner, dim = _given(state, "dense_h_to_4h.weight").shape
    activation = of(len(_given(state, "activation_func.weight")))
    return FeedForward(dim, ratio=inner / dim, activation=activation, bias=False)


def _translate_layer(state: State, module: nn.Module) -> dict[str, Tensor]:
    known = {"dense_h_to_4h.weight": "expand.weight", "dense_4h_to_h.weight": "contract.weight"}
    found = {known.get(name, name): tensor for name, tensor in state.items() if not name.startswith("activation_func.")}
    own = {name.removeprefix("activation_func."): tensor for name, tensor in state.items() if name.startswith("activation_func.")}
    return found | {f"activation.{name}": tensor for name, tensor in _translate_activation(own, module).items()}


OFFICIAL = {
    **{
        name: OfficialCheckpoint(partial(_activation, of=of), _translate_activation)
        for name, of in (("polyrelu", PolyReLU), ("polynorm", PolyNorm))
    },
    **{
        f"{name}-mlp": OfficialCheckpoint(partial(_layer, of=of), _translate_layer)
        for name, of in (("polyrelu", PolyReLU), ("polynorm", PolyNorm))
    },
}
