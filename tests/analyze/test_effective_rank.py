import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ordinate.analyze.effective_rank import effective_rank, layer_cosines
from ordinate.ground.errors import InputError


@given(st.integers(1, 8), st.integers(0, 8), st.floats(0.1, 100))
def test_equal_directions_count_in_full_and_none_beyond(rank: int, more: int, scale: float) -> None:
    q, _ = torch.linalg.qr(torch.randn(rank + more, rank, dtype=torch.float64, generator=torch.Generator().manual_seed(rank)))
    assert effective_rank(scale * q @ q.T) == pytest.approx(rank, rel=1e-6)


def test_by_hand_and_whatever_the_scale_or_side() -> None:
    matrix = torch.diag(torch.tensor([3.0, 1.0]))
    wanted = math.exp(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert effective_rank(matrix) == pytest.approx(wanted)
    assert effective_rank(-7 * matrix[:, [1, 0]]) == pytest.approx(wanted)


def test_cosines_between_layers_by_hand() -> None:
    model = nn.Sequential(nn.Identity(), nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[1].weight.copy_(torch.tensor([[0.0, -1.0], [1.0, 0.0]]))  # a right angle
        model[2].weight.copy_(-2 * torch.eye(2))
    found = layer_cosines(model, ["0", "1", "2"], lambda judged: judged(torch.randn(5, 3, 2)))
    wanted = torch.tensor([[1.0, 0, 0], [0, 1, -1], [0, -1, 1]], dtype=torch.float64)
    assert torch.allclose(found, wanted, atol=1e-6)


def test_bad_input_is_one_line() -> None:
    for matrix in (torch.zeros(3, 3), torch.full((2, 2), math.nan)):
        with pytest.raises(InputError, match="effective rank"):
            effective_rank(matrix)
    model = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    with pytest.raises(InputError, match="at least one"):
        layer_cosines(model, [], lambda judged: judged(torch.zeros(1, 2)))
    with pytest.raises(InputError, match="shape"):
        layer_cosines(model, ["0", "1"], lambda judged: judged(torch.zeros(1, 2)))
