from pathlib import Path

import pytest

from ordinate.data.graph_sets import GRAPH_SETS, open_graph_set
from ordinate.data.make import MAKERS
from ordinate.ground.errors import InputError, MissingError
from tests.data.here import needs

pytest.importorskip("torch_geometric", reason="torch_geometric is an optional extra")


def test_a_folder_of_two_graphs(tmp_path: Path) -> None:
    for name in ("MUTAG", "PROTEINS", "IMDBBINARY"):
        (tmp_path / f"{name}.txt").write_text("2\n3 1\n5 2 1 2\n6 1 0\n6 1 0\n2 -1\n7 1 1\n5 1 0\n")
    MAKERS["tu"](tmp_path, tmp_path / "tu")
    for opened in (open_graph_set("MUTAG", folder=tmp_path), open_graph_set(tmp_path / "tu" / "MUTAG")):
        first, second = opened
        assert first.edge_index.tolist() == [[0, 0, 1, 2], [1, 2, 0, 0]]
        assert second.edge_index.tolist() == [[0, 1], [1, 0]], "nodes are numbered from 0 in every graph"
        assert first.x.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 0]] and second.x.tolist() == [[0, 0, 1], [1, 0, 0]]
        assert (first.y.tolist(), second.y.tolist()) == ([1], [0])
    assert open_graph_set("IMDB-BINARY", folder=tmp_path)[0].num_nodes == 3


@needs("tu")
@pytest.mark.parametrize(("name", "graphs", "nodes"), [("MUTAG", 188, 3371), ("PROTEINS", 1113, 43471), ("IMDB-BINARY", 1000, 19773)])
def test_the_named_sets(name: str, graphs: int, nodes: int) -> None:
    opened = open_graph_set(name)
    assert len(opened) == graphs and sum(graph.num_nodes for graph in opened) == nodes
    assert all(int(graph.edge_index.max()) < graph.num_nodes for graph in opened)
    assert {int(graph.y) for graph in opened} == {0, 1}


def test_what_is_not_there(tmp_path: Path) -> None:
    assert "MUTAG" in GRAPH_SETS
    with pytest.raises(InputError, match="did you mean MUTAG"):
        open_graph_set("MUTG")
    with pytest.raises(MissingError, match="ordinate data get tu"):
        open_graph_set("MUTAG", folder=tmp_path)
    with pytest.raises(InputError, match="no set of graphs"):
        open_graph_set(tmp_path)
