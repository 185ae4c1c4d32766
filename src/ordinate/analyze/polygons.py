r"""Polygons in the plane: whether they are simple, their areas and perimeters, and how well answers of hulls are right.

A polygon is simple if its edges meet only where one ends and the next begins. Edges :math:`ab` and :math:`cd` meet if :math:`c` and :math:`d` are not strictly on one side of the line through :math:`a` and :math:`b`,
nor :math:`a` and :math:`b` on one side of that through :math:`c` and :math:`d`, and their bounding boxes overlap; neighbouring edges may share their corner but not fold back on each other.

A predicted hull counts as right if it is the same polygon as the true one: the same slots as a cycle, in the same direction. Its area is compared where it is simple; the paper calls an experiment in which more than
1 % of the polygons are not simple a failure.

Source: Vinyals, Fortunato, Jaitly, Pointer Networks (NIPS 2015), section 4.2 and Table 1.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from ordinate.data.planar import END, answer_lengths, from_lowest, signed_areas

__all__ = ["hull_metrics", "is_simple_polygon", "perimeters", "trace"]

AT_ONCE = 1 << 22


def trace(points: Float[Tensor, "batch n 2"], slots: Int[Tensor, "batch steps"]) -> Float[Tensor, "batch steps 2"]:
    """The points that answers go through, in double precision. A closing repetition and whatever follows END become the first point again, which changes neither areas nor perimeters."""
    counts = answer_lengths(slots)
    first = slots[:, :1].clamp(min=1)
    visited = torch.where(torch.arange(slots.shape[1], device=slots.device) < counts[:, None], slots, first) - 1
    return points.double().gather(1, visited[..., None].expand(-1, -1, 2))


def perimeters(vertices: Float[Tensor, "batch k 2"]) -> Float[Tensor, " batch"]:
    """The lengths of closed polygons, (B,)."""
    return (vertices.roll(-1, dims=1) - vertices).norm(dim=-1).sum(dim=1)


def is_simple_polygon(vertices: Float[Tensor, "batch k 2"], counts: Int[Tensor, " batch"] | None = None) -> Bool[Tensor, " batch"]:
    """Whether each closed polygon is simple: at least three vertices, and edges that meet only at the corners which they share.

    Args:
        vertices: (B, k, 2), single or double precision; exact where the coordinates are single precision numbers of like size.
        counts: (B,), how many of the vertices each polygon has; None where all have k.
    """
    if counts is None:
        counts = torch.full((len(vertices),), vertices.shape[1], device=vertices.device)
    rows = max(1, AT_ONCE // max(1, vertices.shape[1] ** 2))
    parts = zip(vertices.double().split(rows), counts.split(rows), strict=True)
    return torch.cat([_is_simple(*part) for part in parts])


def _is_simple(vertices: Tensor, counts: Tensor) -> Tensor:
    k = vertices.shape[1]
    place = torch.arange(k, device=vertices.device)
    there = place < counts[:, None]
    onward = torch.where(place + 1 < counts[:, None], place + 1, 0)
    start, stop = vertices, vertices.gather(1, onward[..., None].expand(-1, -1, 2))
    after = stop.gather(1, onward[..., None].expand(-1, -1, 2))
    back, ahead = start - stop, after - stop
    folded = (_cross(back, ahead) == 0) & ((back * ahead).sum(dim=-1) >= 0)  # an edge without length folds too
    # Edge i is (a, b), edge j is (c, d).
    a, b, c, d = start[:, :, None], stop[:, :, None], start[:, None], stop[:, None]
    apart = _cross(b - a, c - a).sign() * _cross(b - a, d - a).sign() > 0
    apart = apart | (_cross(d - c, a - c).sign() * _cross(d - c, b - c).sign() > 0)
    low_i, high_i, low_j, high_j = torch.minimum(a, b), torch.maximum(a, b), torch.minimum(c, d), torch.maximum(c, d)
    apart = apart | ((low_i > high_j) | (low_j > high_i)).any(dim=-1)
    neighbours = (onward[:, :, None] == place) | (onward[:, None] == place[:, None]) | (place[:, None] == place)
    both = there[:, :, None] & there[:, None] & ~neighbours
    return (counts >= 3) & ~(folded & there).any(dim=1) & ~(both & ~apart).flatten(1).any(dim=1)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _opened(slots: Tensor) -> tuple[Tensor, Tensor]:
    """Answers as cycles: without the closing repetition, from the lowest slot on, END after the last; and their lengths."""
    counts = answer_lengths(slots)
    last = slots.gather(1, (counts - 1).clamp(min=0)[:, None])[:, 0]
    counts = counts - ((counts > 1) & (last == slots[:, 0])).long()
    return from_lowest(slots.masked_fill(torch.arange(slots.shape[1], device=slots.device) >= counts[:, None], END), counts), counts


def hull_metrics(
    points: Float[Tensor, "batch n 2"], predicted: Int[Tensor, "batch steps"], target: Int[Tensor, "batch length"]
) -> dict[str, float]:
    """How well hulls were found, each number in percent.

    Args:
        points: (B, n, 2); what pads a row is not looked at.
        predicted: (B, T) slots; what follows the first END does not count, nor does a closing repetition.
        target: (B, T'), the true hulls.

    Returns:
        accuracy: how many are the true polygon.
        area: area over the true hull's, the mean over those that are simple polygons; 0 where none is.
        not simple: how many are no simple polygon. The paper writes FAIL where it is above 1.
    """
    ours, counts = _opened(predicted)
    theirs, _ = _opened(target)
    width = max(ours.shape[1], theirs.shape[1])
    ours, theirs = (torch.nn.functional.pad(each, (0, width - each.shape[1]), value=END) for each in (ours, theirs))
    outline = trace(points, ours)
    simple = is_simple_polygon(outline, counts)
    area = signed_areas(outline).abs() / signed_areas(trace(points, theirs)).abs()
    return {
        "accuracy": 100 * (ours == theirs).all(dim=1).double().mean().item(),
        "area": 100 * area[simple].mean().item() if bool(simple.any()) else 0.0,
        "not simple": 100 * (~simple).double().mean().item(),
    }
