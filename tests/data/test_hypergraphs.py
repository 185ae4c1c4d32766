from pathlib import Path

import pytest
import torch

from ordinate.data.hypergraphs import HYPERGRAPHS, open_hypergraph
from ordinate.ground.errors import InputError, MissingError
from tests.data.here import needs

pytest.importorskip("torch_geometric", reason="torch_geometric is an optional extra")
SIZES = {"cocitation-cora": (2708, 1433, 1579), "cocitation-citeseer": (3312, 3703, 1079)}


@needs("hypergraph")
@pytest.mark.parametrize("name", HYPERGRAPHS)
def test_the_named_hypergraphs(name: str) -> None:
    data = open_hypergraph(name)
    assert (*data.x.shape, data.num_hyperedges) == SIZES[name]
    nodes, edges = data.hyperedge_index
    assert int(nodes.max()) < len(data.x) and torch.equal(edges.unique(), torch.arange(data.num_hyperedges))
    assert (edges.bincount() >= 2).all(), "a hyperedge joins at least two papers"
    assert torch.equal(data.train_mask, ~data.test_mask)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown hypergraph"):
        open_hypergraph("cocitation-pubmed")
    with pytest.raises(MissingError, match="ordinate data get hypergraph"):
        open_hypergraph("cocitation-cora", folder=tmp_path)
