from itertools import permutations
from pathlib import Path

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.data.sorting import sorting_batch
from ordinate.generate.constraints import tour
from ordinate.generate.decoding import beam_search, greedy
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.read_process_write import ReadProcessWrite
from ordinate.models.registry import create_model, load_model, save_model


def network(**options: object) -> ReadProcessWrite:
    torch.manual_seed(1)
    made = ReadProcessWrite(**{"in_dim": 1, "dim": 8, "steps": 2, **options})
    for parameter in made.parameters():
        torch.nn.init.uniform_(parameter, -0.8, 0.8)  # wide weights, so that a mistake shows
    return made


KINDS = [{}, {"steps": 0, "glimpses": 0}, {"glimpses": 2, "attention": "additive"}, {"encoder": "lstm"}, {"mask_used": True}]


@given(kind=st.sampled_from(KINDS), count=st.integers(1, 4), n=st.integers(1, 6), in_dim=st.integers(1, 3))
@settings(max_examples=25)
def test_shapes_and_probabilities(kind: dict[str, object], count: int, n: int, in_dim: int) -> None:
    model = network(in_dim=in_dim, **kind)
    target = torch.nn.functional.pad(torch.rand(count, n).argsort(dim=1) + 1, (0, 1))
    log_prob, logits = model(torch.rand(count, n, in_dim), target)
    assert logits.shape == (count, n + 1, n + 1)
    torch.testing.assert_close(logits.softmax(dim=-1).sum(dim=-1), torch.ones(count, n + 1))
    torch.testing.assert_close(log_prob, logits.log_softmax(dim=-1).gather(2, target[..., None]).sum(dim=(1, 2)))


