"""What a client asks, out of JSON or a picture's bytes; and the JSON Schema that says the same to machines.

A request in JSON is an object with one of the keys ``images`` (base64), ``texts`` or ``vectors``, each a list, beside the options. Checks are made in the order of their cost, and the first that fails is the message:
lengths before types, types before values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float32
from pydantic_core import from_json
from torch import Tensor

from ordinate.ground.errors import some
from ordinate.retrieve.server.limits import Limits
from ordinate.retrieve.server.picture import check_picture, from_base64
from ordinate.retrieve.server.refusal import Refused

__all__ = ["OPTIONS", "Options", "Query", "Rules", "json_query", "picture_query", "query_schema"]

_LARGEST = 1e15
"""Of a vector's values: squares of larger ones leave float32 when they are summed."""
_FINGERPRINT_LENGTH = 200


@dataclass(frozen=True)
class Rules:
    """What may be asked of a server.

    Attributes:
        kind: of the encoder's inputs.
        width: of the index's vectors.
        limits: the server's.
    """

    kind: str
    width: int
    limits: Limits

    @property
    def inputs(self) -> str:
        """The key under which the encoder's inputs stand: ``"images"`` or ``"texts"``."""
        return "images" if self.kind == "image" else "texts"


@dataclass(frozen=True)
class Options:
    """How a search or an embedding is done; None is the default.

    Attributes:
        k: neighbours a query.
        shortlist_dim, rerank_dim: the sizes at which a shortlist is found, and sorted again.
        shortlist: its length.
        fingerprint: of the model that made the vectors that are searched for.
        dim: of an embedding, the size to which it is shortened.
    """

    k: int | None = None
    shortlist_dim: int | None = None
    rerank_dim: int | None = None
    shortlist: int | None = None
    fingerprint: str | None = None
    dim: int | None = None


OPTIONS = {"/search": ("k", "shortlist_dim", "rerank_dim", "shortlist", "fingerprint"), "/embed": ("dim",)}
"""Which options each path takes."""


@dataclass(frozen=True)
class Query:
    """One request.

    Attributes:
        inputs: files of pictures or texts, to be encoded; None where vectors were given.
        vectors: (Q, width) float32, or None.
        options: the request's.
    """

    inputs: Sequence[Any] | None
    vectors: Float32[Tensor, "queries width"] | None
    options: Options

    def __len__(self) -> int:
        found = self.inputs if self.inputs is not None else self.vectors
        return 0 if found is None else len(found)


def picture_query(file: bytes, rules: Rules, options: Options) -> Query:
    """A picture's own bytes as a query.

    Raises:
        Refused: the encoder takes no pictures, or this is none.
    """
    if rules.kind != "image":
        raise Refused(415, f"this model embeds {rules.kind}, not pictures: send JSON")
    check_picture(file, rules.limits.pixels, "the picture")
    return Query([file], None, options)


def json_query(body: bytes, rules: Rules, path: str, options: Options) -> Query:
    """A query out of JSON.

    Args:
        body: the request's.
        rules: what may be asked.
        path: ``"/search"`` or ``"/embed"``.
        options: those of the address; the body's own count more.

    Raises:
        Refused: 400 for what is not JSON, 413 for a picture of too many pixels, 422 for everything else that is wrong.
    """
    try:
        document = from_json(body, allow_inf_nan=False)
    except (ValueError, RecursionError) as error:
        raise Refused(400, f"the body is not JSON: {_short(str(error))}") from None
    if not isinstance(document, dict):
        raise Refused(422, f"the body must be an object such as {{{_example(rules, path)}}}")
    contents = _contents(rules, path)
    unknown = [key for key in document if key not in (*contents, *OPTIONS[path])]
    if unknown:
        raise Refused(
            422, f"unknown keys: {some([_short(repr(key)) for key in unknown], 3)}; known are {', '.join((*contents, *OPTIONS[path]))}"
        )
    given = [key for key in contents if key in document]
    if len(given) != 1:
        raise Refused(422, f"give {'one of ' if len(contents) > 1 else ''}{' or '.join(contents)}, such as {{{_example(rules, path)}}}")
    key, rows = given[0], document[given[0]]
    if not isinstance(rows, list) or not rows:
        raise Refused(422, f"{key} must be a list with at least one item")
    if len(rows) > rules.limits.rows:
        raise Refused(422, f"{len(rows):,} {key} in one request: {rules.limits.rows} are taken")
    options = _options(document, rules, path, options)
    if key == "vectors":
        return Query(None, _vectors(rows, rules.width), options)
    for number, row in enumerate(rows):
        if not isinstance(row, str):
            raise Refused(422, f"{key}[{number}] must be {'a picture in base64' if key == 'images' else 'a text'}")
    return Query(_pictures(rows, rules) if key == "images" else _texts(rows, rules), None, options)


