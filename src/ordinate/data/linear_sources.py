r"""Source tasks and a target that are linear, :math:`y = x^\top \theta_t + \sigma \varepsilon`, with coefficients that share a space of few dimensions; everything is known, so that plans and learners can be judged exactly.

Sample i of a task is a pure function of (seed, task, i): learners that buy different numbers of samples in a different order are given the same ones.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.ground.row_draws import row_normal, row_uniform
from ordinate.ground.seeds import generator

__all__ = ["TARGET", "LinearSources", "SourceSampler", "near_duplicates", "strong_and_weak"]

TARGET = -1
"""The number of the target among the tasks of a sampler."""


@dataclass(frozen=True)
class LinearSources:
    """T linear source tasks and a target.

    Attributes:
        name: what they are.
        sources: (T, d) coefficients.
        target: (d,) coefficients.
        rank: K, the dimensions that they share, or nearly share.
        noise: sigma.
        pool: (rows, d) inputs, drawn with replacement; None for standard normal ones.
    """

    name: str
    sources: Float64[Tensor, "tasks inputs"]
    target: Float64[Tensor, " inputs"]
    rank: int
    noise: float
    pool: Float64[Tensor, "rows inputs"] | None = None

    @property
    def covariance(self) -> Float64[Tensor, "inputs inputs"]:
        """The second moment of the inputs, (d, d)."""
        if self.pool is None:
            return torch.eye(len(self.target), dtype=torch.float64)
        return self.pool.mT @ self.pool / len(self.pool)

    def heads(self) -> tuple[Float64[Tensor, "features tasks"], Float64[Tensor, " features"]]:
        """The true heads of the sources (K, T) and the target (K,), on the K orthonormal directions that the sources' coefficients lie closest to."""
        basis = torch.linalg.svd(self.sources.mT, full_matrices=False).U[:, : self.rank]
        return basis.mT @ self.sources.mT, basis.mT @ self.target


class SourceSampler:
    """Samples of linear tasks, each new: `sampler(task, n) -> (X (n, d), y (n,))`, float64; task -1 is the target.

    Args:
        problem: the tasks.
        seed: of the samples.
    """

    def __init__(self, problem: LinearSources, seed: int) -> None:
        self.problem = problem
        self.seed = seed
        self.given = dict.fromkeys(range(-1, len(problem.sources)), 0)

    def __call__(self, task: int, n: int) -> tuple[Float64[Tensor, "samples inputs"], Float64[Tensor, " samples"]]:
        """The next n samples of a task.

        Raises:
            InputError: no such task, or a negative number.
        """
        if task not in self.given or n < 0:
            raise InputError(f"there is no task {task} to draw {n} samples of: there are {len(self.problem.sources)}, numbered from 0")
        rows = torch.arange(self.given[task], self.given[task] + n)
        self.given[task] += n
        pool, inputs = self.problem.pool, len(self.problem.target)
        if pool is None:
            X = row_normal(rows, inputs, self.seed, "inputs", task)
        else:
            X = pool[(row_uniform(rows, 1, self.seed, "inputs", task)[:, 0] * len(pool)).long()]
        coefficients = self.problem.target if task == TARGET else self.problem.sources[task]
        return X, X @ coefficients + self.problem.noise * row_normal(rows, 1, self.seed, "noise", task)[:, 0]


def strong_and_weak(
    seed: int, *, inputs: int = 30, rank: int = 4, tasks: int = 40, strong: int = 2, weak: float = 0.2, noise: float = 0.5
) -> LinearSources:
    """A few strong sources whose heads sum to the target's, among many weak ones; all in random directions.

    Args:
        seed: of the shared space and the directions.
        inputs: d.
        rank: K.
        tasks: T.
        strong: how many sources have heads of length 1.
        weak: length of the other sources' heads.
        noise: sigma.

    Raises:
        InputError: numbers out of range: at most `rank` strong sources, at most `inputs` features, more tasks than features.
    """
    if not 1 <= strong <= rank <= min(inputs, tasks):
        raise InputError(f"there are 1 <= strong <= rank <= inputs and tasks, not {strong}, {rank}, {inputs} and {tasks}")
    chance = generator(seed, "strong and weak")
    basis = torch.linalg.qr(torch.randn(inputs, rank, dtype=torch.float64, generator=chance)).Q
    heads = torch.randn(rank, tasks, dtype=torch.float64, generator=chance)
    heads = heads / heads.norm(dim=0)
    target = heads[:, :strong].sum(dim=1)
    heads[:, strong:] *= weak
    return LinearSources(f"{strong} strong sources of {tasks}", (basis @ heads).mT.contiguous(), basis @ target, rank, noise)


def near_duplicates(
    seed: int, *, inputs: int = 30, rank: int = 4, tasks: int = 40, weak: float = 0.2, spread: float = 0.1, noise: float = 0.5
) -> LinearSources:
    """As many strong sources as there are features, whose heads sum to the target's, among weak ones that all but repeat each other: each is the target's head, shortened, with a little of its own.

    The smallest 2-norm spreads over all repetitions, which together are as good as one source with a longer head; the smallest 1-norm has no use for them.

    Args:
        seed: of the shared space and the directions.
        inputs: d.
        rank: K, also the number of strong sources, whose heads are at right angles, of length 1.
        tasks: T.
        weak: length of the other sources' heads.
        spread: length of what is their own beside 1.
        noise: sigma.

    Raises:
        InputError: more features than inputs or tasks.
    """
    if not 1 <= rank <= min(inputs, tasks):
        raise InputError(f"there are 1 <= rank <= inputs and tasks, not {rank}, {inputs} and {tasks}")
    chance = generator(seed, "near duplicates")
    basis, turn = (torch.linalg.qr(torch.randn(rows, rank, dtype=torch.float64, generator=chance)).Q for rows in (inputs, rank))
    target = turn.sum(dim=1)
    own = torch.randn(rank, tasks - rank, dtype=torch.float64, generator=chance)
    repeated = target[:, None] / target.norm() + spread * own / own.norm(dim=0)
    heads = torch.cat([turn, weak * repeated / repeated.norm(dim=0)], dim=1)
    return LinearSources(f"{tasks - rank} near duplicates of {tasks}", (basis @ heads).mT.contiguous(), basis @ target, rank, noise)
