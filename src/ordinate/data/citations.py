"""Citation graphs with Planetoid's public splits (Yang, Cohen & Salakhutdinov 2016): 20 labelled papers a class, 500 to validate on, 1,000 to test on."""

from pathlib import Path
from typing import TYPE_CHECKING

from ordinate.data.home import dataset_folder
from ordinate.ground.errors import choose, require

if TYPE_CHECKING:
    from torch_geometric.data import Data

__all__ = ["CITATIONS", "open_citations"]

CITATIONS = ("citeseer", "cora")
"""The graphs there are."""


def open_citations(name: str, *, folder: Path | None = None) -> "Data":
    """Open one of :data:`CITATIONS`.

    Args:
        name: which.
        folder: where named datasets lie; None is `$ORDINATE_DATA` or the platform's cache folder.

    Returns:
        `torch_geometric.data.Data`: `x` (N, words) float32 counts, `edge_index` (2, E) int64 in both directions, `y` (N,) int64, `train_mask`, `val_mask`, `test_mask` (N,) bool.

    Raises:
        InputError: there is no such graph.
        MissingError: the dataset, or torch_geometric, is not at hand.
    """
    choose("citation graph", name, CITATIONS)
    raw = dataset_folder("planetoid", f"{name}/raw", folder) / name / "raw"
    # the reader alone: the dataset class of the same library writes beside the files, which may be read-only
    data: Data = require("torch_geometric.io", "graphs").read_planetoid_data(str(raw), name)
    return data
