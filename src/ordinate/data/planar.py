r"""Three problems of the plane with exact answers: the convex hull, the Delaunay triangulation, and the travelling salesman's tour.

An instance is a set of :math:`n` points, uniform on :math:`[0, 1]^2`; its answer is a sequence of *slots*: slot 0 is END, slots :math:`1, \dots, n` are the points in the order in which they were given.
(The released files number them in the same way.) An answer ends with its first END; what follows is padding, which is 0 too.

One answer out of the many that mean the same is singled out, since a sequence model would otherwise be asked for several at once:

- hull: its vertices counter-clockwise, from the one with the lowest slot on. Points on an edge are no vertices;
- Delaunay: triangles, each as increasing slots, sorted by their incenters :math:`(a A + b B + c C) / (a + b + c)`, with :math:`a` the side opposite :math:`A`, first by x and then by y;
- tour: from slot 1 on, in the direction of positive signed area.

Points that leave the answer open (two that coincide; all on a line; for a triangulation, four on a circle that holds no other) are refused: `jitter` moves them a little.
Points are single precision, answers are computed in double precision.

Source: Vinyals, Fortunato, Jaitly, Pointer Networks (NIPS 2015), section 3. The canonical order of the answers: Vinyals, Bengio, Kudlur, Order Matters (ICLR 2016).
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int
from scipy.spatial import ConvexHull, Delaunay, QhullError
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ordinate.data.batches import Batch, Source
from ordinate.data.tours import SOLVERS, distances
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator

__all__ = [
    "END",
    "PROBLEMS",
    "DegenerateError",
    "Hull",
    "PlanarData",
    "Problem",
    "Tour",
    "Triangulation",
    "answer_lengths",
    "from_lowest",
    "incenters",
    "jitter",
    "label",
    "sample",
    "signed_areas",
]

END = 0
NEGLIGIBLE = 1e-12  # of the terms that a determinant is the sum of: below it, its sign is rounding


class DegenerateError(InputError):
    """Points whose answer is not unique. `rows` are the instances."""

    def __init__(self, problem: str, why: str, rows: Tensor) -> None:
        self.rows = rows
        named = ", ".join(str(row) for row in rows[:6].tolist()) + (", ..." if len(rows) > 6 else "")
        super().__init__(f"{problem}: {why} (instance {named}), so that the answer is not unique: leave it out, or jitter its points")


@dataclass(frozen=True)
class Problem(ABC):
    """What is asked of a set of points. Problems differ by class, and by the options that are their fields."""

    name: ClassVar[str]
    smallest: ClassVar[int]

    @abstractmethod
    def longest(self, n: int) -> int:
        """The most slots that an answer for `n` points can have, END included."""

    @abstractmethod
    def _solve(self, points: Float[Tensor, "batch n 2"], lengths: Int[Tensor, " batch"]) -> Int[Tensor, "batch steps"]:
        """The answers for checked points in double precision, no two of which coincide."""

    def targets(self, points: Float[Tensor, "batch n 2"], lengths: Int[Tensor, " batch"] | None = None) -> Int[Tensor, "batch steps"]:
        """The answers.

        Args:
            points: (B, n, 2); rows of fewer points are padded at the end.
            lengths: (B,), how many points each row has; None where all have n.

        Returns:
            (B, T) int64: each row its slots, END, and padding.

        Raises:
            InputError: too few points for the problem, or a coordinate that is not finite.
            DegenerateError: points whose answer is not unique.
        """
        if lengths is None:
            lengths = torch.full((len(points),), points.shape[1])
        points = points.double()
        present = torch.arange(points.shape[1]) < lengths[:, None]
        if len(points) and not self.smallest <= int(lengths.min()) <= int(lengths.max()) <= points.shape[1]:
            raise InputError(
                f"{self.name} needs at least {self.smallest} points, and no more than the {points.shape[1]} that are given, not {int(lengths.min())} to {int(lengths.max())}"
            )
        if not bool(torch.isfinite(points[present]).all()):
            raise InputError(f"{self.name}: a coordinate is NaN or infinite")
        coinciding = _coinciding(points, present)
        if bool(coinciding.any()):
            raise DegenerateError(self.name, "two points coincide", coinciding.nonzero().flatten())
        return self._solve(points, lengths)


@dataclass(frozen=True)
class Hull(Problem):
    """The vertices of the convex hull.

    Attributes:
        closed: the first vertex is repeated before END, as the paper's figure does.
    """

    name: ClassVar[str] = "hull"
    smallest: ClassVar[int] = 3
    closed: bool = False

    def longest(self, n: int) -> int:
        """All points, END, and the repeated one."""
        return n + 1 + self.closed

    def _solve(self, points: Float[Tensor, "batch n 2"], lengths: Int[Tensor, " batch"]) -> Int[Tensor, "batch steps"]:
        found, flat = [], []
        for row, (instance, length) in enumerate(zip(points.numpy(), lengths.tolist(), strict=True)):
            try:
                found.append(
                    torch.from_numpy(ConvexHull(instance[:length]).vertices).long() + 1
                )  # in the plane they come counter-clockwise
            except QhullError:
                flat.append(row)
        if flat:
            raise DegenerateError(self.name, "all points lie on a line", torch.tensor(flat))
        counts = torch.tensor([len(vertices) for vertices in found])
        return _ended(from_lowest(pad_sequence(found, batch_first=True), counts), counts, self.closed)


@dataclass(frozen=True)
class Triangulation(Problem):
    """The triangles of the Delaunay triangulation, three slots each; there are 2n - 2 - h with h points on the hull.

    Attributes:
        order: of the triangles: ``"incenter"``, or ``"random"`` as an ablation.
        seed: of the random order.
    """

    name: ClassVar[str] = "delaunay"
    smallest: ClassVar[int] = 3
    order: str = "incenter"
    seed: int = 0

    def __post_init__(self) -> None:
        choose("order of triangles", self.order, ("incenter", "random"))

    def longest(self, n: int) -> int:
        """A hull of three points leaves 2n - 5 triangles."""
        return 3 * (2 * n - 5) + 1

    def _solve(self, points: Float[Tensor, "batch n 2"], lengths: Int[Tensor, " batch"]) -> Int[Tensor, "batch steps"]:
        found, beside, flat = [], [], []
        for row, (instance, length) in enumerate(zip(points.numpy(), lengths.tolist(), strict=True)):
            try:
                triangulation = Delaunay(instance[:length])
            except QhullError:
                flat.append(row)
                continue
            found.append(torch.from_numpy(triangulation.simplices).long())
            beside.append(torch.from_numpy(triangulation.neighbors).long())
        if flat:
            raise DegenerateError(self.name, "all points lie on a line", torch.tensor(flat))
        counts = torch.tensor([len(triangles) for triangles in found])
        rows = torch.repeat_interleave(torch.arange(len(points)), counts)
        triangles = torch.cat(found)
        corners = points[rows[:, None], triangles]
        ambiguous = _ambiguous(points, rows, triangles, corners, torch.cat(beside), counts)
        if bool(ambiguous.any()):
            raise DegenerateError(self.name, "four points lie on a circle that holds no other", rows[ambiguous].unique())
        if self.order == "incenter":
            x, y = incenters(corners).unbind(dim=-1)
            order = _sorted_by(y, x, rows)
        else:
            order = _sorted_by(torch.rand(len(rows), generator=generator("triangles", self.seed)), rows)
        place = torch.arange(len(rows)) - torch.repeat_interleave(counts.cumsum(dim=0) - counts, counts)
        answers = torch.zeros(len(points), int(counts.max()), 3, dtype=torch.int64)
        answers[rows, place] = triangles[order].sort(dim=1).values + 1
        return _ended(answers.flatten(1), 3 * counts)


@dataclass(frozen=True)
class Tour(Problem):
    """The travelling salesman's tour from the first point on.

    Attributes:
        solver: one of `ordinate.data.tours.SOLVERS`; ``"held-karp"`` is exact.
        closed: slot 1 is repeated before END.
    """

    name: ClassVar[str] = "tsp"
    smallest: ClassVar[int] = 2
    solver: str = "held-karp"
    closed: bool = False

    def __post_init__(self) -> None:
        choose("solver", self.solver, SOLVERS)

    def longest(self, n: int) -> int:
        """All points, END, and the repeated one."""
        return n + 1 + self.closed

    def _solve(self, points: Float[Tensor, "batch n 2"], lengths: Int[Tensor, " batch"]) -> Int[Tensor, "batch steps"]:
        answers = torch.zeros(len(points), points.shape[1], dtype=torch.int64)
        for length in lengths.unique().tolist():
            rows = (lengths == length).nonzero().flatten()
            cities = points[rows, :length]
            answers[rows, :length] = self._directed(cities, SOLVERS[self.solver](distances(cities))) + 1
        return _ended(answers, lengths, self.closed)

    @staticmethod
    def _directed(cities: Tensor, tours: Tensor) -> Tensor:
        areas = signed_areas(cities.gather(1, tours[:, :, None].expand(-1, -1, 2)))
        backward = (areas < 0) | ((areas == 0) & (tours[:, 1] > tours[:, -1]))
        return torch.where(backward[:, None], torch.cat((tours[:, :1], tours[:, 1:].flip(1)), dim=1), tours)


PROBLEMS: dict[str, Problem] = {problem.name: problem for problem in (Hull(), Triangulation(), Tour())}


def answer_lengths(slots: Int[Tensor, "batch steps"]) -> Int[Tensor, " batch"]:
    """How many slots come before the first END of each answer, (B,); all of them where there is none."""
    return (slots != END).long().cumprod(dim=1).sum(dim=1)


def from_lowest(slots: Int[Tensor, "batch steps"], counts: Int[Tensor, " batch"]) -> Int[Tensor, "batch steps"]:
    """Rotate each row's first `counts` slots so that the lowest comes first."""
    place = torch.arange(slots.shape[1], device=slots.device)
    inside = place < counts[:, None]
    start = slots.masked_fill(~inside, torch.iinfo(slots.dtype).max).argmin(dim=1, keepdim=True)
    return slots.gather(1, torch.where(inside, (place + start) % counts.clamp(min=1)[:, None], place))


