"""One template a class: the direction of its features' mean, by which queries are identified.

Source: the retrieval protocol of Biondi et al., "Stationary Representations", CVPR 2024 (1:N identification by class templates).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from ordinate.ground.errors import InputError

__all__ = ["check_labelled", "class_templates"]


def check_labelled(name: str, features: Tensor, labels: Tensor) -> None:
    """Raise `InputError` unless features are a finite matrix with a label for each row; `name` is what the message calls them."""
    if features.ndim != 2 or not len(features) or not features.is_floating_point():
        raise InputError(f"{name} must be a floating-point matrix (rows, dim) with rows, not {features.dtype} of {tuple(features.shape)}")
    if labels.ndim != 1 or len(labels) != len(features) or labels.is_floating_point():
        raise InputError(f"{name}: {len(features)} rows need as many whole numbers as labels, not {tuple(labels.shape)} of {labels.dtype}")
    if not bool(torch.isfinite(features).all()):
        raise InputError(f"{name}: {int((~torch.isfinite(features)).any(dim=1).sum())} rows hold NaN or infinite values")


def class_templates(
    features: Float[Tensor, "rows dim"], labels: Int[Tensor, " labelled"]
) -> tuple[Float[Tensor, "classes dim"], Int[Tensor, " classes"]]:
    """One template a class: the mean of its features, scaled to unit length before and after.

    Args:
        features: (N, d).
        labels: (N,), any integers.

    Returns:
        Templates (C, d) and their classes (C,), ascending.

    Raises:
        InputError: shapes that do not fit, no rows, or features that are not finite.
    """
    check_labelled("features", features, labels)
    classes, codes = labels.unique(return_inverse=True)
    sums = features.new_zeros(len(classes), features.shape[1]).index_add_(0, codes, F.normalize(features, dim=1))
    return F.normalize(sums, dim=1), classes
