import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from ordinate.ground.errors import InputError
from ordinate.nn.kernel_attention import attend, choose_method, kernel_attention, unreliable_rows
from ordinate.nn.kernel_attention import fourier as fourier_module
from ordinate.nn.linear_attention import linear_attention
from ordinate.nn.toeplitz import toeplitz_matrix

METHODS = ("naive", "chunked", "fft")


def problem(rows=50, columns=50, spread=1.0, dtype=torch.float64, seed=0, features=7, width=4, grid=None, heads=3):
    g = torch.Generator().manual_seed(seed)
    offsets = (rows + columns - 1,) if grid is None else tuple(2 * n - 1 for n in grid)
    phi_q = torch.rand(2, heads, rows, features, generator=g, dtype=torch.float64) + 0.1
    phi_k = torch.rand(2, heads, columns, features, generator=g, dtype=torch.float64) + 0.1
    v = torch.randn(2, heads, columns, width, generator=g, dtype=torch.float64)
    bias = torch.randn(heads, *offsets, generator=g, dtype=torch.float64) * spread
    return [each.to(dtype).requires_grad_() for each in (phi_q, phi_k, v, bias)]


def padding(columns=50):
    real = torch.ones(2, columns, dtype=torch.bool)
    real[0, : columns // 7] = False
    real[1, -(columns // 5) :] = False
    return real


def by_definition(phi_q, phi_k, v, bias, causal=False):
    """The quotient of sums, term by term."""
    matrix = toeplitz_matrix(bias, phi_q.shape[2]).exp()
    if causal:
        matrix = matrix.tril()
    weights = (phi_q @ phi_k.mT) * matrix
    return weights @ v / weights.sum(-1, keepdim=True)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("causal", [False, True])
def test_it_is_the_quotient_that_it_says(method, causal):
    inputs = problem()
    assert torch.allclose(kernel_attention(*inputs, causal=causal, method=method, chunk=16), by_definition(*inputs, causal), atol=1e-12)


@settings(max_examples=25)
@given(st.integers(1, 20), st.integers(1, 20), st.sampled_from(METHODS))
def test_rectangles_of_any_shape(rows, columns, method):
    inputs = problem(rows, columns)
    assert torch.allclose(kernel_attention(*inputs, method=method, chunk=3), by_definition(*inputs), atol=1e-11)


@pytest.mark.parametrize(("causal", "grid", "padded"), list(itertools.product([False, True], [None, (5, 10)], [False, True])))
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_the_three_methods_agree_and_so_do_their_gradients(dtype, causal, grid, padded):
    inputs = problem(grid=grid, dtype=dtype)
    real = padding() if padded else torch.ones(2, 50, dtype=torch.bool)
    options = {"counts": real, "grid": grid, "causal": causal}
    scale = torch.zeros(2, 3, 50, dtype=dtype).masked_fill(~real[:, None], -torch.inf)
    tolerance = 1e-11 if dtype == torch.float64 else 2e-4
    upstream = torch.randn(2, 3, 50, 4, dtype=dtype) * real[:, None, :, None]
    found = []
    for method in METHODS:
        y = kernel_attention(*inputs, key_scale=scale, method=method, chunk=16, **options)
        found.append([y * real[:, None, :, None], *torch.autograd.grad(y, inputs, upstream)])
    for other in found[1:]:
        for mine, theirs in zip(found[0], other, strict=True):
            assert (mine - theirs).abs().max() <= tolerance * (1 + mine.abs().max())


@pytest.mark.parametrize("causal", [False, True])
def test_the_fft_in_float64_is_exact_to_twelve_digits_for_moderate_biases(causal):
    phi_q, phi_k, v, bias = problem(200, 200)
    bias = bias.detach().clamp(-2, 2)
    naive = kernel_attention(phi_q, phi_k, v, bias, causal=causal, method="naive")
    assert (kernel_attention(phi_q, phi_k, v, bias, causal=causal, method="fft") - naive).abs().max() <= 1e-12


@pytest.mark.parametrize("method", METHODS)
def test_gradients_are_those_of_finite_differences(method):
    inputs = problem(9, 9, features=3, width=2, heads=2)
    assert torch.autograd.gradcheck(lambda *each: attend(*each, causal=True, method=method, chunk=4), inputs, fast_mode=True)
    assert torch.autograd.gradcheck(lambda *each: attend(*each, method=method, chunk=4), inputs, fast_mode=True)


@pytest.mark.parametrize("spread", [2.0, 4.0, 6.0, 12.0, 30.0])
@pytest.mark.parametrize("padded", [False, True])
@pytest.mark.parametrize("method", ["chunked", "fft"])
def test_a_wide_bias_breaks_neither_chunks_nor_the_causal_fft_in_float32(method, spread, padded):
    # A plain FFT is off by 0.02 at a spread of 4 and by 38 at 6: rounding is relative to the largest term of all, and the first rows have only small ones.
    real = padding() if padded else torch.ones(2, 50, dtype=torch.bool)
    scale = torch.zeros(2, 3, 50).masked_fill(~real[:, None], -torch.inf)
    for seed in range(4):
        single = problem(spread=spread, dtype=torch.float32, seed=seed)
        double = [each.detach().double().requires_grad_() for each in single]
        exact = kernel_attention(*double, key_scale=scale.double(), causal=True, method="naive")
        y = kernel_attention(*single, key_scale=scale, counts=real, causal=True, method=method, chunk=8)
        assert ((y - exact) * real[:, None, :, None]).abs().max() <= 2e-4
        upstream = real[:, None, :, None].float().expand_as(y)
        grads = torch.autograd.grad(y, single, upstream), torch.autograd.grad(exact, double, upstream.double())
        for mine, theirs in zip(*grads, strict=True):
            assert (mine - theirs).abs().max() <= 1e-3 * (1 + theirs.abs().max())


def test_the_guard_does_what_it_says_and_without_it_the_fft_is_wrong(monkeypatch):
    def doubtful(spread):
        phi_q, phi_k, _, bias = problem(spread=spread, dtype=torch.float32)
        return unreliable_rows(phi_q, phi_k, bias.detach().masked_fill(torch.arange(99) > 49, -torch.inf))

    alone, precision = doubtful(0.3)
    assert precision == torch.float32
    assert not alone.any()
    _, precision = doubtful(6.0)
    assert precision == torch.float64
    alone, precision = doubtful(30.0)
    assert precision == torch.float64
    assert alone.any()

    inputs = [each.detach() for each in problem(spread=6.0, dtype=torch.float32)]
    exact = kernel_attention(*(each.double() for each in inputs), causal=True, method="naive")
    monkeypatch.setattr(fourier_module, "ROUNDINGS", float("inf"))
    assert (kernel_attention(*inputs, causal=True, method="fft") - exact).abs().max() > 0.01


def test_the_error_bound_bounds_the_error():
    inputs = [each.detach() for each in problem(2000, 2000, spread=1.0, dtype=torch.float32, heads=1)]
    exact = kernel_attention(*(each.double() for each in inputs), causal=True, method="naive")
    y = kernel_attention(*inputs, causal=True, method="fft")
    largest = inputs[2].abs().max()
    assert (y - exact).abs().max() <= 2 * fourier_module.ROUNDINGS * torch.finfo(torch.float32).eps * largest


@pytest.mark.parametrize("method", METHODS)
def test_without_a_bias_it_is_linear_attention(method):
    phi_q, phi_k, v, bias = problem()
    flat = torch.zeros_like(bias)
    for causal in (False, True):
        mine = kernel_attention(phi_q, phi_k, v, flat, causal=causal, method=method)
        assert torch.allclose(mine, linear_attention(phi_q, phi_k, v, causal=causal, chunk=8), atol=1e-11)
    sums = (phi_k[..., None] * v[..., None, :]).cumsum(2)
    by_sums = (phi_q[..., None] * sums).sum(3) / (phi_q * phi_k.cumsum(2)).sum(3, keepdim=True)
    assert torch.allclose(mine, by_sums, atol=1e-11)


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_positive_sum_to_one_and_forget_constants(method):
    phi_q, phi_k, v, bias = problem()
    impulses = torch.eye(50, dtype=torch.float64).expand(2, 3, 50, 50)
    weights = kernel_attention(phi_q, phi_k, impulses, bias, method=method)
    assert (weights >= -1e-12).all()
    assert torch.allclose(weights.sum(-1), torch.ones(2, 3, 50, dtype=torch.float64), atol=1e-11)
    assert torch.allclose(kernel_attention(phi_q, phi_k, torch.ones_like(v), bias, method=method), torch.ones_like(v), atol=1e-11)
    shifted = kernel_attention(phi_q, phi_k, v, bias + 5, method=method)
    assert torch.allclose(shifted, kernel_attention(phi_q, phi_k, v, bias, method=method), atol=1e-11)


@pytest.mark.parametrize("method", METHODS)
def test_masses_merge_disjoint_sets_of_keys(method):
    phi_q, phi_k, v, bias = problem()
    first = torch.arange(50) < 20
    whole, mass = attend(phi_q, phi_k, v, bias, method=method)
    parts = [
        attend(phi_q, phi_k, v, bias, key_scale=torch.zeros(2, 3, 50, dtype=torch.float64).masked_fill(hidden, -torch.inf), method=method)
        for hidden in (~first, first)
    ]
    total = torch.logaddexp(parts[0][1], parts[1][1])
    assert torch.allclose(total, mass, atol=1e-10)
    merged = sum((each - total).exp()[..., None] * out for out, each in parts)
    assert torch.allclose(merged, whole, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_a_row_that_sees_nothing_is_zero(method):
    phi_q, phi_k, v, bias = problem()
    hidden = torch.zeros(2, 3, 50, dtype=torch.float64)
    hidden[0] = -torch.inf
    counts = torch.ones(2, 50, dtype=torch.bool)
    counts[0] = False
    y = kernel_attention(phi_q, phi_k, v, bias, key_scale=hidden, counts=counts, method=method)
    assert (y[0] == 0).all()
    grads = torch.autograd.grad(y.sum(), (phi_q, phi_k, v, bias))
    assert all(grad.isfinite().all() for grad in grads)


@pytest.mark.parametrize("method", METHODS)
def test_factors_of_keys_are_factors_of_weights(method):
    phi_q, phi_k, v, bias = problem()
    scale = torch.randn(2, 3, 50, dtype=torch.float64)
    folded = by_definition(phi_q, phi_k * scale.exp()[..., None], v, bias)
    assert torch.allclose(kernel_attention(phi_q, phi_k, v, bias, key_scale=scale, method=method), folded, atol=1e-11)
    far = kernel_attention(phi_q, phi_k, v, bias, key_scale=scale + 900, method=method)
    assert torch.allclose(far, folded, atol=1e-10)


@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_a_number_stays_so(method):
    phi_q, phi_k, v, bias = (each.detach() for each in problem(dtype=torch.float32))
    phi_k[0, 0, 3, 2] = torch.nan
    assert kernel_attention(phi_q, phi_k, v, bias, method=method)[0, 0, 3].isnan().any()


def test_features_of_either_sign_go_through_every_method():
    phi_q, phi_k, v, bias = problem(dtype=torch.float64)
    phi_q, phi_k = phi_q.detach() - 0.4, phi_k.detach() - 0.4
    inputs = [each.requires_grad_() for each in (phi_q, phi_k, v.detach(), bias.detach())]
    found = []
    for method in METHODS:
        y = kernel_attention(*inputs, method=method)
        found.append([y, *torch.autograd.grad(y, inputs, torch.ones_like(y))])
    for other in found[1:]:
        for mine, theirs in zip(found[0], other, strict=True):
            assert (mine - theirs).abs().max() <= 1e-7 * (1 + mine.abs().max())


def test_the_fft_never_holds_more_than_a_block_of_channels(monkeypatch):
    # The largest tensor that any operation makes, against the m (d + 1) channels that an unblocked FFT would hold at once.
    largest = 0

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            for each in out if isinstance(out, tuple | list) else (out,):
                if isinstance(each, torch.Tensor):
                    largest = max(largest, each.numel() * (2 if each.is_complex() else 1))
            return out

    inputs = problem(1024, 1024, features=16, width=16, heads=2, dtype=torch.float32)
    unblocked = 2 * 2 * 16 * 17 * 2048
    monkeypatch.setitem(fourier_module._CHANNEL_ELEMENTS, "cpu", 1 << 16)
    with torch.no_grad(), Watch():
        fourier_module.attend_fourier(*inputs, None, None, [1024], [1024], False)
    assert largest <= unblocked / 4


def test_auto_takes_the_matrix_for_short_sequences_and_the_fft_for_long_ones():
    assert choose_method(1, 4, 64, 64, 16, 16) == "naive"
    assert choose_method(1, 4, 16384, 16384, 16, 16) == "fft"
    assert choose_method(8, 8, 2048, 2048, 128, 128) == "chunked"


def test_empty_sequences_and_bad_input():
    phi_q, phi_k, v, bias = problem(dtype=torch.float32)
    assert kernel_attention(phi_q[:, :, :0], phi_k, v, bias[:, :49]).shape == (2, 3, 0, 4)
    for call in (
        lambda: kernel_attention(phi_q, phi_k, v, bias, method="fast"),
        lambda: kernel_attention(phi_q, phi_k, v, bias[:, 1:]),
        lambda: kernel_attention(phi_q.half(), phi_k.half(), v.half(), bias.half()),
        lambda: kernel_attention(phi_q, phi_k, v, bias.double()),
        lambda: kernel_attention(phi_q[..., 1:], phi_k, v, bias),
        lambda: kernel_attention(phi_q, phi_k, v, bias, grid=(7, 7)),
        lambda: kernel_attention(phi_q[:, :, 1:], phi_k, v, bias[:, 1:], causal=True),
        lambda: kernel_attention(phi_q, phi_k, v, bias, chunk=0, method="chunked"),
    ):
        with pytest.raises(Exception) as caught:
            call()
        assert isinstance(caught.value, InputError) or "type-check" in str(caught.value).lower()
