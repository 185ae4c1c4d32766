r"""How good random features are: the variance of a kernel estimate in closed form, and the error of the attention rows that are made of them.

For the positive random features of :math:`e^{x \cdot y}` with independent projections, the relative variance of the estimate is :math:`(e^{|x + y|^2} - 1)/m`. For vectors of length R it is at most :math:`(e^{4R^2} - 1)/m`,
so that R = 1 is within reach of a few dozen features, R = 2 of ten million.

Source: Choromanski et al., Rethinking Attention with Performers (ICLR 2021), lemma 2; Luo et al. (NeurIPS 2021), section 3.3, for what follows of it.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.nn.feature_maps import FeatureMap, unit_norm
from ordinate.nn.kernel_attention import kernel_attention
from ordinate.nn.toeplitz import toeplitz_matrix

__all__ = ["attention_error", "prf_relative_variance"]


def prf_relative_variance(x: Float[Tensor, "*batch dim"], y: Float[Tensor, "*batch dim"], features: int) -> Float[Tensor, "*batch"]:
    """The variance of the estimate of exp(x.y) by `features` positive random features, over exp(x.y)^2: a closed form.

    Args:
        x: (..., d).
        y: (..., d).
        features: m, how many independent projections.

    Raises:
        InputError: no features.
    """
    if features < 1:
        raise InputError(f"features must be at least 1, not {features}")
    return torch.expm1((x + y).square().sum(-1)) / features


def attention_error(
    q: Float[Tensor, "batch heads rows dim"],
    k: Float[Tensor, "batch heads columns dim"],
    features: FeatureMap,
    *,
    norm_scale: float | None = 1.0,
    diagonals: Float[Tensor, "heads offsets"] | None = None,
) -> Float[Tensor, "batch heads rows"]:
    """The L1 distance, between 0 and 2, of the rows of attention made of features from those of the softmax that they estimate.

    Args:
        q: queries (B, H, R, d).
        k: keys (B, H, C, d).
        features: the map, of (B, H, L, d).
        norm_scale: queries and keys are brought to this length, and the softmax is that of their dot products; None leaves them as they are.
        diagonals: a relative bias (H, R + C - 1), in both.

    Raises:
        InputError: shapes that do not fit.
    """
    if norm_scale is not None:
        q, k = unit_norm(q) * norm_scale, unit_norm(k) * norm_scale
    rows, columns = q.shape[2], k.shape[2]
    bias = q.new_zeros(q.shape[1], rows + columns - 1) if diagonals is None else diagonals
    exact = (q @ k.mT + toeplitz_matrix(bias, rows)).softmax(-1)
    phi_q, _ = features.scaled(q)
    phi_k, lacking = features.scaled(k)
    impulses = torch.eye(columns, dtype=q.dtype, device=q.device).expand(*k.shape[:2], -1, -1)
    estimate = kernel_attention(phi_q, phi_k, impulses, bias, key_scale=lacking, method="naive")
    return (estimate - exact).abs().sum(-1)
