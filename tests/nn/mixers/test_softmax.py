import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.nn.mixers.softmax import RelativeSoftmaxAttention, SoftmaxAttention
from ordinate.nn.toeplitz import toeplitz_matrix


def by_definition(layer, x, bias=None):
    q, k, v = layer.heads.split(x)
    logits = q @ k.mT / q.shape[-1] ** 0.5 + (0 if bias is None else bias)
    if layer.causal:
        logits = logits.masked_fill(torch.ones(logits.shape[-2:], dtype=torch.bool).triu(1), -torch.inf)
    return layer.heads.merge(logits.softmax(-1) @ v)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("grad", [False, True])
def test_it_is_the_softmax_that_it_says(causal, grad):
    x = torch.randn(2, 9, 12, dtype=torch.float64)
    plain = SoftmaxAttention(12, heads=3, causal=causal).double()
    biased = RelativeSoftmaxAttention(12, heads=3, causal=causal, max_length=9).double()
    torch.nn.init.normal_(biased.relative.table)
    with torch.set_grad_enabled(grad):
        assert torch.allclose(plain(x), by_definition(plain, x), atol=1e-12)
        assert torch.allclose(biased(x), by_definition(biased, x, toeplitz_matrix(biased.relative(9), 9)), atol=1e-12)


@pytest.mark.parametrize("kind", [SoftmaxAttention, RelativeSoftmaxAttention])
def test_it_reads_from_a_context_of_another_length(kind):
    layer = kind(12, heads=3).double()
    x, context = torch.randn(2, 4, 12, dtype=torch.float64), torch.randn(2, 7, 12, dtype=torch.float64)
    real = torch.ones(2, 7, dtype=torch.bool)
    real[:, 5:] = False
    assert torch.allclose(layer(x, context=context, context_mask=real), layer(x, context=context[:, :5]), atol=1e-12)
    assert torch.allclose(layer(x, context=x), layer(x), atol=1e-12)
    with pytest.raises(InputError, match="causal"):
        kind(12, heads=3, causal=True)(x.float(), context=context.float())


def test_a_bound_on_the_length_is_enforced_where_it_is_one():
    x = torch.randn(1, 9, 12)
    for layer in (SoftmaxAttention(12, max_length=8), RelativeSoftmaxAttention(12, max_length=8, clamp=False)):
        with pytest.raises(InputError, match="max_length=8"):
            layer(x)
    causal = SoftmaxAttention(12, max_length=8, causal=True)
    _, state = causal.prefill(x[:, :8])
    with pytest.raises(InputError, match="max_length=8"):
        causal.step(x[:, 8], state)
    assert RelativeSoftmaxAttention(12, max_length=8)(x).isfinite().all()
    with pytest.raises(InputError):
        SoftmaxAttention(12, max_length=0)
