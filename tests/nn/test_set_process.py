import math

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.nn.set_process import SetProcess


def block(dim: int = 4, steps: int = 3, attention: str = "dot", **options: bool) -> SetProcess:
    torch.manual_seed(1)
    made = SetProcess(dim, steps, attention, **options).double()
    for parameter in made.parameters():
        nn.init.uniform_(parameter, -1, 1)  # wide weights, so that a mistake shows
    return made


def by_hand(made: SetProcess, memory: Tensor) -> tuple[Tensor, Tensor]:
    """One set (n, D), the equations one by one, with torch's own LSTM."""
    star, state, weights = memory.new_zeros(2 * made.dim), None, []
    for _ in range(made.steps):
        out, state = made.lstm(star[None, None], state)
        query = out[0, 0]
        if made.head is None:
            scores = made.scale * memory @ query
        else:
            scores = made.head.score(torch.tanh(made.head.key(memory) + made.head.query(query)))[:, 0]
        weights.append(scores.softmax(dim=0))
        star = torch.cat((query, weights[-1] @ memory))
    return star, torch.stack(weights) if weights else memory.new_zeros(0, len(memory))


@given(
    dim=st.integers(1, 5),
    steps=st.integers(0, 4),
    sizes=st.lists(st.integers(0, 4), min_size=1, max_size=4),
    attention=st.sampled_from(["dot", "additive"]),
    scaled=st.booleans(),
)
@settings(max_examples=30)
def test_padded_and_ragged_sets_are_as_the_equations_say(dim: int, steps: int, sizes: list[int], attention: str, scaled: bool) -> None:
    made = block(dim, steps, attention, scaled=scaled)
    sets = [torch.randn(size, dim, dtype=torch.float64) for size in sizes]
    memory = torch.full((len(sets), max(sizes), dim), math.nan, dtype=torch.float64)  # whatever stands in the padding
    for row, each in zip(memory, sets, strict=True):
        row[: len(each)] = each
    mask = torch.arange(max(sizes)) < torch.tensor(sizes)[:, None]
    padded = made(memory, mask)
    index = torch.repeat_interleave(torch.arange(len(sets)), torch.tensor(sizes))
    ragged = made.from_index(torch.cat(sets), index, len(sets))
    assert padded.summary.shape == ragged.summary.shape == (len(sets), 2 * dim)
    assert padded.attention.shape == (len(sets), steps, max(sizes)) and ragged.attention.shape == (steps, sum(sizes))
    torch.testing.assert_close(padded.summary, ragged.summary)
    for row, each in enumerate(sets):
        assert not padded.attention[row, :, len(each) :].any()
        if not len(each):
            assert torch.isfinite(padded.summary[row]).all() and not padded.summary[row, dim:].any()
            continue
        summary, attention = by_hand(made, each)
        torch.testing.assert_close(padded.summary[row], summary)
        torch.testing.assert_close(padded.attention[row, :, : len(each)], attention)
        torch.testing.assert_close(ragged.attention[:, index == row], attention)


@pytest.mark.parametrize("attention", ["dot", "additive"])
def test_the_order_of_the_elements_changes_nothing(attention: str) -> None:
    made = block(attention=attention).float()
    memory, order = torch.randn(5, 9, 4), torch.randperm(9)
    one, other = made(memory), made(memory[:, order])
    torch.testing.assert_close(one.summary, other.summary, atol=1e-6, rtol=1e-6)
    torch.testing.assert_close(one.attention[..., order], other.attention, atol=1e-6, rtol=1e-6)
    index = torch.randint(3, (9,))
    ragged, moved = made.from_index(memory[0], index, 3), made.from_index(memory[0][order], index[order], 3)
    torch.testing.assert_close(ragged.summary, moved.summary, atol=1e-6, rtol=1e-6)


