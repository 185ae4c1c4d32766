r"""Data with a latent variable between inputs and labels: four problems whose best predictors are known.

Inputs x are observed, a latent z is not, and the label y depends on z alone.

- `FactorProblem`: :math:`x = B z + \mu`, :math:`z \sim \mathcal N(0, I_r)`, :math:`\mu \sim \mathcal N(0, I_d)`; :math:`y = \beta^\top z + \nu`, :math:`\nu \sim \mathcal N(0, \varepsilon^2)`. The best predictor is
  linear, :math:`c^\star = (B B^\top + I)^{-1} B \beta`.
- `MixtureProblem`: z is one of K components alike in weight, :math:`x \mid z = k \sim \mathcal N(u_k, I_d)`; y is the class of the component, and with some chance another one.
- `PairsProblem`: x and x' are independent :math:`\mathcal N(0, I_d)`, a sign s is 1 with chance :math:`\sigma(\langle \Theta x, \Theta x' \rangle)`; :math:`z = \Theta x + \mu`, :math:`\mu \sim \mathcal N(0, I_r)`, and
  :math:`y = \beta^\top z + \nu`. The best predictor is :math:`c^\star = \Theta^\top \beta`.
- `CubeProblem`: x is uniform on :math:`\{-1, 1\}^d` and z is one of its coordinates. The distribution of x does not tell which: unlabelled rows are worth nothing.

Source: Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024): the models of factors, mixtures and contrastive learning. The sizes of signals and the cube are ours.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float64, Int64
from torch import Generator, Tensor

from ordinate.ground.errors import InputError

__all__ = ["CubeProblem", "FactorProblem", "MixtureProblem", "PairsProblem"]


def _normal(*shape: int, generator: Generator) -> Float64[Tensor, "*shape"]:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def _direction(size: int, length: float, generator: Generator) -> Float64[Tensor, " size"]:
    found = _normal(size, generator=generator)
    return length * found / found.norm()


def _orthonormal(rows: int, columns: int, generator: Generator) -> Float64[Tensor, "rows columns"]:
    return torch.linalg.qr(_normal(rows, columns, generator=generator)).Q


@dataclass(frozen=True)
class FactorProblem:
    """Few Gaussian factors behind many coordinates, and a label that is linear in the factors.

    Attributes:
        loadings: B, (d, r).
        beta: (r,).
        noise: the standard deviation of the label's own noise.
    """

    loadings: Float64[Tensor, "d r"]
    beta: Float64[Tensor, " r"]
    noise: float

    @classmethod
    def draw(cls, d: int, singular: Sequence[float], generator: Generator, *, beta: float = 2**0.5, noise: float = 0.5) -> "FactorProblem":
        """Loadings with given singular values in random directions.

        Args:
            d: coordinates.
            singular: the singular values of B, one a factor.
            generator: of the directions.
            beta: the length of the label's coefficients, whose direction is random.
            noise: the standard deviation of the label's own noise.

        Raises:
            InputError: as many factors as coordinates or more, or a value that is not positive.
        """
        if not 0 < len(singular) < d or min(singular) <= 0:
            raise InputError(f"a factor problem has 1 to {d - 1} factors of positive size in {d} coordinates, not {list(singular)}")
        r = len(singular)
        left, right = _orthonormal(d, r, generator), _orthonormal(r, r, generator)
        return cls(left * torch.tensor(singular, dtype=torch.float64) @ right.mT, _direction(r, beta, generator), noise)

    @property
    def covariance(self) -> Float64[Tensor, "d d"]:
        """Of x."""
        return self.loadings @ self.loadings.mT + torch.eye(len(self.loadings), dtype=torch.float64)

    @property
    def best(self) -> Float64[Tensor, " d"]:
        """The coefficients of the best predictor of y from x."""
        return torch.linalg.solve(self.covariance, self.loadings @ self.beta)

    def inputs(self, count: int, generator: Generator) -> Float64[Tensor, "count d"]:
        """Unlabelled rows."""
        return self.sample(count, generator)[0]

    def sample(self, count: int, generator: Generator) -> tuple[Float64[Tensor, "count d"], Float64[Tensor, " count"]]:
        """Rows and their labels."""
        z = _normal(count, len(self.beta), generator=generator)
        x = torch.addmm(_normal(count, len(self.loadings), generator=generator), z, self.loadings.mT)
        return x, z @ self.beta + self.noise * _normal(count, generator=generator)


@dataclass(frozen=True)
class MixtureProblem:
    """Gaussian components of unit covariance and equal weight, each with a class.

    Attributes:
        centres: (K, d).
        table: the class of every component, (K,).
        classes: how many there are.
        flips: the chance that a label is another class than the component's, each of the others alike.
    """

    centres: Float64[Tensor, "components d"]
    table: Int64[Tensor, " components"]
    classes: int
    flips: float

    @classmethod
    def draw(
        cls, d: int, components: int, classes: int, generator: Generator, *, separation: float = 5.0, flips: float = 0.1
    ) -> "MixtureProblem":
        """Random centres whose nearest two are `separation` apart, and a table that uses every class.

        Raises:
            InputError: fewer than two classes, fewer components than classes, a separation that is not positive, or flips so many that the component's class is not the likeliest.
        """
        if not 2 <= classes <= components or d < 1 or separation <= 0:
            raise InputError(
                f"a mixture problem needs 2 classes or more, as many components at least, and separation above 0, not {classes}, {components}, {separation}"
            )
        if not 0 <= flips < (classes - 1) / classes:
            raise InputError(f"flips must be below {(classes - 1) / classes:.3g} for {classes} classes, not {flips}")
        centres = _normal(components, d, generator=generator)
        table = torch.arange(components)[torch.randperm(components, generator=generator)] % classes
        return cls(centres * separation / torch.pdist(centres).min(), table, classes, flips)

    def inputs(self, count: int, generator: Generator) -> Float64[Tensor, "count d"]:
        """Unlabelled rows."""
        return self.sample(count, generator)[0]

    def sample(self, count: int, generator: Generator) -> tuple[Float64[Tensor, "count d"], Int64[Tensor, " count"]]:
        """Rows and their labels."""
        z = torch.randint(len(self.centres), (count,), generator=generator)
        x = self.centres[z] + _normal(count, self.centres.shape[1], generator=generator)
        moved = torch.rand(count, generator=generator) < self.flips
        others = torch.randint(1, self.classes, (count,), generator=generator)
        return x, torch.where(moved, (self.table[z] + others) % self.classes, self.table[z])

    def posterior(self, x: Float64[Tensor, "rows d"]) -> Float64[Tensor, "rows components"]:
        """The probability of every component, given x."""
        return (x @ self.centres.mT - self.centres.square().sum(dim=1) / 2).softmax(dim=1)

    def probabilities(self, x: Float64[Tensor, "rows d"]) -> Float64[Tensor, "rows classes"]:
        """The probability of every class, given x."""
        likely = torch.full((len(self.centres), self.classes), self.flips / (self.classes - 1), dtype=torch.float64)
        likely[torch.arange(len(self.centres)), self.table] = 1 - self.flips
        return self.posterior(x) @ likely


@dataclass(frozen=True)
class PairsProblem:
    """Pairs of inputs with a sign that tells whether few linear features of them agree, and a label that is linear in noisy features.

    Attributes:
        theta: (r, d).
        beta: (r,).
        noise: the standard deviation of the label's own noise.
    """

    theta: Float64[Tensor, "r d"]
    beta: Float64[Tensor, " r"]
    noise: float

    @classmethod
    def draw(cls, d: int, r: int, generator: Generator, *, signal: float = 1.2, beta: float = 1.8, noise: float = 0.5) -> "PairsProblem":
        """Features in random orthogonal directions, each of length `signal`.

        Raises:
            InputError: as many features as coordinates or more, or a signal that is not positive.
        """
        if not 0 < r < d or signal <= 0:
            raise InputError(f"a problem of pairs has 1 to {d - 1} features in {d} coordinates and a signal above 0, not {r} and {signal}")
        return cls(signal * _orthonormal(d, r, generator).mT.contiguous(), _direction(r, beta, generator), noise)

    @property
    def covariance(self) -> Float64[Tensor, "d d"]:
        """Of x."""
        return torch.eye(self.theta.shape[1], dtype=torch.float64)

    @property
    def best(self) -> Float64[Tensor, " d"]:
        """The coefficients of the best predictor of y from x."""
        return self.theta.mT @ self.beta

    def pairs(
        self, count: int, generator: Generator
    ) -> tuple[Float64[Tensor, "count d"], Float64[Tensor, "count d"], Float64[Tensor, " count"]]:
        """Pairs and their signs, 0 or 1."""
        first, second = (_normal(count, self.theta.shape[1], generator=generator) for _ in range(2))
        agree = ((first @ self.theta.mT) * (second @ self.theta.mT)).sum(dim=1)
        return first, second, (torch.rand(count, generator=generator, dtype=torch.float64) < agree.sigmoid()).double()

    def sample(self, count: int, generator: Generator) -> tuple[Float64[Tensor, "count d"], Float64[Tensor, " count"]]:
        """Rows and their labels."""
        x = _normal(count, self.theta.shape[1], generator=generator)
        z = x @ self.theta.mT + _normal(count, len(self.beta), generator=generator)
        return x, z @ self.beta + self.noise * _normal(count, generator=generator)


@dataclass(frozen=True)
class CubeProblem:
    """Corners of a cube; the label is one coordinate, and nothing about the inputs says which.

    Attributes:
        d: coordinates.
        index: the one that matters.
        flips: the chance that a label is the other one.
    """

    d: int
    index: int
    flips: float = 0.1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.d or not 0 <= self.flips < 0.5:
            raise InputError(f"a cube has coordinates 0 to {self.d - 1} and flips below 0.5, not {self.index} and {self.flips}")

    def inputs(self, count: int, generator: Generator) -> Float64[Tensor, "count d"]:
        """Unlabelled rows."""
        return self.sample(count, generator)[0]

    def sample(self, count: int, generator: Generator) -> tuple[Float64[Tensor, "count d"], Int64[Tensor, " count"]]:
        """Rows and their labels, 0 or 1."""
        x = 2.0 * torch.randint(2, (count, self.d), generator=generator, dtype=torch.float64) - 1
        flipped = torch.rand(count, generator=generator) < self.flips
        return x, (x[:, self.index] > 0).long() ^ flipped.long()

    def probabilities(self, x: Float64[Tensor, "rows d"]) -> Float64[Tensor, "rows 2"]:
        """The probability of both labels, given x."""
        one = torch.where(x[:, self.index] > 0, 1 - self.flips, self.flips)
        return torch.stack([1 - one, one], dim=1).double()
