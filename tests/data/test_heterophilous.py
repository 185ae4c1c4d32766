from pathlib import Path

import numpy as np
import pytest

from ordinate.data.heterophilous import HETEROPHILOUS, open_heterophilous
from ordinate.ground.errors import InputError, MissingError
from tests.data.here import needs

pytest.importorskip("torch_geometric", reason="torch_geometric is an optional extra")


def test_edges_go_both_ways_and_splits_are_columns(tmp_path: Path) -> None:
    (tmp_path / "heterophilous").mkdir()
    masks = np.zeros((10, 3), bool)
    masks[4, 2] = True
    np.savez(
        tmp_path / "heterophilous" / "texas.npz",
        node_features=np.eye(3, dtype=np.float32),
        node_labels=np.array([0, 1, 1]),
        edges=np.array([[0, 1], [1, 0], [1, 2]]),
        train_masks=masks,
        val_masks=masks,
        test_masks=masks,
    )
    data = open_heterophilous("texas", folder=tmp_path)
    assert data.edge_index.tolist() == [[0, 1, 1, 2], [1, 0, 2, 1]]
    assert data.train_mask.shape == (3, 10) and data.train_mask[:, 4].tolist() == [False, False, True]


@needs("heterophilous")
@pytest.mark.parametrize("name", HETEROPHILOUS)
def test_the_named_graphs(name: str) -> None:
    data = open_heterophilous(name)
    assert data.is_undirected() and data.validate(raise_on_error=True)
    assert data.train_mask.shape == (data.num_nodes, 10)
    assert not (data.train_mask & data.test_mask).any()


def test_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean chameleon"):
        open_heterophilous("chamelon")
    with pytest.raises(MissingError, match="ordinate data get heterophilous"):
        open_heterophilous("texas", folder=tmp_path)
