import math
from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ordinate.data.planar import sample
from ordinate.ground.errors import InputError
from ordinate.models.pointer_network import DECODERS, PointerNetwork
from ordinate.models.registry import create_model, load_model, save_model

HEADS = sorted(DECODERS)


def network(head: str, **options: object) -> PointerNetwork:
    torch.manual_seed(1)
    return PointerNetwork(hidden=8, head=head, n_max=9, spread=0.5, **options)  # wide weights, so that a mistake shows


def batch(problem: str = "hull", n: int | tuple[int, int] = (4, 7), count: int = 6) -> tuple[Tensor, Tensor, Tensor]:
    data = sample(problem, n, count, 0)
    return data.points, data.targets, data.lengths


@given(
    head=st.sampled_from(HEADS),
    count=st.integers(1, 4),
    n=st.integers(1, 9),
    steps=st.integers(1, 5),
    in_dim=st.integers(1, 4),
    layers=st.integers(1, 2),
    embed=st.sampled_from([None, 3]),
)
@settings(max_examples=30)
def test_shapes_and_probabilities(head: str, count: int, n: int, steps: int, in_dim: int, layers: int, embed: int | None) -> None:
    model = network(head, in_dim=in_dim, layers=layers, embed=embed)
    target = torch.randint(1, n + 1, (count, steps))
    target[:, -1] = 0
    log_prob, logits = model(torch.rand(count, n, in_dim), target)
    assert log_prob.shape == (count,) and logits.shape == (count, steps, n + 1)
    torch.testing.assert_close(logits.softmax(dim=-1).sum(dim=-1), torch.ones(count, steps))
    by_hand = logits.log_softmax(dim=-1).gather(2, target[..., None])[..., 0]
    place = torch.arange(steps)
    first_end = torch.where(target == 0, place, steps).amin(dim=1)
    torch.testing.assert_close(log_prob, (by_hand * (place <= first_end[:, None])).sum(dim=1))


@pytest.mark.parametrize("head", HEADS)
def test_rows_of_mixed_lengths_are_as_each_alone(head: str) -> None:
    model = network(head)
    points, target, lengths = batch()
    log_prob, logits = model(points, target, lengths)
    for row, n in enumerate(lengths.tolist()):
        steps = int((target[row] != 0).sum()) + 1
        alone, alone_logits = model(points[row : row + 1, :n], target[row : row + 1, :steps])
        torch.testing.assert_close(log_prob[row], alone[0], atol=1e-6, rtol=1e-6)
        torch.testing.assert_close(logits[row, :steps, : n + 1], alone_logits[0], atol=1e-6, rtol=1e-6)
        assert (logits[row, :, n + 1 :] == -math.inf).all()


@pytest.mark.parametrize("head", HEADS)
def test_what_pads_the_points_is_not_read(head: str) -> None:
    model = network(head)
    points, target, lengths = batch()
    spoiled = points.masked_fill((torch.arange(points.shape[1]) >= lengths[:, None])[..., None], math.nan)
    assert torch.equal(model(spoiled, target, lengths)[0], model(points, target, lengths)[0])


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("layers", [1, 2])
def test_stepping_gives_the_logits_of_teacher_forcing(head: str, layers: int) -> None:
    model = network(head, layers=layers)
    points, target, lengths = batch("delaunay", (3, 5))
    logits = model(points, target, lengths)[1].log_softmax(dim=-1)
    state = model.init({"points": points, "lengths": lengths})
    for step, symbols in enumerate(target.unbind(dim=1)):
        torch.testing.assert_close(model.log_prob(state), logits[:, step], atol=1e-6, rtol=1e-6)
        state = model.advance(state, symbols)


def test_a_state_is_not_changed_by_what_is_done_with_it() -> None:
    model = network("attention")
    state = model.init({"points": torch.rand(3, 4, 2)})
    before = model.log_prob(state).clone()
    model.advance(state, torch.tensor([1, 2, 3]))
    model.reorder(state, torch.tensor([2, 2, 0]))
    assert torch.equal(model.log_prob(state), before)


@pytest.mark.parametrize("head", HEADS)
def test_reordered_rows_go_on_as_they_would_have(head: str) -> None:
    model = network(head)
    state = model.advance(model.init({"points": torch.rand(3, 4, 2)}), torch.tensor([1, 2, 3]))
    rows = torch.tensor([2, 2, 0])
    one = model.advance(model.reorder(state, rows), torch.tensor([1, 1, 4]))
    other = model.reorder(model.advance(state, torch.tensor([4, 1, 1])), rows)
    torch.testing.assert_close(model.log_prob(one), model.log_prob(other))


def test_the_decoder_is_fed_coordinates() -> None:
    """Equation 3's input is the point itself: two answers whose points lie at the same place give the same next distribution."""
    model = network("pointer")
    points = torch.rand(1, 4, 2)
    points[0, 3] = points[0, 1]
    _, one = model(points, torch.tensor([[2, 1, 0]]))
    _, other = model(points, torch.tensor([[4, 1, 0]]))
    assert torch.equal(one, other)
    assert not torch.equal(one, model(points, torch.tensor([[3, 1, 0]]))[1])