def _contents(rules: Rules, path: str) -> tuple[str, ...]:
    return (rules.inputs, "vectors") if path == "/search" else (rules.inputs,)


def _example(rules: Rules, path: str) -> str:
    return '"images": ["<base64>"]' if rules.inputs == "images" else '"texts": ["..."]'


def _pictures(rows: Sequence[str], rules: Rules) -> list[bytes]:
    files = []
    for number, row in enumerate(rows):
        file = from_base64(row, f"images[{number}]")
        check_picture(file, rules.limits.pixels, f"images[{number}]")
        files.append(file)
    return files


def _texts(rows: Sequence[str], rules: Rules) -> list[str]:
    for number, row in enumerate(rows):
        if not row.strip():
            raise Refused(422, f"texts[{number}] is empty")
        if len(row) > rules.limits.text:
            raise Refused(422, f"texts[{number}] has {len(row):,} characters: {rules.limits.text:,} are taken")
    return list(rows)


def _vectors(rows: Sequence[Any], width: int) -> Tensor:
    for number, row in enumerate(rows):
        if not isinstance(row, list):
            raise Refused(422, f"vectors[{number}] must be a list of {width} numbers")
        if len(row) != width:
            raise Refused(422, f"vectors[{number}] has {len(row):,} numbers: the index holds vectors of {width}")
        for place, value in enumerate(row):
            if type(value) is not float and type(value) is not int:
                raise Refused(422, f"vectors[{number}][{place}] is not a number")
            if not -_LARGEST <= value <= _LARGEST:
                raise Refused(422, f"vectors[{number}][{place}] must lie between -1e15 and 1e15")
    return torch.tensor(rows, dtype=torch.float32)


def _options(document: Mapping[str, Any], rules: Rules, path: str, given: Options) -> Options:
    found: dict[str, Any] = {}
    for name in OPTIONS[path]:
        value = document.get(name)
        if value is None:
            found[name] = getattr(given, name)
        elif name == "fingerprint":
            if not isinstance(value, str) or not 0 < len(value) <= _FINGERPRINT_LENGTH:
                raise Refused(422, f"fingerprint must be a text of at most {_FINGERPRINT_LENGTH} characters")
            found[name] = value
        else:
            most = option_bounds(rules)[name]
            # JSON knows one kind of number: 2.0 is whole
            if type(value) not in (int, float) or value != int(value) or not 1 <= value <= most:
                raise Refused(422, f"{name} must be a whole number between 1 and {most:,}")
            found[name] = int(value)
    return Options(**found)


def option_bounds(rules: Rules) -> dict[str, int]:
    """The largest value of each option that is a number; the smallest is 1."""
    sizes = dict.fromkeys(("shortlist_dim", "rerank_dim", "dim"), rules.width)
    return {"k": rules.limits.results, "shortlist": 10 * rules.limits.results, **sizes}


def _short(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 80 else text[:77] + "..."


def query_schema(rules: Rules, path: str) -> dict[str, Any]:
    """The JSON Schema of a request's body."""
    number = {"type": "number", "minimum": -_LARGEST, "maximum": _LARGEST}
    items: dict[str, dict[str, Any]] = {
        "images": {"type": "string", "format": "picture-base64", "description": "A picture file in base64, or a data URL."},
        "texts": {"type": "string", "minLength": 1, "maxLength": rules.limits.text, "pattern": r"\S"},
        "vectors": {"type": "array", "items": number, "minItems": rules.width, "maxItems": rules.width},
    }
    return {
        "oneOf": [
            {
                "type": "object",
                "title": key,
                "properties": {
                    key: {"type": "array", "items": items[key], "minItems": 1, "maxItems": rules.limits.rows},
                    **_option_schemas(rules, path),
                },
                "required": [key],
                "additionalProperties": False,
            }
            for key in _contents(rules, path)
        ]
    }


_MEANINGS = {
    "k": "Neighbours of each query; fewer where the index is smaller. 10 by default.",
    "shortlist_dim": "The size at which a shortlist is found; the smallest of the index by default. At the size of the reranking there is no shortlist, but one search at that size.",
    "rerank_dim": "The size at which the shortlist is sorted again; the full size by default.",
    "shortlist": "The length of the shortlist, 200 by default; never less than k.",
    "fingerprint": "Of the model that made the vectors, as /embed says it: vectors of another space are then refused.",
    "dim": "The size to which each embedding is shortened, and scaled to unit length anew.",
}


def _option_schemas(rules: Rules, path: str) -> dict[str, dict[str, Any]]:
    bounds = option_bounds(rules)
    return {
        name: {
            "description": _MEANINGS[name],
            **(
                {"type": "string", "minLength": 1, "maxLength": _FINGERPRINT_LENGTH}
                if name == "fingerprint"
                else {"type": "integer", "minimum": 1, "maximum": bounds[name]}
            ),
        }
        for name in OPTIONS[path]
    }
