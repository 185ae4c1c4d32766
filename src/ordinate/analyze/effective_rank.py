r"""How many directions a matrix uses, and how alike a network's layers are.

The effective rank of a matrix with singular values :math:`s` is the exponential of their entropy, :math:`\exp(-\sum_i p_i \log p_i)` with :math:`p_i = s_i / \sum_j s_j`: n for n equal ones, 1 for one alone. Layers of a residual network are
alike where the cosine between a token's vectors before and after them is near one.

Source: Roy and Vetterli, The Effective Rank: A Measure of Effective Dimensionality (EUSIPCO 2007); the two diagnostics are those of Zhuo et al. (PolyCom, ICLR 2025), section 4, which does not define the rank.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.analyze.capture import Activations
from ordinate.ground.errors import InputError

__all__ = ["effective_rank", "layer_cosines"]


def effective_rank(matrix: Float[Tensor, "rows columns"]) -> float:
    """exp of the entropy of the normalised singular values: from 1 to min(rows, columns).

    Raises:
        InputError: no matrix, or one of zeros or of numbers that are not finite.
    """
    if matrix.ndim != 2 or not matrix.numel() or not bool(torch.isfinite(matrix).all()):
        raise InputError(f"the effective rank is that of a finite matrix, not of shape {tuple(matrix.shape)}")
    values = torch.linalg.svdvals(matrix.detach().double())
    if not bool(values.sum() > 0):
        raise InputError("a matrix of zeros has no effective rank")
    share = values / values.sum()
    return float(torch.special.entr(share).sum().exp())


@torch.no_grad()
def layer_cosines(model: nn.Module, names: Sequence[str], run: Callable[[nn.Module], Any]) -> Float[Tensor, "layers layers"]:
    """The mean cosine over tokens between the outputs of every pair of modules, (layers, layers).

    Args:
        model: whatever has the modules.
        names: of modules with outputs (..., D) of one shape; see `ordinate.analyze.capture`.
        run: calls the model once.

    Raises:
        InputError: no names, an unknown one, or outputs of different shapes.
    """
    if not names:
        raise InputError("name at least one layer")
    with Activations(model, names) as seen:
        run(model)
        outputs = [seen[name].flatten(0, -2) for name in names]
    if len({output.shape for output in outputs}) > 1:
        raise InputError(f"layers whose outputs differ in shape cannot be compared: {sorted({tuple(output.shape) for output in outputs})}")
    unit = torch.stack([nn.functional.normalize(output.double(), dim=-1) for output in outputs])
    return torch.einsum("atd,btd->ab", unit, unit) / unit.shape[1]
