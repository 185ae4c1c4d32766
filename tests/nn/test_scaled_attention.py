import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.ground.errors import InputError
from ordinate.nn import scaled_attention as module
from ordinate.nn.offset_tables import OffsetTable, t5_buckets
from ordinate.nn.scaled_attention import scaled_attention
from ordinate.nn.toeplitz import toeplitz_matrix


def draws(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def naive(q, k, v, bias, scale, mask):
    logits = q @ k.mT / q.shape[-1] ** 0.5
    if bias is not None:
        logits = logits + toeplitz_matrix(bias, q.shape[2])
    if mask is not None:
        logits = logits.masked_fill(~mask[:, None, None], -torch.inf)
    weights = logits.softmax(-1).nan_to_num(nan=0.0)
    return (weights if scale is None else weights * toeplitz_matrix(scale, q.shape[2])) @ v


@given(
    st.integers(1, 9), st.integers(1, 9), st.booleans(), st.booleans(), st.booleans(), st.booleans(), st.integers(1, 40), st.integers(0, 99)
)
def test_in_blocks_it_is_the_naive_formula_with_all_its_gradients(
    rows: int, columns: int, biased: bool, scaled: bool, masked: bool, causal: bool, block: int, seed: int
) -> None:
    q, k, v = draws(2, 3, rows, 4, seed=seed), draws(2, 3, columns, 4, seed=seed + 1), draws(2, 3, columns, 4, seed=seed + 2)
    bias = draws(3, rows + columns - 1, seed=seed + 3) if biased or causal else None
    if causal:
        bias = bias.masked_fill(torch.arange(1 - rows, columns) > 0, -torch.inf)
    scale = draws(3, rows + columns - 1, seed=seed + 4) if scaled else None
    mask = draws(2, columns, seed=seed + 5) > -0.5 if masked else None
    if mask is not None:
        mask[:, 0] = True  # the naive formula has no gradient where a row sees nothing
    g, found = draws(2, 3, rows, 4, seed=seed + 6), []
    before = module._BLOCK
    module._BLOCK = block
    try:
        for formula in (
            lambda q, k, v, b, c: scaled_attention(q, k, v, bias=b, scale=c, mask=mask),
            lambda q, k, v, b, c: naive(q, k, v, b, c, mask),
        ):
            inputs = [None if tensor is None else tensor.clone().requires_grad_() for tensor in (q, k, v, bias, scale)]
            y = formula(*inputs)
            grads = torch.autograd.grad(y, [tensor for tensor in inputs if tensor is not None], g)
            found.append((y, *grads))
    finally:
        module._BLOCK = before
    for ours, wanted in zip(*found, strict=True):
        assert torch.allclose(ours, wanted.nan_to_num(nan=0.0), atol=1e-9)


def test_a_row_that_sees_nothing_gives_zeros_and_finite_gradients() -> None:
    q, k, v = (draws(2, 3, 5, 4, seed=seed).requires_grad_() for seed in range(3))
    mask = torch.tensor([[False] * 5, [True] * 5])
    y = scaled_attention(q, k, v, mask=mask)
    assert (y[0] == 0).all()
    assert all(gradient.isfinite().all() for gradient in torch.autograd.grad(y.square().sum(), (q, k, v)))


def test_without_a_factor_it_is_torchs_attention_in_all_dtypes() -> None:
    q, k, v = (draws(2, 3, 11, 4, seed=seed) for seed in range(3))
    wanted = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    assert torch.allclose(scaled_attention(q, k, v), wanted, atol=1e-12)
    ones = torch.ones(3, 21, dtype=torch.float64)
    assert torch.allclose(scaled_attention(q, k, v, bias=0 * ones, scale=ones), wanted, atol=1e-12)
    half = scaled_attention(q.bfloat16(), k.bfloat16(), v.bfloat16(), bias=torch.zeros(3, 21), scale=torch.ones(3, 21))
    assert half.dtype == torch.bfloat16
    assert (half - wanted).abs().max() < 0.05


def test_another_number_of_diagonals_is_refused() -> None:
    q = draws(1, 2, 3, 4)
    with pytest.raises(InputError, match="5 diagonals"):
        scaled_attention(q, q, q, bias=torch.zeros(2, 4))


@given(st.sampled_from(["unique", "bucketed", "t5"]), st.booleans(), st.integers(1, 30))
def test_matrices_of_tables_depend_on_offsets_alone_and_windows_are_cut_out_of_them(mode: str, causal: bool, length: int) -> None:
    table = OffsetTable(2, 32, mode=mode, buckets=8, max_distance=20, causal=causal)
    whole = toeplitz_matrix(table(length), length)
    part = toeplitz_matrix(table(max(1, length // 2)), max(1, length // 2))
    assert torch.equal(whole[:, : part.shape[1], : part.shape[2]], part)
    table(length).sum().backward()
    assert table.table.grad.sum() == pytest.approx(2 * (2 * length - 1))


def test_t5_buckets_are_those_of_transformers() -> None:
    t5 = pytest.importorskip("transformers.models.t5.modeling_t5", reason="needs ordinate[language]").T5Attention
    offsets = torch.arange(-200, 201)
    for causal in (False, True):
        wanted = t5._relative_position_bucket(offsets, bidirectional=not causal, num_buckets=32, max_distance=128)
        assert torch.equal(t5_buckets(offsets, 32, 128, causal), wanted)


def test_bad_tables_are_one_line() -> None:
    for arguments, said in (
        ({"mode": "hash"}, "mode"),
        ({"buckets": 7}, "buckets"),
        ({"max_distance": 3}, "max_distance"),
        ({"max_length": 0}, "max_length"),
    ):
        with pytest.raises(InputError, match=said):
            OffsetTable(**{"heads": 2, "max_length": 8, **arguments})
    with pytest.raises(InputError, match="beyond"):
        OffsetTable(2, 4, clamp=False)(6)
