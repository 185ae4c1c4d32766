r"""Next-token prediction through a text from its beginning to its end: the state that one stretch leaves is where the next one starts, and gradients do not pass from one to the other (truncated backpropagation through time).

The loss is :math:`-\frac{1}{B} \sum_b \sum_t \log p(x_{b,t+1} \mid x_{b, \le t})`, summed over the stretch and averaged over the streams, for which published rates and clips of such networks are meant.

Source: Zaremba, Sutskever, Vinyals, Recurrent Neural Network Regularization (2014), section 4.1.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.objectives.base import Objective

__all__ = ["CarriedTokens", "CarryingModel"]


@runtime_checkable
class CarryingModel(Protocol):
    """A recurrent model that goes on from a state."""

    def carry(
        self, tokens: Int[Tensor, "batch length"], state: tuple[Tensor, Tensor] | None = None
    ) -> tuple[Float[Tensor, "batch length vocabulary"], tuple[Tensor, Tensor]]:
        """Log-probabilities of what follows each token, and the state (layers, B, H) twice after the last."""


class CarriedTokens(Objective):
    """Reads batches of `ordinate.data.streams.Streams`; the state is a buffer, so that a run that is resumed goes on with it."""

    h: Tensor
    c: Tensor

    def __init__(self, layers: int, rows: int, dim: int) -> None:
        """
        Args:
            layers, dim: of the model's state.
            rows: B, streams of one process.

        Raises:
            InputError: a number below 1.
        """
        super().__init__()
        if min(layers, rows, dim) < 1:
            raise InputError(f"a state has layers, streams and a width of at least 1, not {layers}, {rows} and {dim}")
        self.register_buffer("h", torch.zeros(layers, rows, dim))
        self.register_buffer("c", torch.zeros(layers, rows, dim))

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss, in nats a stretch.

        Args:
            model: a `CarryingModel`.
            batch: ``"input"``, ``"target"`` (B, length) and ``"fresh"`` (B,).

        Raises:
            InputError: a model that cannot go on where it stopped, or another number of streams.
        """
        if not isinstance(model, CarryingModel):
            raise InputError(f"{type(model).__name__} cannot go on from a state: take a model that can, such as regularized-lstm")
        if len(batch["input"]) != self.h.shape[1]:
            raise InputError(f"the state is that of {self.h.shape[1]} streams, and the batch has {len(batch['input'])}")
        kept = (~batch["fresh"])[:, None].to(self.h)
        log_probs, (h, c) = model.carry(batch["input"], (self.h * kept, self.c * kept))
        self.h.copy_(h.detach())
        self.c.copy_(c.detach())
        return -log_probs.gather(2, batch["target"][..., None]).sum() / len(batch["input"])