def signed_areas(vertices: Float[Tensor, "batch k 2"]) -> Float[Tensor, " batch"]:
    """The areas of closed polygons, positive where they run counter-clockwise. Repeating the last vertex changes nothing, so that polygons of fewer vertices may be padded with it."""
    return 0.5 * _cross(vertices, vertices.roll(-1, dims=1)).sum(dim=1)


def incenters(corners: Float[Tensor, "triangles 3 2"]) -> Float[Tensor, "triangles 2"]:
    """The centres of the circles inscribed in triangles: the corners' mean, each weighted by the side opposite to it."""
    opposite = (corners.roll(-1, dims=1) - corners.roll(1, dims=1)).norm(dim=-1, keepdim=True)
    return (opposite * corners).sum(dim=1) / opposite.sum(dim=1)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _sorted_by(*keys: Tensor) -> Tensor:
    """The order that sorts by the last key, ties by the one before it, and so on."""
    order = torch.arange(len(keys[0]))
    for key in keys:
        order = order[key[order].argsort(stable=True)]
    return order


def _coinciding(points: Tensor, present: Tensor) -> Bool[Tensor, " batch"]:
    # In order of x and then y, points that coincide are neighbours; padding is moved to places of its own.
    away = torch.arange(points.shape[1], dtype=points.dtype) + points.abs().amax() + 1 if points.numel() else points.new_zeros(0)
    x = torch.where(present, points[..., 0], away)
    y = torch.where(present, points[..., 1], away)
    by_y = y.argsort(dim=1, stable=True)
    order = by_y.gather(1, x.gather(1, by_y).argsort(dim=1, stable=True))
    x, y = x.gather(1, order), y.gather(1, order)
    return ((x.diff(dim=1) == 0) & (y.diff(dim=1) == 0)).any(dim=1)


