"""Sets of graphs with a class each, in the text files of TUDataset (Morris et al. 2020)."""

from pathlib import Path
from typing import TYPE_CHECKING

from ordinate.data.home import dataset_folder
from ordinate.ground.errors import InputError, choose, require

if TYPE_CHECKING:
    from torch_geometric.data import Data

__all__ = ["GRAPH_SETS", "open_graph_set"]

GRAPH_SETS = ("IMDB-BINARY", "MUTAG", "PROTEINS")
"""The named sets."""


def open_graph_set(name_or_path: str | Path, *, folder: Path | None = None) -> "list[Data]":
    """Open one of :data:`GRAPH_SETS`, or a folder in the same layout.

    Args:
        name_or_path: which; or a folder called as its set, with ``raw/<set>_A.txt`` and so on in it.
        folder: where named datasets lie; None is `$ORDINATE_DATA` or the platform's cache folder.

    Returns:
        one `torch_geometric.data.Data` a graph: `edge_index` (2, E) int64, `y` (1,) int64, `num_nodes`, and where the files have them `x` (N, features) and `edge_attr` (E, features) float32.

    Raises:
        InputError: there is no such set, or the folder is not one.
        MissingError: the dataset, or torch_geometric, is not at hand.
    """
    name = str(name_or_path)
    if name in GRAPH_SETS:
        raw = dataset_folder("tu", f"{name}/raw", folder) / name / "raw"
    else:
        path = Path(name_or_path).expanduser()
        if not path.is_dir():
            choose("set of graphs (or folder)", name, GRAPH_SETS)
        name, raw = path.name, path / "raw"
        if not (raw / f"{name}_A.txt").is_file():
            raise InputError(f"{path} is no set of graphs: it has no raw/{name}_A.txt")
    reader = require("torch_geometric.io", "graphs")
    data, slices, _ = reader.read_tu_data(str(raw), name)
    separate = require("torch_geometric.data.separate", "graphs").separate
    count = len(slices["y"]) - 1
    return [separate(cls=type(data), batch=data, idx=graph, slice_dict=slices, decrement=False) for graph in range(count)]
