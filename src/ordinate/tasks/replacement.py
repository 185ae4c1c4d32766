"""Whether a new model may take over the queries of an index whose vectors an older one made, and stay.

The vectors stay as they are: nothing is embedded again but the queries to come. That is right only where the new model's queries find the old model's vectors as well as the old model's queries do, which is checked on held-out
inputs with labels: half of each class are queries, embedded by both models, and the other half a gallery, embedded by the old one; see `ordinate.analyze.compatibility`. What can be known without any numbers comes first: another
kind of inputs, another width, another table of fixed class directions, or a class that has another direction in the two models.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from safetensors.torch import load_file
from torch import Tensor

from ordinate.analyze.compatibility import CompatibilityReport, compatibility_report
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.objectives.matryoshka import truncate
from ordinate.retrieve.fingerprint import Fingerprint
from ordinate.retrieve.stored_index import StoredIndex
from ordinate.tasks.run_encoder import Encoder, Inputs, load_encoder
from ordinate.tasks.training_run import load_run

__all__ = ["Replacement", "halves", "judge_replacement"]

_AT_ONCE = 128
_BLOCKS = 32  # 2048 queries against 2048 rows give means to the third digit


@dataclass(frozen=True)
class Replacement:
    """A new model, and what its queries are worth in the index.

    Attributes:
        fingerprint: of the new model's vectors, cut to the width of the index.
        report: on held-out inputs.
        queries, gallery: how many inputs were either.
    """

    fingerprint: Fingerprint
    report: CompatibilityReport
    queries: int
    gallery: int


def judge_replacement(
    index: StoredIndex, run: Path, data: str | None = None, *, old: Path | None = None, device: str = "cpu", seed: int = 0
) -> Replacement:
    """Compare the model of `run` with the one that made the vectors of `index`.

    Args:
        index: what is to be searched.
        run: the new model's run folder.
        data: held-out inputs with labels, a name or a path; of a named dataset its test rows are taken. None is the data that the new model was trained on, if that is a named dataset.
        old: the run folder of the model that made the vectors; None is where the index says that it was.
        device: where both are computed.
        seed: of the halves.

    Raises:
        InputError: an index or run that is none, models that cannot share an index whatever the numbers say, or data without labels or held-out rows.
        MissingError: the data is not at hand.
    """
    ours = index.fingerprint
    if ours is None:
        raise InputError(
            f"the index in {index.path} does not say which model made its vectors: make it again with ordinate index ... --run RUN"
        )
    encoder = load_encoder(run, device)
    theirs = encoder.fingerprint
    if theirs.kind != ours.kind:
        raise InputError(
            f"{run} cannot take over the queries of {index.path}: it embeds inputs of the kind {theirs.kind}, and the index is of {ours.kind}"
        )
    made = _old_encoder(index, old, device)
    if theirs.width != made.fingerprint.width:
        raise InputError(
            f"{run} cannot take over the queries of {index.path}: its vectors are {theirs.width} wide, and those of the index's model {made.fingerprint.width}"
        )
    if theirs.prototypes != ours.prototypes:
        words = {(True, False): "has none", (False, True): "has one"}.get(
            (theirs.prototypes is None, ours.prototypes is None), "has another"
        )
        raise InputError(
            f"{run} cannot take over the queries of {index.path}: the model of the index was trained against "
            f"{'no' if ours.prototypes is None else 'a'} table of fixed class directions, and the new one {words}"
        )
    _check_classes(made, encoder)
    named = data if data is not None else _trained_on(run)
    inputs = encoder.open(named)
    blocks = _held_out(inputs)
    if inputs.labels is None:
        raise InputError(f"{named} has no labels: held-out inputs are a named dataset, or a folder with one subfolder a class")
    labels = _numbered([inputs.labels[row] for block in blocks for row in block])
    queries, gallery = halves(labels, seed)
    new = _embedded(encoder, inputs, blocks, index.width)
    before = _embedded(made, made.open(named), blocks, index.width)
    report = compatibility_report(new[queries], before[queries], before[gallery], labels[queries], labels[gallery])
    return Replacement(_cut(theirs, index.width), report, len(queries), len(gallery))


def halves(labels: Int64[Tensor, " rows"], seed: int) -> tuple[Int64[Tensor, " queries"], Int64[Tensor, " gallery"]]:
    """Row numbers of queries and of a gallery: half of each class each, at random. A class with a single row is left out.

    Raises:
        InputError: fewer than two classes have two rows.
    """
    order = torch.randperm(len(labels), generator=generator(seed, "held-out"))
    order = order[labels[order].argsort(stable=True)]
    found = labels[order]
    first = torch.searchsorted(found, found)  # where each class begins
    kept = torch.searchsorted(found, found, right=True) - first > 1
    if len(found[kept].unique()) < 2:
        raise InputError("held-out inputs must be of two classes or more, with two inputs or more each")
    even = (torch.arange(len(found)) - first) % 2 == 0
    return order[kept & even], order[kept & ~even]


def _old_encoder(index: StoredIndex, old: Path | None, device: str) -> Encoder:
    where = str(old) if old is not None else index.origin.run if index.origin else ""
    if not where or not Path(where).exists():
        raise InputError(
            f"the model that made the vectors of {index.path} is needed for the comparison, and {f'{where} is not there' if where else 'the index does not say where it is'}: name its run with --old"
        )
    found = load_encoder(Path(where), device)
    if _cut(found.fingerprint, index.width) != index.fingerprint:
        raise InputError(f"{where} did not make the vectors of {index.path}: name the run that did with --old")
    return found


def _check_classes(old: Encoder, new: Encoder) -> None:
    """A class that both models know must have one direction."""
    if new.fingerprint.prototypes is None:
        return
    before, now = _directions(old), _directions(new)
    for name in before.keys() & now.keys():
        if before[name] != now[name]:
            raise InputError(
                f"the class {name} has the fixed direction {before[name]} in {old.run} and {now[name]} in {new.run}: class maps must agree"
            )


def _directions(encoder: Encoder) -> dict[str, int]:
    """The row of the table that each class is trained towards: its label, or what the objective's `places` says of that."""
    names = encoder.card.get("classes", ())
    places = next((tensor for name, tensor in load_file(encoder.run / "objective.safetensors").items() if name.endswith("places")), None)
    rows = range(len(names)) if places is None else places.tolist()
    return dict(zip(names, rows, strict=False))


