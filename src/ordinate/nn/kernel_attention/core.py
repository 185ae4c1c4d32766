"""Kernel attention with a Toeplitz bias, by whichever method suits; see the package for the maths."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from ordinate.ground.errors import InputError, choose
from ordinate.nn.kernel_attention.direct import attend_rows, bias_rows, chunked
from ordinate.nn.kernel_attention.fourier import fourier
from ordinate.nn.precision import without_autocast
from ordinate.nn.toeplitz import offsets_ahead

__all__ = ["METHODS", "attend", "choose_method", "kernel_attention"]

METHODS = ("auto", "naive", "chunked", "fft")

# Costs in units of a multiply-add of a matrix product: a point of one channel's FFT there and back, and what an entry of the matrix takes beside its two products.
# Measured on one core of a CPU; on other devices they are what memory bandwidth lets one expect, and are to be measured.
_FFT_POINT = {"cpu": 130.0, "other": 600.0}
_ENTRY = {"cpu": 50.0, "other": 200.0}
_CHUNK_ELEMENTS = {"cpu": 1 << 18, "other": 1 << 26}  # of the matrix at a time
_NAIVE_ELEMENTS = 1 << 19  # up to which it is formed whole
_LEAST_FFT = 256  # positions, below which an FFT is all overhead


def choose_method(
    batch: int, heads: int, rows: int, columns: int, features: int, width: int, *, causal: bool = False, device: str = "cpu"
) -> str:
    """The method that `auto` takes: ``"fft"`` where its channels cost less than the matrix, else ``"naive"`` for a small matrix and ``"chunked"`` for a large one.

    Args:
        batch: B.
        heads: H.
        rows: R.
        columns: C.
        features: m.
        width: of a value, d.
        causal: chunks then form half of the matrix.
        device: the type of device.
    """
    kind = "cpu" if device == "cpu" else "other"
    fft = _FFT_POINT[kind] * features * (width + 1) * (rows + columns)
    matrix = rows * columns * (features + width + _ENTRY[kind]) / (2 if causal else 1)
    if fft < matrix and max(rows, columns) >= _LEAST_FFT:
        return "fft"
    return "naive" if batch * heads * rows * columns <= _NAIVE_ELEMENTS else "chunked"


def kernel_attention(
    phi_q: Float[Tensor, "batch heads rows features"],
    phi_k: Float[Tensor, "batch heads columns features"],
    v: Float[Tensor, "batch heads columns width"],
    diagonals: Float[Tensor, "heads ..."],
    *,
    key_scale: Float[Tensor, "batch heads columns"] | None = None,
    counts: Bool[Tensor, "batch rows"] | None = None,
    grid: Sequence[int] | None = None,
    causal: bool = False,
    method: str = "auto",
    chunk: int | None = None,
) -> Float[Tensor, "batch heads rows width"]:
    r""":math:`y_i = \sum_j e^{b_{j-i} + s_j}\, \phi(q_i) \cdot \phi(k_j)\, v_j` over the same sum without v. Differentiable in everything but `key_scale`.

    Args:
        phi_q: features of the queries, (B, H, R, m), float32 or float64.
        phi_k: features of the keys, (B, H, C, m).
        v: values, (B, H, C, d).
        diagonals: the bias b by offset, (H, R + C - 1) in the order of `ordinate.nn.toeplitz`, or (H, 2 h - 1, 2 w - 1) for a grid; finite, or -inf for an offset that is not seen.
        key_scale: s, (B, H, C): the logarithm of a factor on every key; -inf hides it (padding). No gradient flows into it.
        counts: (B, R), True where a row's output will be used; the FFT takes no pains over the others.
        grid: (h, w) where the positions of rows and columns are those of an image in row order, R = C = h w.
        causal: offsets above the diagonal (in row order) are not seen, whatever their bias. R = C.
        method: ``"naive"``, ``"chunked"``, ``"fft"``, or ``"auto"`` by :func:`choose_method`.
        chunk: rows at a time of ``"chunked"``; by default as many as fit a cache.

    Returns:
        (B, H, R, d); zero for a row that sees nothing. What is not a number stays so.

    Raises:
        InputError: shapes that do not fit, another dtype, or an unknown method.
    """
    return attend(phi_q, phi_k, v, diagonals, key_scale=key_scale, counts=counts, grid=grid, causal=causal, method=method, chunk=chunk)[0]


def attend(
    phi_q: Float[Tensor, "batch heads rows features"],
    phi_k: Float[Tensor, "batch heads columns features"],
    v: Float[Tensor, "batch heads columns width"],
    diagonals: Float[Tensor, "heads ..."],
    *,
    key_scale: Float[Tensor, "batch heads columns"] | None = None,
    counts: Bool[Tensor, "batch rows"] | None = None,
    grid: Sequence[int] | None = None,
    causal: bool = False,
    method: str = "auto",
    chunk: int | None = None,
) -> tuple[Float[Tensor, "batch heads rows width"], Float[Tensor, "batch heads rows"]]:
    """:func:`kernel_attention`, and the logarithm of every row's denominator (B, H, R), by which outputs over disjoint sets of keys are merged; -inf for a row that sees nothing."""
    choose("method", method, METHODS)
    rows, columns = ((phi_q.shape[2],), (phi_k.shape[2],)) if grid is None else (tuple(grid), tuple(grid))
    _check(phi_q, phi_k, v, diagonals, rows, columns, causal, chunk)
    if 0 in phi_q.shape[:3]:
        return v.new_zeros(*phi_q.shape[:3], v.shape[-1]), v.new_zeros(phi_q.shape[:3])
    if causal:
        diagonals = diagonals.masked_fill(offsets_ahead(rows, columns, diagonals.device), -torch.inf)
    if key_scale is not None:
        key_scale = key_scale.detach().to(v.dtype)
    if method == "auto":
        batch, heads, count, features = phi_q.shape
        method = choose_method(batch, heads, count, phi_k.shape[2], features, v.shape[-1], causal=causal, device=v.device.type)
    if method == "naive":
        with without_autocast(v):
            return attend_rows(phi_q, phi_k, v, bias_rows(diagonals, rows, columns, 0, phi_q.shape[2]), key_scale)
    phi_q, phi_k, v, diagonals = phi_q.contiguous(), phi_k.contiguous(), v.contiguous(), diagonals.contiguous()
    if method == "chunked":
        if chunk is None:
            elements = _CHUNK_ELEMENTS["cpu" if v.device.type == "cpu" else "other"]
            chunk = max(16, elements // (v.shape[0] * v.shape[1] * phi_k.shape[2]))
        return chunked(phi_q, phi_k, v, diagonals, key_scale, list(rows), list(columns), causal, chunk)
    out, log_mass, _, _ = fourier(phi_q, phi_k, v, diagonals, key_scale, counts, list(rows), list(columns), causal)
    return out, log_mass


def _check(
    phi_q: Tensor,
    phi_k: Tensor,
    v: Tensor,
    diagonals: Tensor,
    rows: tuple[int, ...],
    columns: tuple[int, ...],
    causal: bool,
    chunk: int | None,
) -> None:
    if {phi_q.dtype, phi_k.dtype, v.dtype, diagonals.dtype} not in ({torch.float32}, {torch.float64}):
        raise InputError(
            f"kernel attention is taken in float32 or float64 throughout, not {phi_q.dtype}, {phi_k.dtype}, {v.dtype}, {diagonals.dtype}: convert first"
        )
    if phi_q.shape[-1] != phi_k.shape[-1]:
        raise InputError(f"queries have {phi_q.shape[-1]} features and keys {phi_k.shape[-1]}: they must come from the same map")
    if math.prod(rows) != phi_q.shape[2] or math.prod(columns) != phi_k.shape[2]:
        raise InputError(
            f"the grid {rows} has {math.prod(rows)} positions, and there are {phi_q.shape[2]} queries and {phi_k.shape[2]} keys"
        )
    offsets = tuple(max(0, r + c - 1) for r, c in zip(rows, columns, strict=True))
    if tuple(diagonals.shape) != (phi_q.shape[1], *offsets):
        raise InputError(
            f"the bias of {phi_q.shape[1]} heads over {rows} by {columns} has shape {(phi_q.shape[1], *offsets)}, not {tuple(diagonals.shape)}"
        )
    if causal and rows != columns:
        raise InputError(f"causal attention has as many queries as keys, not {rows} and {columns}")
    if chunk is not None and chunk < 1:
        raise InputError(f"chunk must be at least 1 row, not {chunk}")