def test_of_one_element_every_read_out_is_that_element() -> None:
    memory = torch.randn(3, 1, 4, dtype=torch.float64)
    for steps in (1, 2, 5):
        found = block(steps=steps)(memory)
        assert torch.equal(found.summary[:, 4:], memory[:, 0]) and (found.attention == 1).all()


def test_without_steps_the_summary_is_zeros() -> None:
    found = block(steps=0)(torch.randn(2, 3, 4, dtype=torch.float64))
    assert not found.summary.any() and found.attention.shape == (2, 0, 3)


def test_empty_sets_at_the_end_are_known_by_their_number() -> None:
    made, x = block(), torch.randn(3, 4, dtype=torch.float64)
    index = torch.tensor([0, 2, 2])
    assert made.from_index(x, index).summary.shape == (3, 8)
    found = made.from_index(x, index, 5).summary
    assert found.shape == (5, 8)
    torch.testing.assert_close(found[:3], made.from_index(x, index).summary)
    assert made.from_index(x[:0], index[:0], 2).summary.shape == (2, 8)


def test_gradients_of_both_forms_agree_and_are_finite_on_empty_sets() -> None:
    made = block()
    x, index = torch.randn(5, 4, dtype=torch.float64), torch.tensor([0, 0, 2, 2, 2])
    ragged, padded = x.clone().requires_grad_(), x.clone().requires_grad_()
    made.from_index(ragged, index, 3).summary.pow(2).sum().backward()
    grads = [parameter.grad.clone() for parameter in made.parameters()]
    made.zero_grad()
    memory = torch.zeros(3, 3, 4, dtype=torch.float64)
    memory[0, :2], memory[2] = padded[:2], padded[2:]
    made(memory, torch.tensor([[1, 1, 0], [0, 0, 0], [1, 1, 1]]).bool()).summary.pow(2).sum().backward()
    torch.testing.assert_close(ragged.grad, padded.grad)
    for parameter, grad in zip(made.parameters(), grads, strict=True):
        torch.testing.assert_close(parameter.grad, grad)
    assert torch.isfinite(padded.grad).all()


def test_large_scores_stay_finite() -> None:
    found = block().from_index(1e4 * torch.randn(6, 4, dtype=torch.float64), torch.tensor([0, 0, 0, 1, 1, 1]))
    assert torch.isfinite(found.summary).all()


def test_a_state_dict_of_graph_libraries_loads() -> None:
    aggr = pytest.importorskip("torch_geometric.nn.aggr", reason="torch-geometric is not installed")
    theirs = aggr.Set2Set(4, 3).double()
    ours = SetProcess(4, 3).double()
    ours.load_state_dict(theirs.state_dict())
    x, index = torch.randn(8, 4, dtype=torch.float64), torch.tensor([0, 0, 0, 1, 2, 2, 2, 2])
    torch.testing.assert_close(ours.from_index(x, index).summary, theirs(x, index), atol=1e-9, rtol=0)
    theirs.load_state_dict(ours.state_dict())


def test_bad_input_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is outside the tests
    made = block()
    for arguments, message in (
        ((0, 1), "dim must be at least 1"),
        ((4, -1), "steps at least 0, not 4 and -1"),
        ((4, 1, "cosine"), "unknown attention"),
    ):
        with pytest.raises(InputError, match=message):
            SetProcess(*arguments)
    memory = torch.randn(2, 3, 4, dtype=torch.float64)
    with pytest.raises(InputError, match=r"memories are \(batch, n, 4\)"):
        made(memory[..., :3])
    with pytest.raises(InputError, match="has that shape, not"):
        made(memory, torch.ones(2, 2, dtype=torch.bool))
    with pytest.raises(InputError, match=r"\(count, 4\) with one index each"):
        made.from_index(memory[0, :, :3], torch.zeros(3, dtype=torch.int64))
    for index, sets, wrong in (([0, 3, 1], 3, "is 3"), ([0, -1, 1], None, "is -1")):
        with pytest.raises(InputError, match=f"an index {wrong}"):
            made.from_index(memory[0], torch.tensor(index), sets)
