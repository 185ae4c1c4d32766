"""Samples of many tasks in one table: a column that names each row's task, a target, and numbers to predict it from; and what further samples cost, in another table."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import torch
from jaxtyping import Float64, Int64
from torch import Tensor

from ordinate.ground.errors import InputError, choose, some

__all__ = ["TaskTable", "read_prices", "read_task_table"]


@dataclass(frozen=True)
class TaskTable:
    """Samples.

    Attributes:
        X: (n, d).
        y: (n,).
        task: (n,) the number of each row's task.
        names: of the tasks by number, in the order in which they first stand in the table.
        columns: of the inputs.
    """

    X: Float64[Tensor, "rows columns"]
    y: Float64[Tensor, " rows"]
    task: Int64[Tensor, " rows"]
    names: list[str]
    columns: list[str]


def read_task_table(path: Path, *, task: str = "task", target: str | None = None) -> TaskTable:
    """Read a CSV or parquet file.

    Args:
        path: the file.
        task: the column that names tasks.
        target: the column of targets, numbers; the last one by default.

    Raises:
        InputError: no such file or column, a cell without a number, or a table without rows.
    """
    table = _read(path)
    choose(f"column of {path.name}", task, table.column_names)
    chosen = table.column_names[-1] if target is None else choose(f"column of {path.name}", target, table.column_names)
    columns = [name for name in table.column_names if name not in (task, chosen)]
    if chosen == task or not columns:
        raise InputError(
            f"{path} needs a column of tasks, one of targets, and others to predict them from: it has {some(table.column_names)}"
        )
    numbers = {name: _numbers(path, table, name) for name in (*columns, chosen)}
    words = [str(word) for word in table[task].to_pylist()]
    names = list(dict.fromkeys(words))
    place = {name: number for number, name in enumerate(names)}
    return TaskTable(
        torch.stack([numbers[name] for name in columns], dim=1),
        numbers[chosen],
        torch.tensor([place[word] for word in words]),
        names,
        columns,
    )


def read_prices(path: Path, names: list[str]) -> tuple[Float64[Tensor, " tasks"] | None, Float64[Tensor, " tasks"] | None]:
    """Read what samples cost and how many there are: columns ``task``, and ``cost`` or ``cap`` or both.

    Args:
        path: a CSV or parquet file with a row for each task; others are passed over.
        names: of the tasks asked for.

    Returns:
        Costs (T,) and caps (T,), each None where the file has no such column.

    Raises:
        InputError: no such file, neither column, or a task without a row or with two.
    """
    table = _read(path)
    choose(f"column of {path.name}", "task", table.column_names)
    words = [str(word) for word in table["task"].to_pylist()]
    if len(set(words)) < len(words):
        raise InputError(f"{path} has a task twice")
    absent = [name for name in names if name not in words]
    if absent:
        raise InputError(f"{path} has no row for {some(absent, 3)}")
    rows = torch.tensor([words.index(name) for name in names])
    costs, caps = (_numbers(path, table, name)[rows] if name in table.column_names else None for name in ("cost", "cap"))
    if costs is None and caps is None:
        raise InputError(f"{path} has neither a column cost nor a column cap")
    return costs, caps


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        table = pq.read_table(path) if path.suffix == ".parquet" else pyarrow.csv.read_csv(path)
    except pa.ArrowException as error:
        raise InputError(f"{path} cannot be read as a table: {str(error).splitlines()[0]}") from None
    if not table.num_rows:
        raise InputError(f"{path} has no rows")
    return table


def _numbers(path: Path, table: pa.Table, name: str) -> Float64[Tensor, " rows"]:
    column = table[name]
    if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)) or column.null_count:
        raise InputError(f"{path}: column {name!r} must hold a number in every row")
    return torch.from_numpy(np.array(column.to_numpy(), dtype=np.float64))
