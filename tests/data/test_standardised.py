import pytest
import torch

from ordinate.data.standardised import standard_rows
from ordinate.data.tabular import TabularSplit, open_tabular
from ordinate.ground.errors import InputError


def test_training_rows_have_mean_0_and_deviation_1_and_test_rows_their_scale() -> None:
    split = open_tabular("diabetes").split(0)
    rows = standard_rows(split, 30, torch.Generator().manual_seed(0))
    assert rows.train_x.shape == (30, 10) and rows.train_y.shape == (30, 1) and rows.test_y.shape == (len(split.test_y), 1)
    for part in (rows.train_x, rows.train_y):
        torch.testing.assert_close(part.mean(dim=0), torch.zeros(part.shape[1], dtype=torch.float64), atol=1e-12, rtol=0)
        torch.testing.assert_close(part.square().mean(dim=0), torch.ones(part.shape[1], dtype=torch.float64))
    slope = (rows.test_y[1] - rows.test_y[0]) / (split.test_y[1] - split.test_y[0])
    torch.testing.assert_close(rows.test_y[2, 0] - rows.test_y[0, 0], slope[0] * (split.test_y[2] - split.test_y[0]))
    again = standard_rows(split, 30, torch.Generator().manual_seed(0))
    assert torch.equal(rows.train_x, again.train_x)


def test_constant_columns_become_0() -> None:
    x, y = torch.ones(6, 2, dtype=torch.float64), torch.arange(6, dtype=torch.float64)
    rows = standard_rows(TabularSplit(x, y, x[:2], y[:2]), 4, torch.Generator().manual_seed(0))
    assert torch.equal(rows.train_x, torch.zeros(4, 2, dtype=torch.float64))


def test_rows_that_there_are_not_and_classes_are_refused() -> None:
    chance = torch.Generator()
    for count in (1, 10_000):
        with pytest.raises(InputError, match="ask for 2 to as many"):
            standard_rows(open_tabular("diabetes").split(0), count, chance)
    with pytest.raises(InputError, match="classes have no standard deviation"):
        standard_rows(open_tabular("wine").split(0), 10, chance)
