r"""How far apart two predictors are, prefix by prefix.

- squared prediction difference, :math:`\mathrm{SPD}_i = \mathbb E\,(A(D_i)(x') - B(D_i)(x'))^2`, the next input of the prompt being the fresh :math:`x'`;
- implicit linear weight difference, :math:`\mathrm{ILWD}_i = \mathbb E\,\lVert w_A - w_B \rVert^2`, where the weights of a predictor that is not linear are those of the least-squares fit to its answers to
  fresh queries, and :math:`R^2` says how linear these answers are;
- MSPD, the mean of SPD over the prefixes that leave a choice, :math:`i = 1, \dots, d - 1`.

In the paper's figures both are divided by d.

Source: Akyürek et al., What learning algorithm is in-context learning? (ICLR 2023), section 4.1, equations 14 to 16 and appendix E.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.analyze.in_context.predictors import LinearPredictor, Predictor
from ordinate.ground.errors import InputError

__all__ = ["Implied", "ilwd", "implied_weights", "linearity_r2", "mspd", "spd", "squared_errors"]


def spd(a: Predictor, b: Predictor, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
    """The squared difference of two predictors' answers in every prompt after every prefix, float64; its mean over prompts is SPD.

    Raises:
        InputError: shapes that do not fit.
    """
    return (a(x, y) - b(x, y)).square()


def mspd(differences: Float[Tensor, "batch n"], d: int) -> float:
    """The mean of `spd` over prompts and over prefixes of 1 to d - 1 pairs.

    Raises:
        InputError: d below 2, or prompts of fewer pairs.
    """
    if d < 2 or differences.shape[1] < d:
        raise InputError(
            f"under-determined prefixes are of 1 to d - 1 pairs: d must be at least 2 and prompts of d pairs or more, not {d} and {differences.shape[1]}"
        )
    return differences[:, 1:d].mean().item()


def squared_errors(a: Predictor, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
    """The squared error of a predictor in every prompt after every prefix, float64.

    Raises:
        InputError: shapes that do not fit.
    """
    return (a(x, y) - y.double()).square()


class Implied:
    """The weights that a predictor's answers imply.

    Attributes:
        weights: (B, n, d), float64.
        r2: (B, n), the share of its answers' squares that the linear fit explains; 1 where all answers are 0.
    """

    def __init__(self, weights: Tensor, r2: Tensor) -> None:
        self.weights, self.r2 = weights, r2


def implied_weights(
    a: Predictor, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], queries: Float[Tensor, "batch n queries d"]
) -> Implied:
    """Fit a linear function to a predictor's answers; a linear predictor's own weights are taken as they are.

    Args:
        a: the predictor.
        x: (B, n, d), the inputs.
        y: (B, n), their labels.
        queries: (B, n, Q, d), fresh inputs for each prefix, at least 2 d of them (the paper: as many as it takes; 4 d serve).

    Raises:
        InputError: fewer queries than 2 d, or shapes that do not fit.
    """
    if isinstance(a, LinearPredictor):
        weights = a.weights(x, y)
        return Implied(weights, torch.ones_like(weights[..., 0]))
    d, count = queries.shape[3], queries.shape[2]
    if count < 2 * d:
        raise InputError(f"{d} weights are read off at least {2 * d} queries, not {count}")
    asked, answers = queries.double(), a.answer(x, y, queries)
    weights = torch.linalg.lstsq(asked, answers[..., None]).solution[..., 0]
    left = (answers - (asked @ weights[..., None])[..., 0]).square().sum(dim=-1)
    whole = answers.square().sum(dim=-1)
    return Implied(weights, torch.where(whole > 0, 1 - left / whole.clamp(min=torch.finfo(whole.dtype).tiny), 1.0))


def ilwd(
    a: Predictor, b: Predictor, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], queries: Float[Tensor, "batch n queries d"]
) -> Float[Tensor, "batch n"]:
    """The squared distance of two predictors' weights in every prompt after every prefix, float64; its mean over prompts is ILWD. See `implied_weights`.

    Raises:
        InputError: too few queries, or shapes that do not fit.
    """
    return (implied_weights(a, x, y, queries).weights - implied_weights(b, x, y, queries).weights).square().sum(dim=-1)


def linearity_r2(
    a: Predictor, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], queries: Float[Tensor, "batch n queries d"]
) -> Float[Tensor, " n"]:
    """How linear a predictor's answers are after each prefix: the mean R² over prompts. See `implied_weights`.

    Raises:
        InputError: too few queries, or shapes that do not fit.
    """
    return implied_weights(a, x, y, queries).r2.mean(dim=0)
