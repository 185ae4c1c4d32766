"""Which row of a table of fixed prototypes belongs to which class.

Whoever publishes models for others to start from fills the table from the front, and whoever fine-tunes them on classes of their own from the back: the two never meet in one table until it is full. A class keeps its row for ever; two
models share a space only if the classes that both know have the same rows.

Source: Biondi et al., "Stationary Representations: Optimally Approximating Compatibility and Implications for Improved Model Replacements", 2024, and its code (new classes are written from the end of the table).
"""

from collections.abc import Iterable, Mapping
from typing import Any

from ordinate.ground.errors import InputError, choose, some
from ordinate.nn.simplex import check_classes

__all__ = ["POOLS", "ClassAllocator"]

POOLS = ("front", "back")
Name = str | int


class ClassAllocator:
    """Places of classes in a table of K.

    Attributes:
        size: K.
        places: class -> row, in the order in which the classes came.
    """

    def __init__(self, size: int, places: Mapping[Name, int] | None = None) -> None:
        """
        Args:
            size: K.
            places: an explicit map to begin with.

        Raises:
            InputError: K below 2, or a map with a row twice or outside the table.
        """
        self.size = check_classes(size)
        self.places: dict[Name, int] = dict(places or {})
        rows = list(self.places.values())
        outside = [row for row in rows if not 0 <= row < size]
        if outside or len(set(rows)) != len(rows):
            raise InputError(f"each class has a row of its own between 0 and {size - 1}, and the map has {rows[:12]}")

    def __len__(self) -> int:
        return len(self.places)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, ClassAllocator) and (self.size, self.places) == (other.size, other.places)

    __hash__ = None  # type: ignore[assignment]  # it grows

    @property
    def free(self) -> int:
        """How many rows no class has."""
        return self.size - len(self.places)

    def allocate(self, classes: Iterable[Name], pool: str = "back") -> list[int]:
        """The rows of classes; those without one get the next free row from the front (0, 1, ...) or from the back (K - 1, K - 2, ...), in their order.

        Args:
            classes: names or numbers.
            pool: ``"front"`` or ``"back"``.

        Raises:
            InputError: more new classes than free rows (nothing is allocated then), or an unknown pool.
        """
        choose("pool", pool, POOLS)
        wanted = list(classes)
        new = [name for name in dict.fromkeys(wanted) if name not in self.places]
        if len(new) > self.free:
            raise InputError(f"the table of {self.size} prototypes is full: {len(new)} classes are new, and {self.free} rows are free")
        taken = set(self.places.values())
        rows = (row for row in (range(self.size) if pool == "front" else reversed(range(self.size))) if row not in taken)
        self.places |= dict(zip(new, rows, strict=False))
        return [self.places[name] for name in wanted]

    def differs(self, other: "ClassAllocator") -> str | None:
        """What keeps models of the two from sharing a space, in one line: another K, a class with another row, or a row with another class. None where nothing does."""
        if self.size != other.size:
            return f"tables of {self.size} and {other.size} classes"
        moved = [name for name, row in self.places.items() if other.places.get(name, row) != row]
        if moved:
            return f"other prototypes for class {some([str(name) for name in moved])}"
        owners = {row: name for name, row in self.places.items()}
        shared = [f"{owners[row]} and {name}" for name, row in other.places.items() if owners.get(row, name) != name]
        return f"one prototype for the classes {some(shared)}" if shared else None

    def to_json(self) -> dict[str, Any]:
        """K and the map as JSON values; pairs, since JSON has no whole numbers as keys."""
        return {"size": self.size, "places": [[name, row] for name, row in self.places.items()]}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "ClassAllocator":
        """The inverse of `to_json`."""
        return cls(document["size"], dict(document["places"]))
