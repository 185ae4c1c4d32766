"""Arithmetic that does not survive 16 bits: kept in float32 whatever the layer around it is in."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor

__all__ = ["full_precision", "vanished", "without_autocast"]


def full_precision(x: Tensor) -> Tensor:
    """x in float32 if it is of 16 bits, else as it is."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def without_autocast(x: Tensor) -> AbstractContextManager[None]:
    """Inside, products of float32 are float32 on the device of `x`, even where autocast is on."""
    return torch.autocast(x.device.type, enabled=False)


def vanished(mass: Tensor) -> Tensor:
    """Where a denominator is zero, or so near to it that its inverse could not be multiplied with anything: what is divided by it is taken for zero."""
    return mass.abs() < torch.finfo(mass.dtype).tiny * 2.0**26
