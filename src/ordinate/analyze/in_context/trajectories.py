r"""Predictors of the next state of a trajectory, online: ridge regression of the states on functions of the last k states, all coordinates at once,

.. math:: \hat x_{i+1} = W_i^\top f(\bar x_i), \qquad W_i = \arg\min_W \sum_{j < i} \lVert W^\top f(\bar x_j) - x_{j+1}\rVert^2 + \lambda \lVert W\rVert_F^2.

With the right f and :math:`\lambda = \sigma^2/\tau^2` it is the Bayes predictor of :class:`ordinate.data.in_context.dynamics.DynamicsPrompts`.

Source: Guo et al., How Do Transformers Learn In-Context Beyond Simple Functions? (ICLR 2024), section 4.2.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.analyze.in_context.gaussian import Representation
from ordinate.analyze.in_context.predictors import online_ridge
from ordinate.data.in_context.dynamics import windows

__all__ = ["predict_trajectory"]


def predict_trajectory(
    states: Float[Tensor, "batch n_plus_1 d"], k: int, penalty: float, phi: Representation | None = None
) -> Float[Tensor, "batch n d"]:
    """Predictions of states 2 to n + 1, each from those before it, float64; the first is 0.

    Args:
        states: (B, n + 1, d).
        k: how many states a window has.
        penalty: lambda, positive.
        phi: f, (..., k d) -> (..., D); None takes the windows as they are: linear autoregression.

    Raises:
        InputError: k below 1, or a penalty that is not positive.
    """
    states = states.double()
    past = windows(states[:, :-1], k)
    features = past if phi is None else phi(past)
    weights = online_ridge(features, states[:, 1:], penalty)
    return torch.einsum("bnf,bnfd->bnd", features, weights)
