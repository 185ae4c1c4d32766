import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.ground.errors import InputError
from ordinate.nn.toeplitz import offset_places, offsets_ahead, smooth_length, toeplitz_matmul, toeplitz_matrix, toeplitz_spectrum


def explicit(diagonals, rows, columns):
    """T[i, j] = c[j - i], entry by entry."""
    return torch.tensor([[float(diagonals[j - i + rows - 1]) for j in range(columns)] for i in range(rows)], dtype=diagonals.dtype)


@given(st.integers(1, 5000))
def test_smooth_lengths_are_even_smooth_and_the_least(least):
    found = smooth_length(least)
    rest = found
    for prime in (2, 3, 5):
        while rest % prime == 0:
            rest //= prime
    assert found >= least
    assert found % 2 == 0
    assert rest == 1
    smaller = [n for n in range(least, found) if n % 2 == 0 and all(q in (2, 3, 5) for q in prime_factors(n))]
    assert not smaller


def prime_factors(n):
    return [p for p in range(2, n + 1) if n % p == 0 and all(p % q for q in range(2, int(math.sqrt(p)) + 1))]


@settings(max_examples=40)
@given(st.integers(1, 12), st.integers(1, 12))
def test_the_matrix_and_the_product_agree_with_the_definition(rows, columns):
    torch.manual_seed(0)
    diagonals, u = torch.randn(rows + columns - 1, dtype=torch.float64), torch.randn(columns, 3, dtype=torch.float64)
    matrix = explicit(diagonals, rows, columns)
    assert torch.equal(toeplitz_matrix(diagonals, rows), matrix)
    assert torch.equal(diagonals[offset_places((rows,), (columns,), 0, rows)], matrix)
    for method in ("fft", "direct"):
        product = toeplitz_matmul(diagonals, u, rows=rows, method=method)
        assert torch.allclose(product, matrix @ u, atol=1e-12), method


@settings(max_examples=30)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
def test_a_grid_is_toeplitz_along_both_axes(h, w, height, width):
    torch.manual_seed(0)
    diagonals = torch.randn(2, h + height - 1, w + width - 1, dtype=torch.float64)
    u = torch.randn(3, 2, height * width, 2, dtype=torch.float64)
    matrix = torch.zeros(2, h * w, height * width, dtype=torch.float64)
    for i in range(h * w):
        for j in range(height * width):
            matrix[:, i, j] = diagonals[:, j // width - i // w + h - 1, j % width - i % w + w - 1]
    for method in ("fft", "direct"):
        product = toeplitz_matmul(diagonals, u, rows=(h, w), columns=(height, width), method=method)
        assert torch.allclose(product, matrix @ u, atol=1e-12), method


def test_offsets_are_read_from_column_minus_row():
    # An index flip is invisible where c is symmetric: this c looks one step ahead only.
    shift = torch.tensor([0.0, 0.0, 0.0, 1.0, 0.0])
    u = torch.tensor([[1.0], [2.0], [3.0]])
    assert torch.allclose(toeplitz_matmul(shift, u).flatten(), torch.tensor([2.0, 3.0, 0.0]), atol=1e-6)


@pytest.mark.parametrize("grid", [(9,), (3, 3)])
def test_causal_products_do_not_read_ahead(grid):
    torch.manual_seed(0)
    diagonals = torch.randn(*[2 * n - 1 for n in grid], dtype=torch.float64)
    u = torch.randn(9, 1, dtype=torch.float64)
    full = toeplitz_matmul(diagonals, torch.eye(9, dtype=torch.float64), rows=grid, columns=grid, method="direct")
    for method in ("fft", "direct"):
        product = toeplitz_matmul(diagonals, u, rows=grid, columns=grid, causal=True, method=method)
        assert torch.allclose(product, full.tril() @ u, atol=1e-12), method
    assert int(offsets_ahead(grid, grid).sum()) == (diagonals.numel() - 1) // 2


@pytest.mark.parametrize("block", [1, 2, 5])
def test_blocks_of_channels_change_nothing(block):
    diagonals, u = torch.randn(2, 13, dtype=torch.float64), torch.randn(3, 2, 7, 5, dtype=torch.float64)
    assert torch.allclose(toeplitz_matmul(diagonals, u, block=block), toeplitz_matmul(diagonals, u), atol=1e-13)


def test_the_product_is_differentiable_twice_in_both():
    diagonals = torch.randn(2, 7, dtype=torch.float64, requires_grad=True)
    u = torch.randn(2, 4, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(toeplitz_matmul, (diagonals, u))
    assert torch.autograd.gradgradcheck(toeplitz_matmul, (diagonals, u))


def test_no_channels_and_wrong_shapes():
    assert toeplitz_matmul(torch.randn(7), torch.randn(4, 0)).shape == (4, 0)
    for call in (
        lambda: toeplitz_matmul(torch.randn(6), torch.randn(4, 2)),
        lambda: toeplitz_matmul(torch.randn(7), torch.randn(4, 2).half()),
        lambda: toeplitz_matmul(torch.randn(7), torch.randn(4, 2), columns=(2, 3)),
        lambda: toeplitz_matmul(torch.randn(7), torch.randn(4, 2), method="fast"),
        lambda: toeplitz_matmul(torch.randn(7), torch.randn(4, 2), block=0),
        lambda: toeplitz_spectrum(torch.randn(6), (4,), (4,)),
        lambda: toeplitz_matrix(torch.randn(7), 0),
        lambda: toeplitz_matrix(torch.randn(7), 8),
    ):
        with pytest.raises(InputError):
            call()
