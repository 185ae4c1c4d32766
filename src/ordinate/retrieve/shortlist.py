"""The contract of a shortlist: the nearest of the smallest prefixes of an index, out of a file beside its vectors."""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from ordinate.retrieve.vector_files import VectorFiles

__all__ = ["Shortlist"]


class Shortlist(ABC):
    """Opened from a folder that `build` wrote to: `Kind(folder, facts)`.

    Attributes:
        rows: how many prefixes there are.
        dim: their width.
    """

    rows: int
    dim: int

    @classmethod
    @abstractmethod
    def build(cls, folder: Path, files: VectorFiles, dim: int) -> dict[str, Any]:
        """Write what is needed.

        Args:
            folder: where `files` lie.
            files: the vectors.
            dim: the width of the prefixes.

        Returns:
            What is to be kept until it is opened, as JSON values.

        Raises:
            MissingError: what it is built with is not installed.
        """

    @abstractmethod
    def __init__(self, folder: Path, facts: dict[str, Any]) -> None:
        """
        Args:
            folder: what `build` wrote to.
            facts: what it returned.

        Raises:
            InputError: a file is damaged.
            MissingError: what it is searched with is not installed.
        """

    @abstractmethod
    def nearest(self, queries: Float[Tensor, "queries dim"], count: int) -> Int[Tensor, "queries count"]:
        """The `count` nearest rows of every prepared query, int64; -1 for those that were not found."""
