r"""Star models: one variable that all others depend on, and nothing else between them.

.. math:: p(y_0, \dots, y_n) = p(y_0) \prod_{j=1}^{n} p_j(y_j \mid y_0), \qquad y_j \in \{0, \dots, K-1\}.

Emitted head first, each variable depends on one symbol seen; head last, every variable depends on all that came before it, through what they say about a head that is still to come. All tables have logits
:math:`\kappa\, \mathcal N(0, 1)`: the larger :math:`\kappa`, the peakier. The exact likelihood is at hand, so that a learnt model's gap to the true one can be measured.

Source: Vinyals, Bengio, Kudlur, Order Matters: Sequence to sequence for sets (ICLR 2016), section 5.1.4 (how tables were drawn is not said).
"""

from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator

__all__ = ["StarModel"]


@dataclass(frozen=True)
class StarModel:
    """A star with tables of its own.

    Attributes:
        n_vars: how many variables there are, the head among them.
        values: K, how many values each can take.
        peakiness: kappa.
        seed: of the tables.
        head: (K,), log p(y_0).
        tables: (n_vars - 1, K, K), log p_j(y_j | y_0), the head's value first.

    Raises:
        InputError: fewer than 2 variables or values, or a negative peakiness.
    """

    n_vars: int
    values: int = 10
    peakiness: float = 1.5
    seed: int = 0
    head: Float[Tensor, " values"] = field(init=False, compare=False, repr=False)
    tables: Float[Tensor, "leaves values values"] = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        if self.n_vars < 2 or self.values < 2 or self.peakiness < 0:
            raise InputError(
                f"a star has 2 or more variables and values and a peakiness of 0 or more, not {self.n_vars}, {self.values} and {self.peakiness}"
            )
        draws = generator("star", self.seed)
        head = self.peakiness * torch.randn(self.values, generator=draws, dtype=torch.float64)
        tables = self.peakiness * torch.randn(self.n_vars - 1, self.values, self.values, generator=draws, dtype=torch.float64)
        object.__setattr__(self, "head", head.log_softmax(dim=-1))
        object.__setattr__(self, "tables", tables.log_softmax(dim=-1))

    def sample(self, count: int, draws: torch.Generator) -> Int64[Tensor, "count n_vars"]:
        """Assignments (count, n_vars), the head in column 0."""
        head = torch.multinomial(self.head.exp(), count, replacement=True, generator=draws)
        leaves = [torch.multinomial(table.exp()[head], 1, generator=draws) for table in self.tables]
        return torch.cat((head[:, None], *leaves), dim=1)

    def log_prob(self, assignments: Int64[Tensor, "count n_vars"]) -> Float[Tensor, " count"]:
        """Their exact log-probabilities (count,), in nats, double precision.

        Raises:
            InputError: another number of variables, or a value that there is not.
        """
        self._check(assignments)
        head, leaves = assignments[:, 0], assignments[:, 1:]
        given = self.tables[torch.arange(self.n_vars - 1), head[:, None], leaves]
        return self.head[head] + given.sum(dim=1)

    def symbols(self, assignments: Int64[Tensor, "count n_vars"], head: str = "first") -> Int64[Tensor, "count n_vars"]:
        """Assignments as sequences of symbols: variable j with value v is j K + v.

        Args:
            assignments: (count, n_vars).
            head: where it stands, ``"first"`` or ``"last"``; the leaves keep their order.

        Raises:
            InputError: as for `log_prob`, or another place.
        """
        self._check(assignments)
        choose("place of the head", head, ("first", "last"))
        named = assignments + self.values * torch.arange(self.n_vars)
        return named if head == "first" else named.roll(-1, dims=1)

    def _check(self, assignments: Tensor) -> None:
        if assignments.ndim != 2 or assignments.shape[1] != self.n_vars:
            raise InputError(f"assignments are (count, {self.n_vars}), not {tuple(assignments.shape)}")
        if assignments.numel() and not 0 <= int(assignments.min()) <= int(assignments.max()) < self.values:
            raise InputError(f"values are numbered from 0 to {self.values - 1}")
