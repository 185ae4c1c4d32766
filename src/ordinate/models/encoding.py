"""Reading any module as an encoder: one vector an input, in evaluation mode, batch by batch."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError

__all__ = ["Classifier", "encode", "encode_all", "evaluating"]

_AT_ONCE = 256


@contextmanager
def evaluating(module: nn.Module) -> Iterator[None]:
    """`module` and all its parts in evaluation mode within the block, and each as it was after it."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes:
            part.training = mode


def encode(encoder: nn.Module, x: Tensor) -> Float[Tensor, "batch features"]:
    """The vectors that an encoder makes of inputs: `encoder.embed(x)` where it has that (vision encoders), else `encoder(x)`.

    Args:
        encoder: a module.
        x: (B, ...).

    Returns:
        (B, d).

    Raises:
        InputError: something else than one vector an input comes out.
    """
    features = getattr(encoder, "embed", encoder)(x)
    if not isinstance(features, Tensor) or features.ndim != 2 or len(features) != len(x):
        given = tuple(features.shape) if isinstance(features, Tensor) else f"a {type(features).__name__}"
        raise InputError(f"an encoder gives one vector an input, ({len(x)}, features), and {type(encoder).__name__} gave {given}")
    return features


@torch.no_grad()
def encode_all(encoder: nn.Module, x: Tensor) -> Float[Tensor, "rows features"]:
    """The vectors (N, d), on the CPU, of inputs (N, ...) that fit in memory: in evaluation mode, without gradients, some at a time, where the encoder stands.

    Raises:
        InputError: no inputs, or something else than one vector an input.
    """
    if not len(x):
        raise InputError("there are no inputs to encode")
    device = next((tensor.device for tensor in encoder.state_dict().values()), torch.device("cpu"))
    with evaluating(encoder):
        return torch.cat([encode(encoder, part.to(device)).cpu() for part in x.split(_AT_ONCE)])


class Classifier(nn.Module):
    """An encoder and a head of its own: inputs (B, ...) to logits (B, C)."""

    def __init__(self, encoder: nn.Module, head: nn.Module) -> None:
        """
        Args:
            encoder: inputs to vectors (B, d), see :func:`encode`.
            head: vectors to logits.
        """
        super().__init__()
        self.encoder = encoder
        self.head = head

    def embed(self, x: Tensor) -> Float[Tensor, "batch features"]:
        """The encoder's vectors."""
        return encode(self.encoder, x)

    def forward(self, x: Tensor) -> Float[Tensor, "batch classes"]:
        """The logits."""
        return self.head(self.embed(x))
