import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.data.planar import sample
from ordinate.generate.constraints import CONSTRAINTS, no_repeat, tour
from ordinate.generate.decoding import beam_search, greedy, roll
from ordinate.ground.errors import InputError
from ordinate.models.pointer_network import DECODERS, PointerNetwork
from tests.generate.tables import Tables, random_tables


def network(head: str = "pointer") -> PointerNetwork:
    torch.manual_seed(2)
    return PointerNetwork(hidden=8, head=head, n_max=9, spread=1.0)


def all_sequences(symbols: int, most: int) -> list[tuple[int, ...]]:
    """Every sequence that ends in END within `most` symbols, and every one that is cut there."""
    ended = [(*body, 0) for length in range(most) for body in itertools.product(range(1, symbols), repeat=length)]
    return ended + list(itertools.product(range(1, symbols), repeat=most))


@given(batch=st.integers(1, 4), symbols=st.integers(2, 4), most=st.integers(1, 4), seed=st.integers(0, 99))
@settings(max_examples=25)
def test_a_beam_as_wide_as_there_are_sequences_finds_them_all_in_order(batch: int, symbols: int, most: int, seed: int) -> None:
    torch.manual_seed(seed)
    inputs = random_tables(batch, symbols)
    everything = all_sequences(symbols, most)
    beams = beam_search(Tables(), inputs, width=len(everything) + 2, most=most)
    for row, table in enumerate(inputs["tables"]):
        by_hand = {
            tuple(sequence) + (0,) * (most - len(sequence)): sum(table[a, b].item() for a, b in itertools.pairwise((0, *sequence)))
            for sequence in everything
        }
        found = beams.symbols[row, : len(everything)]
        found = torch.nn.functional.pad(found, (0, most - found.shape[1])).tolist()
        assert {tuple(sequence) for sequence in found} == by_hand.keys()
        log_prob = beams.log_prob[row]
        assert log_prob[: len(everything)].tolist() == pytest.approx([by_hand[tuple(sequence)] for sequence in found], abs=1e-5)
        assert (log_prob[len(everything) :] == -math.inf).all() and (log_prob[: len(everything)].diff() <= 0).all()
    best = beams.best()
    assert torch.equal(best.symbols, beams.symbols[:, 0]) and torch.equal(best.log_prob, beams.log_prob[:, 0])


@pytest.mark.parametrize("head", sorted(DECODERS))
@pytest.mark.parametrize("constraint", sorted(CONSTRAINTS))
def test_a_beam_of_one_is_greedy(head: str, constraint: str) -> None:
    data = sample("hull", (4, 7), 12, 0)
    inputs = {"points": data.points, "lengths": data.lengths}
    one = beam_search(network(head), inputs, width=1, most=13, constraint=CONSTRAINTS[constraint]).best()
    other = greedy(network(head), inputs, most=13, constraint=CONSTRAINTS[constraint])
    assert torch.equal(one.symbols, other.symbols) and torch.equal(one.ended, other.ended)
    torch.testing.assert_close(one.log_prob, other.log_prob)


@pytest.mark.parametrize("head", sorted(DECODERS))
def test_the_log_probability_of_every_beam_is_that_of_teacher_forcing(head: str) -> None:
    model = network(head)
    data = sample("hull", (4, 6), 5, 0)
    for constraint in (no_repeat, tour):
        beams = beam_search(model, {"points": data.points, "lengths": data.lengths}, width=4, most=9, constraint=constraint)
        assert beams.ended.all()
        for beam in range(4):
            again = model(data.points, beams.symbols[:, beam], data.lengths)[0]
            torch.testing.assert_close(beams.log_prob[:, beam], again, atol=1e-5, rtol=1e-5)


def test_the_widest_beam_over_tours_is_the_exhaustive_argmax() -> None:
    model = network()
    points = torch.rand(3, 4, 2)
    tours = torch.tensor([(*order, 0) for order in itertools.permutations((1, 2, 3, 4))])
    beams = beam_search(model, {"points": points}, width=24, most=5, constraint=tour)
    for row in range(3):
        every = model(points[row].expand(24, 4, 2), tours)[0]
        assert beams.symbols[row, 0].tolist() == tours[every.argmax()].tolist()
        torch.testing.assert_close(beams.log_prob[row], every.sort(descending=True).values, atol=1e-5, rtol=1e-5)


