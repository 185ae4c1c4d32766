import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.nn.linear_attention import linear_attention, linear_prefill, linear_step


def problem(length=23, dtype=torch.float64):
    g = torch.Generator().manual_seed(0)
    phi_q, phi_k = (torch.rand(2, 3, length, 5, generator=g, dtype=torch.float64) + 0.1 for _ in range(2))
    return phi_q.to(dtype), phi_k.to(dtype), torch.randn(2, 3, length, 4, generator=g, dtype=torch.float64).to(dtype)


def by_definition(phi_q, phi_k, v, causal):
    weights = phi_q @ phi_k.mT
    weights = weights.tril() if causal else weights
    return weights @ v / weights.sum(-1, keepdim=True)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("chunk", [1, 5, 64])
def test_it_is_the_quotient_that_it_says_and_missing_factors_count(causal, chunk):
    phi_q, phi_k, v = problem()
    assert torch.allclose(linear_attention(phi_q, phi_k, v, causal=causal, chunk=chunk), by_definition(phi_q, phi_k, v, causal), atol=1e-12)
    scale = torch.randn(2, 3, 23, dtype=torch.float64) * 3
    folded = by_definition(phi_q, phi_k * scale.exp()[..., None], v, causal)
    for shift in (0, 800):
        found = linear_attention(phi_q, phi_k, v, key_scale=scale + shift, causal=causal, chunk=chunk)
        assert torch.allclose(found, folded, atol=1e-10)


def test_steps_go_on_from_a_prompt_with_factors_that_grow():
    phi_q, phi_k, v = problem()
    scale = torch.linspace(-400, 400, 23, dtype=torch.float64).expand(2, 3, -1)
    whole = linear_attention(phi_q, phi_k, v, key_scale=scale, causal=True, chunk=4)
    y, state = linear_prefill(phi_q[:, :, :9], phi_k[:, :, :9], v[:, :, :9], key_scale=scale[..., :9], chunk=4)
    assert torch.allclose(y, whole[:, :, :9], atol=1e-12)
    for i in range(9, 23):
        y_t, state = linear_step(phi_q[:, :, i], phi_k[:, :, i], v[:, :, i], state, key_scale=scale[..., i])
        assert torch.allclose(y_t, whole[:, :, i], atol=1e-12)


def test_gradients_are_those_of_finite_differences():
    inputs = [each[:, :, :6].clone().requires_grad_() for each in problem()]
    for causal in (False, True):
        assert torch.autograd.gradcheck(lambda *each: linear_attention(*each, causal=causal, chunk=4), inputs, fast_mode=True)  # noqa: B023


def test_bad_shapes_are_refused():
    phi_q, phi_k, v = problem()
    for call in (
        lambda: linear_attention(phi_q[..., 1:], phi_k, v),
        lambda: linear_attention(phi_q[:, :, 1:], phi_k, v, causal=True),
        lambda: linear_attention(phi_q, phi_k, v, causal=True, chunk=0),
    ):
        with pytest.raises(Exception) as caught:
            call()
        assert isinstance(caught.value, InputError) or "type-check" in str(caught.value).lower()
