"""What tensors hold, as a short text: equal for equal names, shapes, dtypes and bytes, and different otherwise."""

import hashlib
from collections.abc import Iterable

import torch
from torch import Tensor

__all__ = ["TensorHash", "hash_tensors"]


class TensorHash:
    """A hash that tensors are added to one after another, so that what is hashed need not fit in memory."""

    def __init__(self, *about: str) -> None:
        """
        Args:
            about: what else decides on the hash.
        """
        self._digest = hashlib.blake2b(repr(about).encode(), digest_size=16)

    def add(self, name: str, tensor: Tensor) -> None:
        """Add a tensor of any shape and dtype, on any device, under a name."""
        self._digest.update(repr((name, str(tensor.dtype), tuple(tensor.shape))).encode())
        self._digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)

    def text(self) -> str:
        """32 hexadecimal digits."""
        return self._digest.hexdigest()


def hash_tensors(named: Iterable[tuple[str, Tensor]], *about: str) -> str:
    """The hash of named tensors, in the order given; see :class:`TensorHash`."""
    found = TensorHash(*about)
    for name, tensor in named:
        found.add(name, tensor)
    return found.text()
