r"""Next-token prediction: the cross-entropy of a causal model's logits, :math:`-\frac1L \sum_t \log p(x_{t+1} \mid x_{\le t})`, in nats a token."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.objectives.base import Objective

__all__ = ["OBJECTIVES", "NextToken", "token_nats"]

_IGNORED = -100


def token_nats(model: nn.Module, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The summed cross-entropy (nats) of `model(input)` against `target`, and over how many tokens.

    Args:
        model: (B, L) int64 to logits (B, L, V).
        batch: ``"input"`` and ``"target"``, int64 (B, L), targets of -100 not counted; and, if some positions are padding, ``"padding_mask"``, bool (B, L), True = real token.
    """
    if "input" not in batch or "target" not in batch:
        raise InputError(f"next-token prediction reads batches of input and target, and this one has {', '.join(batch)}")
    mask = batch.get("padding_mask")
    logits = model(batch["input"]) if mask is None else model(batch["input"], padding_mask=mask)
    target = batch["target"] if mask is None else batch["target"].masked_fill(~mask, _IGNORED)
    total = F.cross_entropy(logits.flatten(0, 1).float(), target.flatten(), ignore_index=_IGNORED, reduction="sum")
    return total, (target != _IGNORED).sum()


class NextToken(Objective):
    """Cross-entropy of `model(input)` (B, L, V) against `target` (B, L) int64, the input one token later."""

    @classmethod
    def for_model(cls, model: nn.Module) -> "NextToken":
        """For a causal model of tokens.

        Raises:
            InputError: the model says that it sees the future.
        """
        if not getattr(model, "causal", False):
            raise InputError(
                f"next-token prediction trains causal models of tokens, and {type(model).__name__} is none: it would read its answers"
            )
        return cls()

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The mean over the batch's tokens; zero where none is counted.

        Raises:
            InputError: the batch has no input and target.
        """
        total, count = token_nats(model, batch)
        return total / torch.clamp(count, min=1)


OBJECTIVES = {"next-token": NextToken.for_model}