def _ambiguous(
    points: Tensor, rows: Tensor, triangles: Tensor, corners: Tensor, beside: Tensor, counts: Tensor
) -> Bool[Tensor, " triangles"]:
    """Which triangles have no area, or share their circle with the far corner of a triangle beside them.

    `beside[t, k]` is the triangle opposite to corner k, by its number within the instance, or -1.
    """
    first = torch.repeat_interleave(counts.cumsum(dim=0) - counts, counts)
    there = beside >= 0
    other = triangles[(beside.clamp(min=0) + first[:, None])]
    far = other.sum(dim=-1) - (
        triangles.sum(dim=1, keepdim=True) - triangles
    )  # what is left of its corners without the two that are shared
    fourth = points[rows[:, None], torch.where(there, far, triangles)]
    a, b, c = (corners[:, None] - fourth[:, :, None]).unbind(dim=2)
    lift_a, lift_b, lift_c = ((each**2).sum(dim=-1) for each in (a, b, c))
    terms = torch.stack((lift_a * _cross(b, c), lift_b * _cross(c, a), lift_c * _cross(a, b)))
    size = lift_a * b.norm(dim=-1) * c.norm(dim=-1)  # of what rounding acts upon, up to a small factor
    on_circle = there & (terms.sum(dim=0).abs() <= NEGLIGIBLE * size)
    p, q, r = corners.unbind(dim=1)
    flat = _cross(q - p, r - p).abs() <= NEGLIGIBLE * (q - p).norm(dim=-1) * (r - p).norm(dim=-1)
    return flat | on_circle.any(dim=1)


