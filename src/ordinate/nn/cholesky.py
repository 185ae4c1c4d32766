r"""The Cholesky factor of a matrix that ought to be positive definite, or one line that says which one was not.

One factorisation :math:`K = C C^\top` serves for the solve, the log-determinant and the prediction; no inverse is formed.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError

__all__ = ["check_symmetric", "factor"]


def factor(matrix: Float[Tensor, "*batch n n"], name: str) -> Float[Tensor, "*batch n n"]:
    """The lower Cholesky factor C of `matrix` = C C^T.

    Args:
        matrix: (..., n, n), symmetric; only its lower half is read.
        name: what the message calls it: ``"the kernel of layer 2"``.

    Raises:
        InputError: the matrix is not positive definite to working precision, or not finite.
    """
    root, failed = torch.linalg.cholesky_ex(matrix)
    if bool(failed.any()):
        if not bool(torch.isfinite(matrix).all()):
            raise InputError(f"{name} is not finite: look for extreme inputs or a learning rate that is too high")
        raise InputError(
            f"{name} is not positive definite in {str(matrix.dtype).removeprefix('torch.')}: "
            "remove rows that are duplicates, raise the jitter, or compute in float64"
        )
    return root


def check_symmetric(matrix: Float[Tensor, "*batch n n"], name: str) -> None:
    """Raise `InputError` unless `matrix` is finite and equals its transpose to working precision."""
    if not bool(torch.isfinite(matrix).all()):
        raise InputError(f"{name} is not finite: it holds NaN or infinite numbers")
    scale = float(matrix.detach().abs().max()) if matrix.numel() else 0.0
    if not torch.allclose(matrix, matrix.mT, rtol=0.0, atol=100 * torch.finfo(matrix.dtype).eps * scale):
        raise InputError(f"{name} is not symmetric: a Gram matrix equals its transpose")
