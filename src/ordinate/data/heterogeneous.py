"""Graphs with several kinds of nodes and edges, as the Graph Transformer Networks prepared them (Yun et al. 2019, Sec. 4): one kind is classified."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ordinate.data.arrays import read_arrays, sparse_rows
from ordinate.data.home import dataset_folder
from ordinate.ground.errors import choose, require

if TYPE_CHECKING:
    from torch_geometric.data import HeteroData

__all__ = ["HETEROGENEOUS", "open_heterogeneous"]

HETEROGENEOUS = {
    "acm": ("paper", "author", "subject"),
    "dblp": ("author", "paper", "conference"),
    "imdb": ("movie", "director", "actor"),
}
"""The graphs there are, and each one's kinds of nodes in the order of their numbers; the first is the one that is classified."""


def open_heterogeneous(name: str, *, folder: Path | None = None) -> "HeteroData":
    """Open one of :data:`HETEROGENEOUS`.

    Args:
        name: which.
        folder: where named datasets lie; None is `$ORDINATE_DATA` or the platform's cache folder.

    Returns:
        `torch_geometric.data.HeteroData`: for every kind of node `x` (N, features) float32; for the first kind also `y` (N,) int64, -1 where there is no label, and `train_mask`, `val_mask`,
        `test_mask` (N,) bool; for every kind of edge, (from, "to", to), `edge_index` (2, E) int64, with the reverse a kind of its own.

    Raises:
        InputError: there is no such graph.
        MissingError: the dataset, or torch_geometric, is not at hand.
    """
    kinds = HETEROGENEOUS[choose("heterogeneous graph", name, HETEROGENEOUS)]
    arrays = read_arrays(dataset_folder("hetero", f"{name}.npz", folder) / f"{name}.npz")
    data: HeteroData = require("torch_geometric.data", "graphs").HeteroData()
    features = sparse_rows(arrays)
    edges = [arrays[f"edge_{number}"].long() for number in range(4)]
    # nodes are numbered kind after kind, and the lowest of each kind has an edge
    starts = sorted({int(end.min()) for edge in edges for end in edge})
    ends = [*starts[1:], len(features)]
    for kind, start, end in zip(kinds, starts, ends, strict=True):
        data[kind].x = features[start:end]
    for edge in edges:
        places = [max(place for place, start in enumerate(starts) if start <= int(end.min())) for end in edge]
        shift = torch.tensor([starts[place] for place in places])[:, None]
        data[kinds[places[0]], "to", kinds[places[1]]].edge_index = edge - shift
    labels = torch.full((ends[0],), -1)
    for split in ("train", "val", "test"):
        node, label = arrays[f"labels_{split}"].long().T
        labels[node] = label
        mask = torch.zeros(ends[0], dtype=torch.bool)
        mask[node] = True
        data[kinds[0]][f"{split}_mask"] = mask
    data[kinds[0]].y = labels
    return data