@pytest.mark.parametrize("kind", KINDS)
def test_rows_of_mixed_lengths_are_as_each_alone_and_padding_is_not_read(kind: dict[str, object]) -> None:
    model = network(**kind)
    batch = sorting_batch((2, 5), 6, generator(0))
    points, target, lengths = batch["points"], batch["target"], batch["lengths"]
    log_prob, logits = model(points, target, lengths)
    for row, n in enumerate(lengths.tolist()):
        alone, alone_logits = model(points[row : row + 1, :n], target[row : row + 1, : n + 1])
        torch.testing.assert_close(log_prob[row], alone[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(logits[row, : n + 1, : n + 1], alone_logits[0], atol=1e-5, rtol=1e-5)
    spoiled = points.masked_fill((torch.arange(5) >= lengths[:, None])[..., None], float("nan"))
    assert torch.equal(model(spoiled, target, lengths)[0], log_prob)
    log_prob.sum().backward()
    assert all(parameter.grad is None or torch.isfinite(parameter.grad).all() for parameter in model.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_stepping_gives_the_log_probabilities_of_teacher_forcing(kind: dict[str, object]) -> None:
    model = network(**kind)
    batch = sorting_batch((3, 5), 4, generator(1), "random")
    logits = model(batch["points"], batch["target"], batch["lengths"])[1].log_softmax(dim=-1)
    state = model.init(batch)
    for step, symbols in enumerate(batch["target"].unbind(dim=1)):
        running = batch["lengths"] >= step
        torch.testing.assert_close(model.log_prob(state)[running], logits[running, step], atol=1e-5, rtol=1e-5)
        state = model.advance(state, symbols)
    rows = torch.tensor([2, 2, 0])
    state = model.init(batch)
    one = model.advance(model.reorder(state, rows), torch.tensor([1, 1, 2]))
    other = model.reorder(model.advance(state, torch.tensor([2, 3, 1, 1])), rows)
    torch.testing.assert_close(model.log_prob(one), model.log_prob(other))


def test_a_set_encoder_does_not_see_the_order_and_an_lstm_does() -> None:
    points, order = torch.rand(3, 6, 1), torch.randperm(6)
    answer = torch.nn.functional.pad(torch.rand(3, 6).argsort(dim=1) + 1, (0, 1))
    slots = torch.nn.functional.pad(order.argsort() + 1, (1, 0))  # where each slot has gone
    for encoder, same in (("set", True), ("lstm", False)):
        model = network(encoder=encoder)
        one, other = model(points, answer)[0], model(points[:, order], slots[answer])[0]
        assert torch.allclose(one, other, atol=1e-5) is same


@pytest.mark.parametrize("n", [1, 2, 3, 4])
@pytest.mark.parametrize("encoder", ["set", "lstm"])
def test_with_used_elements_masked_the_probabilities_of_all_orders_sum_to_one(encoder: str, n: int) -> None:
    model = network(encoder=encoder, mask_used=True)
    orders = torch.tensor(list(permutations(range(1, n + 1))))
    points = torch.rand(1, n, 1).expand(len(orders), -1, -1)
    total = model.sequence_log_prob({"points": points}, orders).double().logsumexp(dim=0)
    assert total.item() == pytest.approx(0, abs=1e-5)
    free = network(encoder=encoder).sequence_log_prob({"points": points}, orders).double().logsumexp(dim=0)
    assert free.item() < -0.1


def test_masked_and_constrained_decoding_emit_orders() -> None:
    points, lengths = torch.rand(4, 5, 1), torch.tensor([5, 3, 4, 1])
    masked = greedy(network(mask_used=True), {"points": points, "lengths": lengths}, most=6)
    beams = beam_search(network(), {"points": points, "lengths": lengths}, width=3, most=6, constraint=tour).best()
    for symbols in (masked.symbols, beams.symbols):
        for row, n in zip(symbols.tolist(), lengths.tolist(), strict=True):
            assert sorted(row[:n]) == list(range(1, n + 1)) and not any(row[n:])
    ended = torch.nn.functional.pad(beams.symbols, (0, 1))
    torch.testing.assert_close(network()(points, ended, lengths)[0], beams.log_prob, atol=1e-5, rtol=1e-5)


def test_what_follows_the_end_of_an_answer_does_not_count() -> None:
    model, points = network(), torch.rand(1, 4, 1)
    one, other = model(points, torch.tensor([[2, 0, 0, 0]]))[0], model(points, torch.tensor([[2, 0, 3, 1]]))[0]
    torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", KINDS)
def test_every_parameter_that_is_used_is_trained(kind: dict[str, object]) -> None:
    model = network(**kind)
    batch = sorting_batch((3, 5), 4, generator(1), "random")
    model(batch["points"], batch["target"], batch["lengths"])[0].sum().backward()
    idle = {name for name, parameter in model.named_parameters() if parameter.grad is None or not parameter.grad.any()}
    if kind.get("steps") == 0:  # zeros go into the start, and nothing asks the set
        assert idle == {"reader.start.weight", *(f"reader.process.lstm.{name}" for name, _ in model.reader.process.lstm.named_parameters())}
    else:
        assert not idle


def test_it_is_registered_saved_and_loaded(tmp_path: Path) -> None:
    model = create_model("read-process-write", in_dim=1, dim=8, encoder="lstm")
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model")
    batch = sorting_batch((3, 3), 2, generator(0))
    assert torch.equal(model(batch["points"], batch["target"])[0], again(batch["points"], batch["target"])[0])


def test_bad_input_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is outside the tests
    for options, message in (
        ({"steps": -1}, "steps at least 0"),
        ({"glimpses": -1}, "glimpses at least 0"),
        ({"encoder": "gru"}, "unknown encoder 'gru'"),
        ({"dim": 0}, "must be at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            ReadProcessWrite(**options)
    model, points = network(), torch.rand(2, 3, 1)
    answer = torch.tensor([[1, 2, 3, 0], [3, 2, 1, 0]])
    for bad, target, lengths, message in (
        (points[..., [0, 0]], answer, None, r"sets are \(batch, n, 1\)"),
        (points, answer, torch.tensor([3, 4]), "numbers from 1 to 3"),
        (points, answer, torch.tensor([3, 0]), "an empty set has no answer"),
        (points, answer, torch.tensor([3, 2]), "a slot that its row does not have"),
        (points * float("inf"), answer, None, "NaN or infinite"),
        (points, answer[:, :3], None, "no END"),
        (points, answer[:1], None, "2 sets and 1 answers"),
    ):
        with pytest.raises(InputError, match=message):
            model(bad, target, lengths)
    for target in ([[1, 1, 2, 0]], [[1, 2, 0, 0]]):
        with pytest.raises(InputError, match="not a permutation of its elements"):
            network(mask_used=True)(points[:1], torch.tensor(target))