@given(width=st.integers(1, 6), count=st.integers(1, 5), seed=st.integers(0, 50))
@settings(max_examples=15)
def test_rows_of_a_batch_are_searched_as_if_alone(width: int, count: int, seed: int) -> None:
    model, data = network(), sample("hull", (3, 6), count, seed)
    together = beam_search(model, {"points": data.points, "lengths": data.lengths}, width=width, most=8, constraint=no_repeat)
    for row, n in enumerate(data.lengths.tolist()):
        alone = beam_search(model, {"points": data.points[row : row + 1, :n]}, width=width, most=8, constraint=no_repeat)
        steps = alone.symbols.shape[2]
        assert torch.equal(together.symbols[row, :1, :steps], alone.symbols[0, :1]) and not together.symbols[row, 0, steps:].any()
        torch.testing.assert_close(together.log_prob[row], alone.log_prob[0], atol=1e-5, rtol=1e-5)


def test_a_wider_beam_finds_nothing_less_likely_here() -> None:
    inputs = random_tables(200, 6)
    likelihood = [beam_search(Tables(), inputs, width=width, most=5).best().log_prob.mean().item() for width in (1, 3, 12)]
    assert likelihood == sorted(likelihood) and likelihood[2] > likelihood[0]


def test_what_follows_the_end_is_end_and_costs_nothing() -> None:
    tables = torch.tensor([[0.1, 0.9], [0.9, 0.1]]).log().expand(2, 2, 2).clone()
    tables[1] = torch.tensor([[0.4, 0.6], [0.3, 0.7]]).log()
    decoded = greedy(Tables(), {"tables": tables}, most=4)
    assert decoded.symbols.tolist() == [[1, 0, 0, 0], [1, 1, 1, 1]] and decoded.ended.tolist() == [True, False]
    assert decoded.log_prob.exp().tolist() == pytest.approx([0.9 * 0.9, 0.6 * 0.7**3])


def test_decoding_stops_when_all_have_ended() -> None:
    tables = torch.tensor([[0.1, 0.9], [0.9, 0.1]]).log()[None]
    assert greedy(Tables(), {"tables": tables}, most=50).symbols.shape == (1, 2)


def test_without_an_end_every_symbol_is_a_symbol() -> None:
    tables = torch.tensor([[0.1, 0.9], [0.9, 0.1]]).log()[None]
    decoded = greedy(Tables(), {"tables": tables}, most=5, end=None)
    assert decoded.symbols.tolist() == [[1, 0, 1, 0, 1]] and not decoded.ended.any()
    assert beam_search(Tables(), {"tables": tables}, width=2, most=5, end=None).symbols[0, 0].tolist() == [1, 0, 1, 0, 1]


def test_any_symbol_may_be_the_end() -> None:
    tables = torch.tensor([[0.1, 0.9], [0.9, 0.1]]).log()[None]
    assert greedy(Tables(), {"tables": tables}, most=5, end=1).symbols.tolist() == [[1]]


def test_a_sampler_is_a_rule_for_the_next_symbol() -> None:
    draws = torch.Generator().manual_seed(0)
    tables = torch.tensor([[0.0, 0.2, 0.8], [1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]).log().expand(4000, 3, 3)
    decoded = roll(Tables(), {"tables": tables}, lambda log_prob: torch.multinomial(log_prob.exp(), 1, generator=draws)[:, 0], most=3)
    assert (decoded.symbols[:, 0] == 2).double().mean().item() == pytest.approx(0.8, abs=0.03)
    assert decoded.ended.all()


def test_no_gradients_are_kept() -> None:
    assert not greedy(network(), {"points": torch.rand(2, 4, 2)}, most=3).log_prob.requires_grad


def test_bad_arguments_and_dead_ends_are_refused() -> None:
    inputs = random_tables(2, 3)
    for call in (lambda: greedy(Tables(), inputs, most=0), lambda: beam_search(Tables(), inputs, width=0, most=3)):
        with pytest.raises(InputError, match="at least one symbol and one beam"):
            call()
    for call in (
        lambda: greedy(Tables(), inputs, most=3, constraint=lambda prefix, possible: possible & (prefix.shape[1] < 1)),
        lambda: beam_search(Tables(), inputs, width=2, most=3, constraint=lambda prefix, possible: possible & False),
    ):
        with pytest.raises(InputError, match=r"no symbol at step [12] of row 0"):
            call()
