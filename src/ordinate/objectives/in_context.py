r"""In-context regression: the mean squared error of predictions at the tokens of a prompt,

.. math:: \frac1{B n} \sum_b \sum_{i=1}^n \lVert \hat y_{b,i} - y_{b,i} \rVert^2.

A target (B, n, K) is asked for at tokens 0, s, 2s, ..., with s = 2 where inputs and labels alternate (2n - 1 tokens), and s = 1 where every token has a target.

Source: Akyürek et al., What learning algorithm is in-context learning? (ICLR 2023), section 2, equation 3.
"""

from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.objectives.base import Objective

__all__ = ["OBJECTIVES", "InContextRegression"]


class InContextRegression(Objective):
    """The mean over prompts and places of the squared error, summed over the numbers of a target; for models `model(tokens (B, T, width)) -> (B, T, outputs)`."""

    @classmethod
    def for_model(cls, model: nn.Module) -> "InContextRegression":
        """A model that reads vectors and answers at each.

        Raises:
            InputError: it is no such model.
        """
        if not hasattr(model, "token_width"):
            raise InputError(f"in-context trains networks that read vectors, such as in-context-transformer, not {type(model).__name__}")
        return cls()

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of the batch's `tokens` (B, T, width) and `target` (B, n, K).

        Raises:
            InputError: the tokens are neither n nor 2n - 1.
        """
        tokens, target = batch["tokens"], batch["target"]
        count, n = tokens.shape[1], target.shape[1]
        if count not in (n, 2 * n - 1):
            raise InputError(f"{n} targets are asked for at {n} or {2 * n - 1} tokens, not at {count}")
        predicted = model(tokens)[:, :: 1 if count == n else 2]
        return (predicted - target).square().sum(dim=2).mean()


OBJECTIVES = {"in-context": InContextRegression.for_model}