def test_the_pointer_by_hand() -> None:
    """The formulas of the paper, written with loops."""
    model = network("pointer")
    points, target, _ = batch(n=5, count=1)
    encoder, decoder = nn.LSTMCell(2, 8), nn.LSTMCell(2, 8)
    for cell, kernel in ((encoder, model.encoder), (decoder, model.decoder.lstm)):
        cell.load_state_dict({name.removesuffix("_l0"): value for name, value in kernel.state_dict().items()})
    memory, state = [model.decoder.end[None]], (torch.zeros(1, 8), torch.zeros(1, 8))
    for point in points[0]:
        state = encoder(point[None], state)
        memory.append(state[0])
    head, fed, total = model.decoder.head, model.go[None], 0.0
    for symbol in target[0].tolist():
        state = decoder(fed, state)
        scores = [head.score(torch.tanh(head.key(e) + head.query(state[0]))).squeeze() for e in memory]
        total += torch.stack(scores).log_softmax(dim=0)[symbol].item()
        if symbol == 0:
            break
        fed = points[:, symbol - 1]
    assert model(points, target)[0].item() == pytest.approx(total, abs=1e-5)


@pytest.mark.parametrize("head", HEADS)
def test_every_parameter_is_trained(head: str) -> None:
    model = network(head, embed=3)
    points, target, lengths = batch()
    (-model(points, target, lengths)[0].mean()).backward()
    dead = [name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()]
    assert not dead


@pytest.mark.parametrize("head", HEADS)
def test_a_few_steps_fit_a_batch(head: str) -> None:
    model = network(head)
    points, target, lengths = batch("tsp", (3, 5), 8)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.03)
    losses = []
    for _ in range(60):
        loss = -model(points, target, lengths)[0].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.3 * losses[0]


def test_a_pointer_takes_any_number_of_points() -> None:
    model = network("pointer")
    for n in (1, 30, 200):
        assert torch.isfinite(model(torch.rand(2, n, 2), torch.tensor([[n, 0], [1, 0]]))[0]).all()


def test_the_paper_s_start_is_uniform_and_torch_s_own_is_kept_without() -> None:
    spread = torch.cat([parameter.flatten() for parameter in PointerNetwork(hidden=16, spread=0.08).parameters()])
    assert 0.079 < spread.max() <= 0.08 and -0.08 <= spread.min() < -0.079
    assert PointerNetwork(hidden=16).encoder.weight_hh_l0.abs().max() > 0.2


def test_it_is_created_by_name_saved_and_loaded(tmp_path: Path) -> None:
    for name, head in (("pointer", "PointerDecoder"), ("seq2seq-attention", "AttentionDecoder"), ("seq2seq", "IndexDecoder")):
        model = create_model(name, hidden=8, n_max=6)
        assert isinstance(model, PointerNetwork) and type(model.decoder).__name__ == head
        save_model(model, tmp_path / name)
        points, target, lengths = batch(n=(4, 6))
        assert torch.equal(load_model(tmp_path / name)(points, target, lengths)[0], model(points, target, lengths)[0])


def test_the_size_of_the_paper() -> None:
    """Two LSTMs of 256 over plane points, W1, W2 and v, END and GO."""
    lstm = 4 * (256 * (2 + 256) + 2 * 256)
    assert sum(parameter.numel() for parameter in create_model("pointer").parameters()) == 2 * lstm + 2 * 256 * 256 + 256 + 256 + 2


@pytest.mark.parametrize("head", HEADS)
def test_bad_input_is_refused(head: str) -> None:
    model = network(head)
    points, target = torch.rand(2, 4, 2), torch.tensor([[1, 2, 0], [3, 0, 0]])
    for wrong, message in (
        (torch.tensor([[1, 5, 0], [3, 0, 0]]), "a slot that its row does not have"),
        (torch.tensor([[1, -1, 0], [3, 0, 0]]), "a slot that its row does not have"),
        (torch.tensor([[1, 2, 0], [3, 1, 2]]), "no END"),
    ):
        with pytest.raises(InputError, match=message):
            model(points, wrong)
    with pytest.raises(InputError, match="a slot that its row does not have"):
        model(points, torch.tensor([[1, 4, 0], [3, 0, 0]]), torch.tensor([3, 4]))
    for lengths in ([0, 4], [4, 5]):
        with pytest.raises(InputError, match="numbers from 1 to 4"):
            model(points, target, torch.tensor(lengths))
    with pytest.raises(InputError, match="NaN or infinite"):
        model(points.index_fill(0, torch.tensor([1]), math.nan), target)
    with pytest.raises(InputError, match="NaN or infinite"):
        model.init({"points": torch.full((1, 3, 2), math.inf)})
    with pytest.raises(InputError, match="at least one in each row"):
        model.init({"points": torch.rand(2, 0, 2)})


def test_points_of_another_width_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InputError, match=r"\(batch, n, 2\)"):
        network("pointer").init({"points": torch.rand(2, 4, 3)})
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is outside the tests
    with pytest.raises(InputError, match="2 sets of points and 1 answers"):
        network("pointer")(torch.rand(2, 4, 2), torch.tensor([[1, 0]]))


@pytest.mark.parametrize("head", ["attention", "seq2seq"])
def test_a_fixed_head_says_that_it_cannot_grow(head: str) -> None:
    with pytest.raises(InputError, match="at most 9 points and was given 10: a fixed softmax cannot grow"):
        network(head).init({"points": torch.rand(1, 10, 2)})
    with pytest.raises(InputError, match="needs n_max"):
        PointerNetwork(head=head)


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="unknown head"):
        PointerNetwork(head="pointers")
    with pytest.raises(InputError, match="at least 1"):
        PointerNetwork(hidden=0)
