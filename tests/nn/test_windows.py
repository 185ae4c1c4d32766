import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.nn.windows import WindowAttention, merge_windows, split_windows, window_regions


def randomised(dim: int, heads: int, window: int, shift: int = 0) -> WindowAttention:
    module = WindowAttention(dim, heads, window, shift=shift)
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module


def by_hand(module: WindowAttention, x: Tensor) -> Tensor:
    """Pixel by pixel: who is in the same window, at which offset."""
    batch, height, width, dim = x.shape
    window, heads = module.window, module.heads.count
    up, left = (module.shift if side > window else 0 for side in (height, width))
    full_height, full_width = -(-height // window) * window, -(-width // window) * window
    q, k, v = module.heads.qkv(x).view(batch, height, width, 3, heads, dim // heads).unbind(3)
    y = torch.zeros(batch, height, width, heads, dim // heads)

    def cell(place: int, shift: int, full: int) -> tuple[int, bool, int]:
        moved = (place - shift) % full
        return moved // window, place < shift, moved % window

    for row in range(height):
        for column in range(width):
            a, b = cell(row, up, full_height), cell(column, left, full_width)
            others, scores = [], []
            for r in range(height):
                for c in range(width):
                    e, f = cell(r, up, full_height), cell(c, left, full_width)
                    if e[:2] == a[:2] and f[:2] == b[:2]:
                        bias = module.bias.table[:, e[2] - a[2] + window - 1, f[2] - b[2] + window - 1]
                        others.append((r, c))
                        scores.append((q[:, row, column] * k[:, r, c]).sum(-1) / math.sqrt(dim // heads) + bias)
            weights = torch.stack(scores).softmax(0)
            y[:, row, column] = sum(w[..., None] * v[:, r, c] for w, (r, c) in zip(weights, others, strict=True))
    return module.heads.out(y.flatten(3))


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4))
def test_windows_are_cut_and_put_together(batch: int, rows: int, columns: int, window: int) -> None:
    x = torch.randn(batch, rows * window, columns * window, 2)
    windows = split_windows(x, window)
    assert windows.shape == (batch * rows * columns, window * window, 2)
    assert torch.equal(windows[0].view(window, window, 2), x[0, :window, :window])
    assert torch.equal(merge_windows(windows, window, rows * window, columns * window), x)


@settings(max_examples=15)
@given(st.integers(1, 7), st.integers(1, 7), st.integers(1, 3), st.integers(0, 2))
def test_pixels_attend_inside_their_window_and_nowhere_else(height: int, width: int, window: int, shift: int) -> None:
    # Padding, cyclic shifts and their masks must not show: only pixels that are neighbours in the map meet.
    module, x = randomised(4, 2, window, min(shift, window - 1)), torch.randn(2, height, width, 4)
    torch.testing.assert_close(module(x), by_hand(module, x), atol=1e-5, rtol=1e-5)


def test_whole_unshifted_windows_need_no_mask() -> None:
    assert window_regions(6, 9, 3, (0, 0)) is None
    seen = window_regions(6, 9, 3, (1, 0))
    assert seen is not None and seen.shape == (6, 9, 9) and seen[:3].all() and not seen[3:].all()


def test_a_shift_lets_neighbouring_windows_meet() -> None:
    plain, shifted = randomised(4, 1, 4), randomised(4, 1, 4, 2)
    x = torch.randn(1, 8, 8, 4, requires_grad=True)
    for module, reached in ((plain, False), (shifted, True)):
        (grad,) = torch.autograd.grad(module(x)[0, 3, 3].sum(), x)
        assert bool(grad[0, 4, 4].any()) is reached


@pytest.mark.parametrize(("window", "shift"), [(0, 0), (4, 4), (4, -1)])
def test_a_shift_lies_inside_the_window(window: int, shift: int) -> None:
    with pytest.raises(InputError, match="a shift lies between 0 and window - 1"):
        WindowAttention(4, 1, window, shift=shift)
