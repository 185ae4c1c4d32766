r"""Pointing: the negative log-likelihood of answers that are sequences of slots of the input,

.. math:: -\frac{\sum_b \sum_{i \le T_b} \log p(C_{b,i} \mid C_{b,<i}, P_b)}{\sum_b T_b},

in nats a symbol, END included.

Source: Vinyals, Fortunato, Jaitly, Pointer Networks (NIPS 2015), section 2.1, equation 2 (there the sum; a mean over symbols keeps the gradient's size whatever the number of points).
"""

from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.objectives.base import Objective

__all__ = ["OBJECTIVES", "Pointing"]

END = 0


class Pointing(Objective):
    """The mean negative log-likelihood of `target` (B, T) slots given `points` (B, n, D) and `lengths` (B,), for models `model(points, target, lengths) -> (log_prob (B,), logits)`."""

    @classmethod
    def for_model(cls, model: nn.Module) -> "Pointing":
        """A model that answers with slots.

        Raises:
            InputError: it cannot decode step by step, so that it is no such model.
        """
        if not all(callable(getattr(model, verb, None)) for verb in ("init", "log_prob", "advance")):
            raise InputError(f"pointing trains networks that answer with slots, such as pointer and seq2seq, not {type(model).__name__}")
        return cls()

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of the batch's `points`, `lengths` and `target`, in nats a symbol."""
        target = batch["target"]
        log_prob, _ = model(batch["points"], target, batch["lengths"])
        return -log_prob.sum() / ((target != END).sum() + len(target))


OBJECTIVES = {"pointing": Pointing.for_model}
