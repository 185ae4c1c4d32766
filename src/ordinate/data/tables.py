"""Tables with named columns, CSV or parquet, as features and a target.

Numbers are standardised by the training rows; a missing number becomes their mean, 0. Text, and truth values, become one column a value seen in training (one-hot; a value that was not
seen there gives zeros). A target of text or truth values is a class, and so is one of whole numbers with at most
`MOST_CLASSES` values that are met twice or more on average; any other is a number. A fifth of the rows (of every class) is held out by
a fixed seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ordinate.data.batches import TensorSource
from ordinate.data.folders import held_out
from ordinate.ground.errors import InputError, choose

__all__ = ["MOST_CLASSES", "TableData", "open_table"]

MOST_CLASSES = 50
"""A target of whole numbers with more values than this is a number, not a class."""
_MOST_VALUES = 500


@dataclass(frozen=True)
class TableData:
    """A table as features and a target.

    Attributes:
        name: the file.
        train, test: rows {"features": float32 (B, columns); "target": int64 (B,) a class, or float32 (B,) a number}.
        features: a name a column of ``"features"``: the table's, or ``"column=value"``.
        target: the target's column.
        classes: the classes' names by number, or None where the target is a number.
        mean, std: (columns,) of the training rows: a feature of the table is feature · std + mean; 0 and 1 for one-hot columns.
    """

    name: str
    train: TensorSource
    test: TensorSource
    features: list[str]
    target: str
    classes: list[str] | None
    mean: Float[Tensor, " columns"]
    std: Float[Tensor, " columns"]


def open_table(path: str | Path, target: str, *, features: Sequence[str] | None = None) -> TableData:
    """Open a CSV or parquet file.

    Args:
        path: the file; ``.csv``, ``.tsv`` or ``.parquet``.
        target: the column to predict.
        features: the columns to predict it from; None is every other column.

    Raises:
        InputError: there is no such file or column; the table has too few rows; a target is missing; a column is neither numbers nor text, or is text with hundreds of values (a name, not a
            category); there is one class only.
    """
    path = Path(path).expanduser()
    table = _read(path)
    choose(f"column of {path.name}", target, table.column_names)
    chosen = [name for name in table.column_names if name != target] if features is None else list(features)
    for name in chosen:
        choose(f"column of {path.name}", name, table.column_names)
    if target in chosen:
        raise InputError(f"{target!r} is the target: it cannot be a feature too")
    if not chosen:
        raise InputError(f"{path} has no column to predict {target!r} from")
    if table.num_rows < 5:
        raise InputError(f"{path} has {table.num_rows} rows: at least 5 are needed to train and to test")
    values, classes = _target(path, target, table[target])
    train_rows, test_rows = held_out(values if classes is not None else torch.zeros(len(values), dtype=torch.int64))
    if not len(test_rows):
        raise InputError(f"{path} leaves no row to test on: give every class at least 3 rows")
    columns, names, means, stds = [], [], [], []
    for name in chosen:
        for label, column, mean, std in _encode(path, name, table[name], train_rows):
            columns.append(column)
            names.append(label)
            means.append(mean)
            stds.append(std)
    encoded = torch.stack(columns, 1).float()
    train, test = (TensorSource(features=encoded[rows], target=values[rows]) for rows in (train_rows, test_rows))
    return TableData(str(path), train, test, names, target, classes, torch.tensor(means), torch.tensor(stds))


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        if path.suffix == ".parquet":
            return pq.read_table(path, memory_map=True)
        separator = "\t" if path.suffix == ".tsv" else ","
        return pyarrow.csv.read_csv(
            path,
            parse_options=pyarrow.csv.ParseOptions(delimiter=separator),
            convert_options=pyarrow.csv.ConvertOptions(strings_can_be_null=True),
        )
    except pa.ArrowException as error:
        raise InputError(f"{path} is not a table that can be read ({' '.join(str(error).split())[:100]})") from None


def _target(path: Path, name: str, column: pa.ChunkedArray) -> tuple[Tensor, list[str] | None]:
    if column.null_count:
        row = column.is_null().to_pylist().index(True)
        raise InputError(f"{path} row {row} (counted from 0) has no {name!r}, which is the target: leave such rows out")
    whole = pa.types.is_integer(column.type)
    if _is_category(column.type) or (whole and len(pc.unique(column)) <= min(MOST_CLASSES, len(column) / 2)):
        labels = sorted(pc.unique(column).to_pylist())
        if len(labels) < 2:
            raise InputError(f"{path} has one class only in {name!r} ({labels[0]!r}): there must be two or more")
        number = {label: place for place, label in enumerate(labels)}
        return torch.tensor([number[label] for label in column.to_pylist()]), [str(label) for label in labels]
    return _numbers(path, name, column).float(), None


def _encode(path: Path, name: str, column: pa.ChunkedArray, train: Int64[Tensor, " rows"]) -> list[tuple[str, Tensor, float, float]]:
    """What a column of the table becomes: its columns as (name, values, mean, standard deviation)."""
    if _is_category(column.type):
        cells = column.to_pylist()
        seen = sorted({cells[row] for row in train.tolist()} - {None})
        if len(seen) > _MOST_VALUES:
            raise InputError(f"{path} has {len(seen)} values of {name!r} in training: leave it out of the features, or group them")
        return [(f"{name}={value}", torch.tensor([cell == value for cell in cells]).float(), 0.0, 1.0) for value in seen]
    values = _numbers(path, name, column)
    known = values[train][~values[train].isnan()]
    if not len(known):
        raise InputError(f"{path} has no value of {name!r} in training: leave it out of the features")
    mean, std = known.mean(), known.std(correction=0)
    std = std if std > 0 else torch.ones_like(std)
    return [(name, ((values - mean) / std).nan_to_num(0.0), float(mean), float(std))]


def _is_category(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind))


def _numbers(path: Path, name: str, column: pa.ChunkedArray) -> Tensor:
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)):
        raise InputError(f"{path} column {name!r} is of {column.type}, neither numbers nor text: leave it out of the features")
    values = torch.tensor(column.cast(pa.float64()).fill_null(float("nan")).to_pylist(), dtype=torch.float64)
    if bool(values.isinf().any()):
        raise InputError(f"{path} has an infinite value in {name!r}, row {int(values.isinf().nonzero()[0, 0])} (counted from 0)")
    return values
