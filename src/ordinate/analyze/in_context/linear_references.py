"""The algorithms that linear prompts are measured against: least squares, ridge regression, gradient descent, nearest neighbours, and the Bayes predictor of the prompts' own prior.

Source: Akyürek et al., What learning algorithm is in-context learning? (ICLR 2023), section 4.1.
"""

from ordinate.analyze.in_context.following import Families
from ordinate.analyze.in_context.predictors import Bayes, GradientDescent, LeastSquares, Neighbours, OnePass, Predictor, Ridge, Zero
from ordinate.data.in_context.linear import LinearPrompts
from ordinate.data.in_context.prompts import PromptSource
from ordinate.ground.errors import InputError

__all__ = ["PENALTIES", "REFERENCES", "linear_families"]

PENALTIES = tuple(1e-2 * 2.25**power for power in range(12))  # 0.01 to 75, a factor of 2.25 apart as in the paper's 1/9, 1/4, 4/9
_SUMMED = tuple(0.5 * 2.0**-power for power in range(2, 11))
_AVERAGED = tuple(0.5 * 2.0 ** (power / 2) for power in range(-4, 3))


def _descent(steps: int, penalty: float = 0.0) -> list[Predictor]:
    summed = [GradientDescent(rate, steps, penalty) for rate in _SUMMED]
    return [*summed, *(GradientDescent(rate, steps, penalty, averaged=True) for rate in _AVERAGED)]


def linear_families(source: PromptSource) -> Families:
    """Least squares, ridge at several penalties, one step of gradient descent at several rates (of the sum and of the mean of losses), a pass of stochastic gradient descent, 3 neighbours in three weightings, Bayes, and 0.

    Raises:
        InputError: the source is not one of linear prompts.
    """
    if not isinstance(source, LinearPrompts):
        raise InputError(f"linear references are for linear prompts, not {type(source).__name__}")
    return {
        "OLS": [LeastSquares()],
        "ridge": [Ridge(penalty) for penalty in PENALTIES],
        "GD": _descent(1),
        "SGD": [OnePass(rate) for rate in _SUMMED],
        "k-NN": [Neighbours(3), Neighbours(3, "inverse"), Neighbours(3, "inverse-square")],
        "Bayes": [Bayes(source.noise**2, source.w.second_moment)],
        "zero": [Zero()],
    }


REFERENCES = {"linear": linear_families}
