"""Co-citation hypergraphs (Yadati et al. 2019, HyperGCN): a hyperedge joins all the papers that one paper cites; ten splits."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ordinate.data.arrays import read_arrays, sparse_rows
from ordinate.data.home import dataset_folder
from ordinate.ground.errors import choose, require

if TYPE_CHECKING:
    from torch_geometric.data import Data

__all__ = ["HYPERGRAPHS", "open_hypergraph"]

HYPERGRAPHS = ("cocitation-citeseer", "cocitation-cora")
"""The hypergraphs there are."""
_SPLITS = 10


def open_hypergraph(name: str, *, folder: Path | None = None) -> "Data":
    """Open one of :data:`HYPERGRAPHS`.

    Args:
        name: which.
        folder: where named datasets lie; None is `$ORDINATE_DATA` or the platform's cache folder.

    Returns:
        `torch_geometric.data.Data`: `x` (N, words) float32, `hyperedge_index` (2, memberships) int64 [node, hyperedge], `num_hyperedges`, `y` (N,) int64, `train_mask`, `test_mask` (N, 10) bool,
        one column a split.

    Raises:
        InputError: there is no such hypergraph.
        MissingError: the dataset, or torch_geometric, is not at hand.
    """
    choose("hypergraph", name, HYPERGRAPHS)
    arrays = read_arrays(dataset_folder("hypergraph", f"{name}.npz", folder) / f"{name}.npz")
    features = sparse_rows(arrays)
    masks = {}
    for split in ("train", "test"):
        mask = torch.zeros(len(features), _SPLITS, dtype=torch.bool)
        for number in range(_SPLITS):
            mask[arrays[f"{split}_{number}"].long(), number] = True
        masks[f"{split}_mask"] = mask
    members = arrays["hyperedge_index"].long()
    data: Data = require("torch_geometric.data", "graphs").Data(
        x=features, hyperedge_index=members, num_hyperedges=int(members[1].max()) + 1, y=arrays["labels"].long(), **masks
    )
    return data
