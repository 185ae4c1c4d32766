"""What a probe of a linear prompt looks for: the moment vector and the least-squares weights of a prefix.

Source: Akyürek et al., What learning algorithm is in-context learning? (ICLR 2023), section 5.
"""

from jaxtyping import Float
from torch import Tensor

from ordinate.analyze.in_context.predictors import LeastSquares
from ordinate.ground.errors import InputError

__all__ = ["moment_vector", "prefix_weights"]


def _check(n: int, prefix: int) -> None:
    if not 1 <= prefix < n:
        raise InputError(f"a prefix of a prompt of {n} pairs holds 1 to {n - 1} of them, not {prefix}")


def moment_vector(x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], prefix: int) -> Float[Tensor, "batch d"]:
    """X^T y of the first `prefix` pairs, float64.

    Raises:
        InputError: no such prefix.
    """
    _check(x.shape[1], prefix)
    return (x[:, :prefix].double() * y[:, :prefix, None].double()).sum(dim=1)


def prefix_weights(x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], prefix: int) -> Float[Tensor, "batch d"]:
    """The least-squares weights of the first `prefix` pairs, float64, of least norm where there are several.

    Raises:
        InputError: no such prefix.
    """
    _check(x.shape[1], prefix)
    return LeastSquares().weights(x[:, : prefix + 1], y[:, : prefix + 1])[:, prefix]
