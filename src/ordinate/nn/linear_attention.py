r"""Linear attention: kernel attention without a bias, as sums that are carried along.

.. math:: y_i = \frac{\phi(q_i)^\top S_i}{\phi(q_i)^\top z_i}, \qquad S_i = \sum_{j \le i} \phi(k_j) v_j^\top, \quad z_i = \sum_{j \le i} \phi(k_j)

(over all j where it is not causal). The causal form takes a chunk of positions at a time: within the chunk by its small matrix, and what came before through the state (S, z), so that a sequence costs O(L).

Features may lack a factor, :math:`\phi(k_j) e^{s_j}`: the state then carries the largest s so far as its own scale, and is rescaled when a larger one comes, as in an online softmax.

A *floor* is added to the features of every key, relative to the largest so far (in the causal form) or of all: the Performer's guard against denominators that vanish.

Source: Katharopoulos et al., Transformers are RNNs (ICML 2020), section 3; the chunks are those of Hua et al. (2022).
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.nn.precision import vanished, without_autocast

__all__ = ["LinearState", "linear_attention", "linear_prefill", "linear_step"]


class LinearState(NamedTuple):
    """The sums so far: (B, H, m, d + 1), the last column being z, and the logarithm of the factor that they lack, (B, H)."""

    sums: Tensor
    scale: Tensor


def linear_attention(
    phi_q: Float[Tensor, "batch heads rows features"],
    phi_k: Float[Tensor, "batch heads columns features"],
    v: Float[Tensor, "batch heads columns width"],
    *,
    key_scale: Float[Tensor, "batch heads columns"] | None = None,
    causal: bool = False,
    floor: float = 0.0,
    chunk: int = 128,
) -> Float[Tensor, "batch heads rows width"]:
    """Kernel attention without a bias, in O(L).

    Args:
        phi_q: features of the queries, (B, H, R, m).
        phi_k: features of the keys, (B, H, C, m).
        v: values, (B, H, C, d).
        key_scale: (B, H, C), the logarithm of a factor on every key; -inf hides it. No gradient flows into it.
        causal: row i sees columns j <= i; R = C.
        floor: added to the features of every key, in units of e to the largest factor (so far).
        chunk: positions at a time.

    Returns:
        (B, H, R, d); zero for a row that sees nothing.

    Raises:
        InputError: shapes that do not fit.
    """
    if causal:
        return linear_prefill(phi_q, phi_k, v, key_scale=key_scale, floor=floor, chunk=chunk)[0]
    if phi_q.shape[-1] != phi_k.shape[-1]:
        raise InputError(f"queries have {phi_q.shape[-1]} features and keys {phi_k.shape[-1]}: they must come from the same map")
    with without_autocast(v):
        if key_scale is not None and key_scale.shape[-1]:
            phi_k = _lift(phi_k, key_scale.detach(), key_scale.detach().amax(-1, keepdim=True), floor)
        elif floor:
            phi_k = phi_k + floor
        return _quotient(phi_q @ (phi_k.mT @ _with_one(v)))


def linear_prefill(
    phi_q: Float[Tensor, "batch heads length features"],
    phi_k: Float[Tensor, "batch heads length features"],
    v: Float[Tensor, "batch heads length width"],
    *,
    key_scale: Float[Tensor, "batch heads length"] | None = None,
    floor: float = 0.0,
    chunk: int = 128,
) -> tuple[Float[Tensor, "batch heads length width"], LinearState]:
    """The causal form, and the state after the last position.

    Raises:
        InputError: shapes that do not fit.
    """
    if phi_q.shape != phi_k.shape or v.shape[:3] != phi_k.shape[:3]:
        raise InputError(
            f"causal attention has a query, a key and a value at each position, not {tuple(phi_q.shape)}, {tuple(phi_k.shape)}, {tuple(v.shape)}"
        )
    if chunk < 1:
        raise InputError(f"chunk must be at least 1 position, not {chunk}")
    batch, heads, length, features = phi_k.shape
    state = LinearState(v.new_zeros(batch, heads, features, v.shape[-1] + 1), v.new_full((batch, heads), -torch.inf))
    if key_scale is None:
        key_scale = v.new_zeros(batch, heads, length)
    outputs = []
    with without_autocast(v):
        values = _with_one(v)
        if floor and length:
            largest = key_scale.detach().cummax(-1).values
            phi_k, key_scale = _lift(phi_k, key_scale.detach(), largest, floor), largest
        for start in range(0, length, chunk):
            part = slice(start, start + chunk)
            keys, scale = phi_k[:, :, part], key_scale[:, :, part].detach()
            state, keys = _rescale(state, keys, scale)
            inner = (phi_q[:, :, part] @ keys.mT).tril()
            outputs.append(_quotient(inner @ values[:, :, part] + phi_q[:, :, part] @ state.sums))
            state = LinearState(state.sums + keys.mT @ values[:, :, part], state.scale)
    return torch.cat(outputs, dim=2) if outputs else torch.zeros_like(v), state


def linear_step(
    phi_q: Float[Tensor, "batch heads features"],
    phi_k: Float[Tensor, "batch heads features"],
    v: Float[Tensor, "batch heads width"],
    state: LinearState,
    *,
    key_scale: Float[Tensor, "batch heads"] | None = None,
    floor: float = 0.0,
) -> tuple[Float[Tensor, "batch heads width"], LinearState]:
    """One more position, in O(1)."""
    scale = v.new_zeros(v.shape[:2]) if key_scale is None else key_scale.detach()
    with without_autocast(v):
        if floor:
            largest = torch.maximum(state.scale, scale)
            phi_k, scale = _lift(phi_k[:, :, None], scale[..., None], largest[..., None], floor)[:, :, 0], largest
        state, keys = _rescale(state, phi_k[:, :, None], scale[..., None])
        state = LinearState(state.sums + keys.mT @ _with_one(v)[:, :, None], state.scale)
        return _quotient(phi_q[:, :, None] @ state.sums).squeeze(2), state


def _rescale(state: LinearState, keys: Tensor, scale: Tensor) -> tuple[LinearState, Tensor]:
    """Bring the state and some new keys (B, H, n, m) to the larger of their scales."""
    top = torch.maximum(state.scale, scale.amax(-1))
    base = _finite(top)
    factor = (state.scale - base).exp()[..., None, None]
    return LinearState(state.sums * factor, top), keys * (scale - base[..., None]).exp()[..., None]


def _lift(phi: Tensor, scale: Tensor, largest: Tensor, floor: float) -> Tensor:
    """Features in units of e^largest, with a floor where the key is not hidden."""
    lifted = phi * (scale - _finite(largest)).exp()[..., None]
    return lifted + floor * (scale != -torch.inf)[..., None] if floor else lifted


def _finite(scale: Tensor) -> Tensor:
    return scale.masked_fill(scale == -torch.inf, 0)


def _with_one(v: Tensor) -> Tensor:
    return torch.cat([v, v.new_ones(*v.shape[:-1], 1)], dim=-1)


def _quotient(sums: Tensor) -> Tensor:
    mass = sums[..., -1:]
    return sums[..., :-1] / mass.masked_fill(vanished(mass), torch.inf)
