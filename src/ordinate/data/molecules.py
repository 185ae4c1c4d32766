"""Molecules as SMILES with their properties (MoleculeNet, Wu et al. 2018), and any CSV of that kind; as graphs where they are asked for."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float32
from torch import Tensor

from ordinate.data.home import dataset_folder
from ordinate.ground.errors import InputError, choose, require

if TYPE_CHECKING:
    from torch_geometric.data import Data

__all__ = ["MOLECULES", "Molecules", "molecule_graph", "open_molecules"]

MOLECULES = {
    "bbbp": ("classification", ("p_np",)),
    "esol": ("regression", ("measured log solubility in mols per litre",)),
    "freesolv": ("regression", ("freesolv",)),
    "lipo": ("regression", ("lipo",)),
    "sider": ("classification", None),
    "tox21": ("classification", None),
}
"""The named sets: what is asked of each, and the columns of its targets (None: every column but the first)."""


@dataclass(frozen=True)
class Molecules:
    """Molecules and their properties.

    Attributes:
        name: as it was asked for.
        smiles: one a molecule, blanks around it taken off.
        targets: (molecules, targets) float32; NaN where a property was not measured.
        target_names: one a column of `targets`.
        kind: ``"classification"`` (targets 0 or 1) or ``"regression"``.
    """

    name: str
    smiles: list[str]
    targets: Float32[Tensor, "molecules targets"]
    target_names: tuple[str, ...]
    kind: str

    def __len__(self) -> int:
        return len(self.smiles)


def open_molecules(
    name_or_path: str | Path, *, targets: tuple[str, ...] | None = None, smiles: str = "smiles", folder: Path | None = None
) -> Molecules:
    """Open one of :data:`MOLECULES`, or a CSV with a column of SMILES.

    Args:
        name_or_path: which; or a CSV file.
        targets: the columns to predict; None is the named set's own, or every column of numbers of a file.
        smiles: the column of SMILES.
        folder: where named datasets lie; None is `$ORDINATE_DATA` or the platform's cache folder.

    Raises:
        InputError: there is no such set, file or column; a row has no SMILES, or a target that is no number.
        MissingError: the dataset is not at hand; the message names the command that gets it.
    """
    name = str(name_or_path)
    if name in MOLECULES:
        path = dataset_folder("moleculenet", f"{name}.csv", folder) / f"{name}.csv"
        kind, own = MOLECULES[name]
        targets = targets or own
    else:
        path = Path(name_or_path).expanduser()
        if not path.is_file():
            choose("set of molecules (or CSV file)", name, MOLECULES)
        kind = ""
    with path.open(encoding="utf-8-sig", newline="") as stream:
        try:
            reader = csv.DictReader(stream)
            columns = list(reader.fieldnames or [])
            rows = list(reader)
        except (UnicodeDecodeError, csv.Error) as error:
            raise InputError(f"{path} is not a CSV file ({error})") from None
    if not rows:
        raise InputError(f"{path} has no rows")
    choose(f"column of {path.name}", smiles, columns)
    chosen = targets or tuple(column for column in columns if column != smiles and all(_is_number(row[column]) for row in rows))
    for target in chosen:
        choose(f"column of {path.name}", target, columns)
    if not chosen:
        raise InputError(f"{path} has no column of numbers to predict: name it with targets")
    for number, row in enumerate(rows, 2):
        if not (row[smiles] or "").strip():
            raise InputError(f"{path} line {number} has no SMILES")
        wrong = next((target for target in chosen if not _is_number(row[target])), None)
        if wrong is not None:
            raise InputError(f"{path} line {number} has {row[wrong]!r} in {wrong!r}, which is no number")
    values = torch.tensor([[float(row[target] or math.nan) for target in chosen] for row in rows])
    if not kind:
        kind = "classification" if bool(((values == 0) | (values == 1) | values.isnan()).all()) else "regression"
    return Molecules(name, [row[smiles].strip() for row in rows], values, chosen, kind)


def molecule_graph(smiles: str) -> "Data":
    """A molecule as a graph, with torch_geometric's features of atoms and bonds: `x` (atoms, 9) and `edge_attr` (bonds, 3) int64, `edge_index` (2, bonds) in both directions.

    Raises:
        InputError: RDKit cannot read the SMILES.
        MissingError: torch_geometric or rdkit is not installed.
    """
    chem = require("rdkit.Chem", "molecules")
    logs = require("rdkit.RDLogger", "molecules")
    logs.DisableLog("rdApp.*")
    try:
        if chem.MolFromSmiles(smiles) is None:
            raise InputError(f"{smiles!r} is no molecule that RDKit can read")
    finally:
        logs.EnableLog("rdApp.*")
    data: Data = require("torch_geometric.utils", "graphs").from_smiles(smiles)
    return data


def _is_number(text: str | None) -> bool:
    """Empty counts: it was not measured."""
    try:
        return not text or bool(math.isfinite(float(text)))
    except ValueError:
        return False
