"""Graphs in which neighbours differ (Platonov et al. 2023; Pei et al. 2020), each with ten splits."""

from pathlib import Path
from typing import TYPE_CHECKING

from ordinate.data.arrays import read_arrays
from ordinate.data.home import dataset_folder
from ordinate.ground.errors import choose, require

if TYPE_CHECKING:
    from torch_geometric.data import Data

__all__ = ["HETEROPHILOUS", "open_heterophilous"]

HETEROPHILOUS = ("actor", "chameleon", "cornell", "minesweeper", "texas", "tolokers", "wisconsin")
"""The graphs there are."""


def open_heterophilous(name: str, *, folder: Path | None = None) -> "Data":
    """Open one of :data:`HETEROPHILOUS`.

    Args:
        name: which.
        folder: where named datasets lie; None is `$ORDINATE_DATA` or the platform's cache folder.

    Returns:
        `torch_geometric.data.Data`: `x` (N, features) float32, `edge_index` (2, E) int64 in both directions, `y` (N,) int64, `train_mask`, `val_mask`, `test_mask` (N, 10) bool, one column a
        split. Minesweeper and tolokers have two classes and are scored by the area under the ROC curve.

    Raises:
        InputError: there is no such graph.
        MissingError: the dataset, or torch_geometric, is not at hand.
    """
    choose("heterophilous graph", name, HETEROPHILOUS)
    arrays = read_arrays(dataset_folder("heterophilous", f"{name}.npz", folder) / f"{name}.npz")
    both_ways = require("torch_geometric.utils", "graphs").to_undirected
    masks = {f"{split}_mask": arrays[f"{split}_masks"].T.contiguous() for split in ("train", "val", "test")}
    features = arrays["node_features"].float()
    edges = both_ways(arrays["edges"].long().T.contiguous(), num_nodes=len(features))
    data: Data = require("torch_geometric.data", "graphs").Data(x=features, edge_index=edges, y=arrays["node_labels"].long(), **masks)
    return data
