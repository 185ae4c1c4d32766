"""What space a vector lies in. Vectors can be compared where their fingerprints are equal, or where a comparison across two of them has been checked and recorded; everywhere else a distance is a number without meaning.

A space is made by a network's weights and by how inputs are prepared for it; where the directions of classes are fixed before training, their table is named too, since models that share it may share a space.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from ordinate.ground.errors import InputError
from ordinate.nn.nested_head import check_dims

__all__ = ["Fingerprint"]


@dataclass(frozen=True)
class Fingerprint:
    """Of the model that made some vectors.

    Attributes:
        width: of the vectors.
        dims: the sizes at which a prefix is an embedding too, ascending, the last the width; the width alone where the embedding is not nested.
        weights: a hash of the weights, and of how inputs are prepared.
        prototypes: a hash of the fixed table of class directions that the model was trained against, or None.
        kind: of inputs: ``"image"``, ``"text"``, ``"numbers"``, ...

    Raises:
        InputError: sizes that are not a nesting of the width.
    """

    width: int
    dims: tuple[int, ...]
    weights: str
    prototypes: str | None
    kind: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "dims", check_dims(self.dims, self.width))

    @property
    def word(self) -> str:
        """All of it as 16 hexadecimal digits."""
        return hashlib.blake2b(json.dumps(self.to_json(), sort_keys=True).encode(), digest_size=8).hexdigest()

    def shortened(self, width: int) -> "Fingerprint":
        """Of the same vectors, cut to their first `width` dimensions.

        Raises:
            InputError: a width below 1 or above this one.
        """
        if not 1 <= width <= self.width:
            raise InputError(f"vectors that are {self.width} wide cannot be shortened to {width}")
        return replace(self, width=width, dims=(*(size for size in self.dims if size < width), width))

    def difference(self, other: "Fingerprint") -> str | None:
        """Why vectors of `other` do not lie in this space, in a few words; None where they do."""
        if other == self:
            return None
        if other.kind != self.kind:
            return f"they are of {other.kind}, not {self.kind}"
        if other.width != self.width:
            return f"they are {other.width} wide, not {self.width}"
        if other.prototypes != self.prototypes:
            return "they were trained against another table of class directions"
        return f"another model made them ({other.word} instead of {self.word})"

    def to_json(self) -> dict[str, Any]:
        """As JSON values."""
        return {**asdict(self), "dims": list(self.dims)}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> "Fingerprint":
        """Out of JSON values.

        Raises:
            InputError: something is lacking, or of another type.
        """
        try:
            width, dims = int(document["width"]), tuple(int(size) for size in document["dims"])
            weights, prototypes, kind = document["weights"], document["prototypes"], document["kind"]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(f"a fingerprint is damaged ({type(error).__name__}: {error}): write the file anew") from None
        if not isinstance(weights, str) or not isinstance(kind, str) or not isinstance(prototypes, str | None):
            raise InputError("a fingerprint is damaged (a hash that is no text): write the file anew")
        return cls(width, dims, weights, prototypes, kind)