def _trained_on(run: Path) -> str:
    name = load_run(run).card["data"]
    if name is None:
        raise InputError("give held-out inputs with labels: --data NAME or FOLDER")
    return str(name)


def _held_out(inputs: Inputs) -> list[range]:
    """Blocks of rows that neither model was trained on: of a named dataset, of its test rows; of a folder, of all. At most so many blocks, evenly spread."""
    tested = [row for row, name in enumerate(inputs.ids) if inputs.root is None and name.startswith("test/")]
    rows = range(tested[0], tested[-1] + 1) if tested else range(len(inputs.ids))
    blocks = [rows[start : start + _AT_ONCE] for start in range(0, len(rows), _AT_ONCE)]
    if len(blocks) > _BLOCKS:
        blocks = [blocks[place] for place in torch.linspace(0, len(blocks) - 1, _BLOCKS).long().tolist()]
    return blocks


def _numbered(labels: Sequence[str]) -> Int64[Tensor, " rows"]:
    numbers = {name: number for number, name in enumerate(sorted(set(labels)))}
    return torch.tensor([numbers[label] for label in labels])


def _embedded(encoder: Encoder, inputs: Inputs, blocks: Sequence[range], width: int) -> Float[Tensor, "rows width"]:
    vectors = torch.cat([encoder.encode(inputs.take(block)).cpu() for block in blocks])
    return vectors if vectors.shape[1] == width else truncate(vectors, width)


def _cut(fingerprint: Fingerprint, width: int) -> Fingerprint:
    return fingerprint.shortened(width) if width < fingerprint.width else fingerprint
