r"""Multiply-adds of a forward pass, counted by running it.

Matrix products, convolutions and attention are counted as `torch.utils.flop_counter` counts them, two operations to a multiply-add. Three things that it passes over are added, since gated and
frequency-domain networks stand on them: the product of two feature maps of one shape is one a number; a complex product is four a number; and a real Fourier transform of N points is
:math:`\tfrac54 N \log_2 N` (the 5 N log2 N operations of a complex transform, halved for real data, two to a multiply-add). Scaling by a number or by a vector over the channels, norms and activations
are not counted.

The count is exact and the same on any device: on the meta device nothing is computed.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["count_multiply_adds", "count_parameters", "on_meta"]

Formula = Callable[..., int]


def _of_tensors(formula: Formula) -> Formula:
    formula._get_raw = True  # type: ignore[attr-defined]  # the counter's own mark of a formula that takes tensors in place of their shapes
    return formula


@_of_tensors
def _product(a: Any, b: Any, *, out_val: Tensor, **_: Any) -> int:
    if out_val.is_complex():
        return 8 * out_val.numel()
    return 2 * out_val.numel() if isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape else 0


@_of_tensors
def _transform(x: Tensor, dim: list[int], *_: Any, out_val: Tensor, **__: Any) -> int:
    # a real transform has a real side, which is the whole map; its complex side holds half of it
    real = next((side for side in (x, out_val) if not side.is_complex()), None)
    whole = x if real is None else real
    points = math.prod(whole.shape[axis] for axis in dim)
    return round((5 if real is None else 2.5) * whole.numel() * math.log2(points))


_MORE = {
    torch.ops.aten.mul: _product,
    torch.ops.aten._fft_r2c: _transform,
    torch.ops.aten._fft_c2r: _transform,
    torch.ops.aten._fft_c2c: _transform,
}


@torch.no_grad()
def count_multiply_adds(module: Callable[..., Any], *inputs: Any) -> int:
    """Multiply-adds of `module(*inputs)`, with a module's own mode (training or not) as it is.

    Args:
        module: what is run.
        inputs: its arguments; tensors on the module's device.
    """
    with FlopCounterMode(display=False, custom_mapping=_MORE) as counter:
        module(*inputs)
    return counter.get_total_flops() // 2


def count_parameters(module: nn.Module) -> int:
    """The number of trainable numbers in `module`."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


def on_meta(make: Callable[[], nn.Module]) -> nn.Module:
    """Build a module on the meta device, in eval mode: shapes without numbers, for counting."""
    with torch.device("meta"):
        return make().eval()
