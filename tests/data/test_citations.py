from pathlib import Path

import pytest
import torch

from ordinate.data.citations import CITATIONS, open_citations
from ordinate.ground.errors import InputError, MissingError
from tests.data.here import needs

SIZES = {"cora": (2708, 1433, 7), "citeseer": (3327, 3703, 6)}


@needs("planetoid")
@pytest.mark.parametrize("name", CITATIONS)
def test_the_public_split(name: str) -> None:
    pytest.importorskip("torch_geometric", reason="torch_geometric is an optional extra")
    papers, words, classes = SIZES[name]
    data = open_citations(name)
    assert data.x.shape == (papers, words) and int(data.y.max()) == classes - 1
    assert torch.equal(data.y[data.train_mask].bincount(), torch.full((classes,), 20))
    assert (int(data.val_mask.sum()), int(data.test_mask.sum())) == (500, 1000)
    assert not (data.train_mask & data.val_mask | data.train_mask & data.test_mask | data.val_mask & data.test_mask).any()
    assert data.is_undirected()


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown citation graph 'pubmed'"):
        open_citations("pubmed")
    with pytest.raises(MissingError, match="ordinate data get planetoid"):
        open_citations("cora", folder=tmp_path)
