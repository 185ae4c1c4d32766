import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.ground.errors import InputError
from ordinate.nn.pointer import PointerHead


@given(st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(1, 6), st.integers(1, 6), st.integers(1, 6))
@settings(max_examples=25)
def test_logits_are_the_additive_scores(batch: int, steps: int, n: int, query_dim: int, key_dim: int, hidden: int) -> None:
    head = PointerHead(query_dim, key_dim, hidden)
    query, keys = torch.randn(batch, steps, query_dim), torch.randn(batch, n, key_dim)
    logits = head(query, keys)
    assert logits.shape == (batch, steps, n)
    b, t, j = batch - 1, steps - 1, n - 1
    by_hand = head.score.weight[0] @ torch.tanh(head.key.weight @ keys[b, j] + head.query.weight @ query[b, t])
    torch.testing.assert_close(logits[b, t, j], by_hand, atol=1e-5, rtol=1e-5)


def test_a_masked_position_gets_no_probability_and_changes_nothing_else() -> None:
    head = PointerHead(4, 5, 6)
    query, keys = torch.randn(2, 3, 4), torch.randn(2, 7, 5)
    mask = torch.arange(7) < torch.tensor([[7], [4]])
    p = head(query, keys, mask).softmax(dim=-1)
    torch.testing.assert_close(p.sum(dim=-1), torch.ones(2, 3))
    assert not p[1, :, 4:].any()
    torch.testing.assert_close(p[1:, :, :4], head(query[1:], keys[1:, :4]).softmax(dim=-1))


def test_chunks_of_queries_give_the_same_logits_and_gradients() -> None:
    whole = PointerHead(4, 5, 6)
    chunked = PointerHead(4, 5, 6, most_elements=2 * 7 * 6 * 2)  # two of the nine queries at a time
    chunked.load_state_dict(whole.state_dict())
    query, keys = torch.randn(2, 9, 4), torch.randn(2, 7, 5)
    for head in (whole, chunked):
        head(query, keys).square().sum().backward()
    torch.testing.assert_close(chunked(query, keys), whole(query, keys))
    for ours, theirs in zip(chunked.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_keys_projected_once_give_the_same_logits() -> None:
    head = PointerHead(4, 5, 6)
    query, keys = torch.randn(2, 3, 4), torch.randn(2, 7, 5)
    assert torch.equal(head.attend(query, head.project(keys)), head(query, keys))


def test_any_encoder_may_feed_it() -> None:
    encoder = torch.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
    head = PointerHead(8, 8, 8)
    states = encoder(torch.randn(2, 5, 8))
    head(states, states).logsumexp(-1).sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_gradients_are_those_of_finite_differences() -> None:
    head = PointerHead(2, 3, 4).double()
    query, keys = (
        torch.randn(1, 2, 2, dtype=torch.float64, requires_grad=True),
        torch.randn(1, 3, 3, dtype=torch.float64, requires_grad=True),
    )
    assert torch.autograd.gradcheck(head, (query, keys))


def test_it_compiles_without_a_break(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the checker of signatures is not what is compiled
    head = PointerHead(4, 5, 6)
    query, keys, mask = torch.randn(2, 3, 4), torch.randn(2, 7, 5), torch.ones(2, 7, dtype=torch.bool)
    compiled = torch.compile(head, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(query, keys, mask), head(query, keys, mask))


def test_wrong_widths_and_rows_without_a_choice_are_refused() -> None:
    head = PointerHead(4, 5, 6)
    query, keys = torch.randn(2, 3, 4), torch.randn(2, 7, 5)
    with pytest.raises(InputError, match="keys are 5 wide, not 4"):
        head(query, torch.randn(2, 7, 4))
    with pytest.raises(InputError, match="queries are 4 wide, not 5"):
        head(torch.randn(2, 3, 5), keys)
    with pytest.raises(InputError, match="allows no position"):
        head(query, keys, torch.zeros(2, 7, dtype=torch.bool))
    with pytest.raises(InputError, match="at least 1"):
        PointerHead(4, 0, 6)