def _ended(slots: Int[Tensor, "batch steps"], counts: Int[Tensor, " batch"], closed: bool = False) -> Int[Tensor, "batch ended"]:
    """Put END (and before it the first slot, if `closed`) after each row's first `counts` slots."""
    longer = torch.nn.functional.pad(slots, (0, 1 + closed), value=END)
    place = torch.arange(longer.shape[1])
    longer = longer.masked_fill(place >= counts[:, None], END)
    return longer.scatter(1, counts[:, None], longer[:, :1]) if closed else longer


@dataclass(frozen=True)
class PlanarData(Source):
    """Instances with their answers.

    Attributes:
        points: (N, n, 2) float32, padded with zeros.
        lengths: (N,) int64, how many points each has.
        targets: (N, T) int64, slots, END, padding.

    Raises:
        InputError: their numbers of instances differ.
    """

    points: Float[Tensor, "count n 2"]
    lengths: Int[Tensor, " counted"]
    targets: Int[Tensor, "answered steps"]

    def __post_init__(self) -> None:
        if not len(self.points) == len(self.lengths) == len(self.targets):
            raise InputError(f"there are {len(self.points)} sets of points, {len(self.lengths)} lengths and {len(self.targets)} answers")

    def __len__(self) -> int:
        """How many instances there are."""
        return len(self.points)

    def take(self, indices: Int[Tensor, " batch"]) -> Batch:
        """The instances of these numbers: `points` (B, n, 2), `lengths` (B,), `target` (B, T), no wider than the largest of them needs."""
        lengths, targets = self.lengths[indices], self.targets[indices]
        steps = int((targets != END).sum(dim=1).max()) + 1
        return {"points": self.points[indices, : int(lengths.max())], "lengths": lengths, "target": targets[:, :steps]}

    def rows(self, indices: Int[Tensor, " some"]) -> "PlanarData":
        """The instances of these numbers as data of their own."""
        return PlanarData(self.points[indices], self.lengths[indices], self.targets[indices])


def jitter(
    points: Float[Tensor, "batch n 2"], draws: torch.Generator, rows: Int[Tensor, " some"] | None = None, size: float = 1e-4
) -> Float[Tensor, "batch n 2"]:
    """Move every coordinate of the instances `rows` (all of them by default) by up to `size`, uniformly."""
    chosen = torch.arange(len(points)) if rows is None else rows
    moved = points.clone()
    moved[chosen] += size * (2 * torch.rand(points[chosen].shape, generator=draws, dtype=points.dtype) - 1)
    return moved


def label(
    problem: Problem | str, points: Float[Tensor, "count n 2"], lengths: Int[Tensor, " count"] | None = None, *, seed: int = 0
) -> PlanarData:
    """Points of your own with their answers; those whose answer is not unique are jittered until it is.

    Args:
        problem: one of `PROBLEMS`, or a problem with options of its own.
        points: (N, n, 2); rows of fewer points are padded at the end.
        lengths: (N,), how many points each row has; None where all have n.
        seed: of the jitter.

    Raises:
        InputError: an unknown problem, too few points, or a coordinate that is not finite.
    """
    if isinstance(problem, str):
        problem = PROBLEMS[choose("problem", problem, PROBLEMS)]
    if lengths is None:
        lengths = torch.full((len(points),), points.shape[1])
    draws = generator("jitter", seed)
    present = (torch.arange(points.shape[1]) < lengths[:, None])[..., None]
    points = points.float()
    while True:
        points = points.where(present, 0.0)
        try:
            return PlanarData(points, lengths, problem.targets(points, lengths))
        except DegenerateError as error:
            points = jitter(points, draws, error.rows)


def sample(problem: Problem | str, n: int | tuple[int, int], count: int, seed: int) -> PlanarData:
    """Draw instances uniformly from the unit square, and solve them.

    Args:
        problem: one of `PROBLEMS`, or a problem with options of its own.
        n: how many points: a number, or the ends of a range from which each instance draws its own uniformly.
        count: how many instances.
        seed: of all that is drawn. The points do not depend on the problem.

    Raises:
        InputError: an unknown problem, an empty range, or fewer points than the problem needs.
    """
    if isinstance(problem, str):
        problem = PROBLEMS[choose("problem", problem, PROBLEMS)]
    low, high = (n, n) if isinstance(n, int) else n
    if not problem.smallest <= low <= high:
        raise InputError(f"{problem.name} is drawn with {problem.smallest} or more points, the fewest first, not {low} to {high}")
    if count < 1:
        raise InputError(f"at least one instance must be drawn, not {count}")
    draws = generator("planar", seed)
    lengths = torch.randint(low, high + 1, (count,), generator=draws)
    return label(problem, torch.rand(count, high, 2, generator=draws), lengths, seed=seed)
