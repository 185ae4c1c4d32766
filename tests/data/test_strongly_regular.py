from pathlib import Path

import networkx
import pytest
import torch

from ordinate.data.strongly_regular import FAMILIES, open_strongly_regular
from ordinate.ground.errors import InputError, MissingError
from tests.data.here import needs

pytest.importorskip("torch_geometric", reason="torch_geometric is an optional extra")
PARAMETERS = {"sr16622": (16, 6, 2, 2), "sr251256": (25, 12, 5, 6), "sr291467": (29, 14, 6, 7), "sr401224": (40, 12, 2, 4)}


@needs("sr-graphs")
@pytest.mark.parametrize("name", PARAMETERS)
def test_families_are_strongly_regular(name: str) -> None:
    n, k, common_of_neighbours, common_of_others = PARAMETERS[name]
    for graph in open_strongly_regular(name):
        adjacency = torch.zeros(n, n, dtype=torch.int64)
        adjacency[graph.edge_index[0], graph.edge_index[1]] = 1
        identity = torch.eye(n, dtype=torch.int64)
        expected = k * identity + common_of_neighbours * adjacency + common_of_others * (1 - identity - adjacency)
        assert graph.num_nodes == n and torch.equal(adjacency @ adjacency, expected)


def test_graphs_come_back(tmp_path: Path) -> None:
    (tmp_path / "sr-graphs").mkdir()
    for count in (1, 2):
        lines = b"".join(networkx.to_graph6_bytes(graph) for graph in (networkx.path_graph(3), networkx.cycle_graph(4))[:count])
        (tmp_path / "sr-graphs" / "sr16622.g6").write_bytes(lines)
        opened = open_strongly_regular("sr16622", folder=tmp_path)
        assert len(opened) == count and opened[0].edge_index.tolist() == [[0, 1, 1, 2], [1, 2, 0, 1]]


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean sr16622"):
        open_strongly_regular("sr1662")
    with pytest.raises(MissingError, match="ordinate data get sr-graphs"):
        open_strongly_regular(FAMILIES[0], folder=tmp_path)
