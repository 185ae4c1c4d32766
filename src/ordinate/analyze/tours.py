"""How good answers of tours are: whether they visit every city once, and how long they are against a reference.

Source: Vinyals, Fortunato, Jaitly, Pointer Networks (NIPS 2015), section 4.4 and Table 2.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ordinate.analyze.polygons import perimeters, trace
from ordinate.data.planar import END, answer_lengths

__all__ = ["tour_metrics", "valid_tours"]


def valid_tours(predicted: Int[Tensor, "batch steps"], lengths: Int[Tensor, " batch"]) -> Bool[Tensor, " batch"]:
    """Which answers visit each of the slots 1, ..., n of their row once, and then end; the first may be repeated before END."""
    counts = answer_lengths(predicted)
    last = predicted.gather(1, (counts - 1).clamp(min=0)[:, None])[:, 0]
    closed = (counts == lengths + 1) & (last == predicted[:, 0])
    place = torch.arange(predicted.shape[1], device=predicted.device)
    visits = predicted.masked_fill(place >= torch.where(closed, lengths, counts)[:, None], END)
    most = int(max(predicted.max(), lengths.max()))
    seen = torch.zeros(len(predicted), most + 1, dtype=torch.int64, device=predicted.device)
    seen.scatter_add_(1, visits, torch.ones_like(visits))
    wanted = torch.arange(1, most + 1, device=predicted.device) <= lengths[:, None]
    return (seen[:, 1:] == wanted).all(dim=1)


def tour_metrics(
    points: Float[Tensor, "batch n 2"],
    lengths: Int[Tensor, " batch"],
    predicted: Int[Tensor, "batch steps"],
    reference: Int[Tensor, "batch length"],
) -> dict[str, float]:
    """How good tours are.

    Args:
        points: (B, n, 2); what pads a row is not looked at.
        lengths: (B,), how many points each row has.
        predicted: (B, T) slots; what follows the first END does not count.
        reference: (B, T'), valid tours to compare with: the optimal ones, say.

    Returns:
        validity: the percentage of tours.
        length: the mean length of the answers that are tours; infinite where none is.
        ratio: `length` over the mean length of the same rows' references; infinite where no answer is a tour.
    """
    valid = valid_tours(predicted, lengths)
    validity = 100 * valid.double().mean().item()
    if not bool(valid.any()):
        return {"validity": validity, "length": float("inf"), "ratio": float("inf")}
    length = perimeters(trace(points, predicted)[valid]).mean().item()
    return {"validity": validity, "length": length, "ratio": length / perimeters(trace(points, reference)[valid]).mean().item()}
