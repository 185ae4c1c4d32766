"""The contract of what is behind an index: where its vectors are, and how a shortlist is found among them."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import NamedTuple

from jaxtyping import Float, Int
from torch import Tensor

__all__ = ["Ranked", "VectorStore"]


class Ranked(NamedTuple):
    """What was found: scores (Q, k) float32, descending, and rows (Q, k) int64. There are always k."""

    scores: Float[Tensor, "queries k"]
    rows: Int[Tensor, "queries k"]


class VectorStore(ABC):
    """Vectors with names, searched at one size or by a shortlist at a small one that is sorted again at a large one.

    Attributes:
        dims: the nested sizes, ascending, the last the width.
        metric: ``"cosine"`` or ``"l2"``.
    """

    dims: tuple[int, ...]
    metric: str

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def search(self, queries: Float[Tensor, "queries dim"], k: int, shortlist_dim: int, rerank_dim: int, shortlist: int) -> Ranked:
        """The k best rows of every query.

        Args:
            queries: (Q, m), at least as wide as both sizes; float32.
            k: at most the number of rows.
            shortlist_dim: the size at which a shortlist is found.
            rerank_dim: the size at which it is sorted; where it is the same, one search gives the k best.
            shortlist: its length, between k and the number of rows.

        Raises:
            InputError: a size that cannot be searched here.
        """

    @abstractmethod
    def vectors(self, rows: Sequence[int]) -> Float[Tensor, "rows width"]:
        """The vectors of some rows."""

    @abstractmethod
    def ids(self, rows: Sequence[int]) -> list[str]:
        """Their ids."""

    @abstractmethod
    def labels(self, rows: Sequence[int]) -> list[str] | None:
        """Their labels, or None where there are none."""

    @abstractmethod
    def row_of(self, name: str) -> int | None:
        """The row with an id, or None."""

    @abstractmethod
    def close(self) -> None:
        """Let go of what is open."""
