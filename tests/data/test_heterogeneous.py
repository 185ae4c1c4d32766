from pathlib import Path

import numpy as np
import pytest
import torch

from ordinate.data.heterogeneous import HETEROGENEOUS, open_heterogeneous
from ordinate.ground.errors import InputError, MissingError
from tests.data.here import needs

pytest.importorskip("torch_geometric", reason="torch_geometric is an optional extra")


def test_kinds_are_told_apart_by_their_numbers(tmp_path: Path) -> None:
    # 3 papers (0-2), 2 authors (3, 4), 1 subject (5)
    edges = [[[0, 1, 2], [3, 4, 4]], [[3, 4, 4], [0, 1, 2]], [[0, 2], [5, 5]], [[5, 5], [0, 2]]]
    (tmp_path / "hetero").mkdir()
    np.savez(
        tmp_path / "hetero" / "acm.npz",
        feat_data=np.arange(1.0, 7.0, dtype=np.float32),
        feat_indices=np.zeros(6, np.int32),
        feat_indptr=np.arange(7, dtype=np.int32),
        feat_shape=np.array([6, 2]),
        **{f"edge_{number}": np.array(edge, np.int32) for number, edge in enumerate(edges)},
        labels_train=np.array([[2, 1]], np.int32),
        labels_val=np.array([[0, 0]], np.int32),
        labels_test=np.zeros((0, 2), np.int32),
    )
    data = open_heterogeneous("acm", folder=tmp_path)
    assert data["paper"].x[:, 0].tolist() == [1, 2, 3] and data["subject"].x.tolist() == [[6, 0]]
    assert data["paper", "to", "author"].edge_index.tolist() == [[0, 1, 2], [0, 1, 1]]
    assert data["subject", "to", "paper"].edge_index.tolist() == [[0, 0], [0, 2]]
    assert data["paper"].y.tolist() == [0, -1, 1] and data["paper"].train_mask.tolist() == [False, False, True]
    assert not data["paper"].test_mask.any()


@needs("hetero")
@pytest.mark.parametrize("name", HETEROGENEOUS)
def test_the_named_graphs(name: str) -> None:
    data = open_heterogeneous(name)
    target = data[HETEROGENEOUS[name][0]]
    assert data.node_types == list(HETEROGENEOUS[name])
    assert data.validate(raise_on_error=True)
    for source, _, end in data.edge_types:
        there, back = data[source, "to", end].edge_index, data[end, "to", source].edge_index
        assert set(map(tuple, there.T.tolist())) == set(map(tuple, back.flip(0).T.tolist()))
    labelled = target.train_mask | target.val_mask | target.test_mask
    assert torch.equal(labelled, target.y >= 0)


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="unknown heterogeneous graph"):
        open_heterogeneous("freebase")
    with pytest.raises(MissingError, match="ordinate data get hetero"):
        open_heterogeneous("acm", folder=tmp_path)
