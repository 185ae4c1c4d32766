"""Pilot runs from a CSV file with the columns ``m`` (unlabelled rows; 0 where there were none), ``n`` (labels) and ``risk`` (an excess risk, or an error), in any order and among others."""

import csv
from pathlib import Path

from ordinate.ground.errors import InputError

__all__ = ["read_pilot_runs"]

COLUMNS = ("m", "n", "risk")


def read_pilot_runs(path: Path) -> list[tuple[int, int, float]]:
    """Read the runs.

    Returns:
        (m, n, risk) of every row.

    Raises:
        InputError: there is no such file, a column is absent, a row has something else than a number, or there are no rows.
    """
    try:
        with Path(path).open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            missing = [name for name in COLUMNS if name not in (reader.fieldnames or ())]
            if missing:
                raise InputError(f"{path} has no column {', '.join(missing)}: it needs a header with m, n and risk")
            found = []
            for number, row in enumerate(reader, start=2):
                try:
                    m, n = (_whole(row[name]) for name in ("m", "n"))
                    found.append((m, n, float(row["risk"])))
                except (TypeError, ValueError):
                    raise InputError(
                        f"{path} line {number} needs whole numbers m and n and a number risk, not {list(row.values())}"
                    ) from None
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path} is not a CSV file ({error})") from None
    if not found:
        raise InputError(f"{path} has no runs")
    return found


def _whole(text: str) -> int:
    value = float(text)
    if value != int(value):
        raise ValueError(text)
    return int(value)
