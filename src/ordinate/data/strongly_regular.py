"""Families of strongly regular graphs with the same parameters (n, k, λ, μ): not isomorphic, and yet alike to every 3-WL test (Bodnar et al. 2021, Sec. 5)."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ordinate.data.home import dataset_folder
from ordinate.ground.errors import choose, require

if TYPE_CHECKING:
    from torch_geometric.data import Data

__all__ = ["FAMILIES", "open_strongly_regular"]

FAMILIES = ("sr16622", "sr251256", "sr261034", "sr281264", "sr291467", "sr351668", "sr351899", "sr361446", "sr401224")
"""The families there are: sr251256 has n = 25, k = 12, λ = 5, μ = 6."""


def open_strongly_regular(name: str, *, folder: Path | None = None) -> "list[Data]":
    """Open one of :data:`FAMILIES`.

    Args:
        name: which.
        folder: where named datasets lie; None is `$ORDINATE_DATA` or the platform's cache folder.

    Returns:
        one `torch_geometric.data.Data` a graph: `edge_index` (2, E) int64 in both directions, and `num_nodes`.

    Raises:
        InputError: there is no such family.
        MissingError: the dataset, or torch_geometric, is not at hand.
    """
    import networkx

    choose("family of strongly regular graphs", name, FAMILIES)
    data = require("torch_geometric.data", "graphs").Data
    graphs = networkx.read_graph6(dataset_folder("sr-graphs", f"{name}.g6", folder) / f"{name}.g6")
    made = []
    for graph in graphs if isinstance(graphs, list) else [graphs]:
        edges = torch.tensor([*graph.edges, *((b, a) for a, b in graph.edges)], dtype=torch.int64)
        made.append(data(edge_index=edges[edges[:, 0].argsort(stable=True)].T.contiguous(), num_nodes=graph.number_of_nodes()))
    return made
