from collections import Counter
from itertools import permutations

import jaxtyping
import pytest
import torch
from scipy import stats
from torch import nn

from ordinate.data.sorting import sorting_batch
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.lstm_language_model import LSTMLanguageModel
from ordinate.models.mlp import MLP
from ordinate.models.placed_language_model import PlacedLanguageModel
from ordinate.models.read_process_write import ReadProcessWrite
from ordinate.objectives.base import create_objective
from ordinate.objectives.order_search import OrderSearch, best_order, sample_order


def language_model(vocabulary: int = 7) -> LSTMLanguageModel:
    torch.manual_seed(1)
    model = LSTMLanguageModel(vocabulary, dim=6)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -1.5, 1.5)
    return model.eval()


def every_order(model: LSTMLanguageModel, items: torch.Tensor) -> dict[tuple[int, ...], float]:
    orders = torch.tensor(list(permutations(range(len(items)))))
    scores = model.sequence_log_prob({}, items[orders])
    return dict(zip(map(tuple, orders.tolist()), scores.tolist(), strict=True))


def test_log_q_is_log_p_without_what_was_not_allowed() -> None:
    model, items = language_model(), torch.tensor([[4, 0, 2, 6], [1, 3, 5, 2]])
    drawn = sample_order(model, {"items": items}, items, draws=generator(0))
    assert drawn.order.sort(dim=1).values.tolist() == [[0, 1, 2, 3]] * 2
    symbols = items.gather(1, drawn.order)
    torch.testing.assert_close(drawn.log_prob, model.sequence_log_prob({}, symbols))
    lost = torch.zeros(2)
    for step in range(4):
        prefix = {"items": items}
        state = model.init(prefix)
        for symbol in symbols[:, :step].unbind(dim=1):
            state = model.advance(state, symbol)
        lost += model.log_prob(state).gather(1, symbols[:, step:]).logsumexp(dim=1)
    torch.testing.assert_close(drawn.log_q, drawn.log_prob - lost)


def test_orders_come_as_often_as_the_model_says_where_all_its_mass_is_on_what_is_left() -> None:
    torch.manual_seed(2)
    model = ReadProcessWrite(in_dim=1, dim=6, steps=1, mask_used=True)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -1.5, 1.5)
    points = torch.rand(1, 3, 1)
    orders = torch.tensor(list(permutations((1, 2, 3))))
    exact = model.sequence_log_prob({"points": points.expand(6, -1, -1)}, orders).exp().tolist()
    count = 4000
    items = torch.tensor([1, 2, 3]).expand(count, -1)
    drawn = sample_order(model, {"points": points.expand(count, -1, -1)}, items, draws=generator(3))
    counts = Counter(map(tuple, (drawn.order + 1).tolist()))
    observed = [counts[tuple(order)] for order in orders.tolist()]
    expected = [count * chance / sum(exact) for chance in exact]
    assert stats.chisquare(observed, expected).pvalue > 1e-3
    torch.testing.assert_close(drawn.log_q, drawn.log_prob, atol=1e-5, rtol=1e-5)


def test_equal_elements_share_the_probability_of_their_symbol() -> None:
    """Of {a, a, b} the sequences aab, aba and baa are drawn with the restricted probabilities of their symbols, and log_q is that of the symbols."""
    model, count = language_model(3), 6000
    items = torch.tensor([2, 2, 1]).expand(count, -1)
    drawn = sample_order(model, {"items": items}, items, draws=generator(1))
    symbols = items.gather(1, drawn.order)
    state = model.init({"items": items[:1]})
    first = model.log_prob(state)[0, [1, 2]].softmax(dim=0)
    after = model.log_prob(model.advance(state, torch.tensor([2])))[0, [1, 2]].softmax(dim=0)
    exact = {(1, 2, 2): first[0].item(), (2, 1, 2): (first[1] * after[0]).item(), (2, 2, 1): (first[1] * after[1]).item()}
    counts = Counter(map(tuple, symbols.tolist()))
    assert stats.chisquare([counts[key] for key in exact], [count * chance for chance in exact.values()]).pvalue > 1e-3
    for row in range(5):
        assert drawn.log_q[row].exp().item() == pytest.approx(exact[tuple(symbols[row].tolist())], rel=1e-4)
    twice = drawn.order[(symbols[:, 0] == 2)][:, 0]
    assert 0.4 < (twice == 0).double().mean() < 0.6


def test_the_best_order_is_the_likeliest_of_all_and_greedy_takes_the_likeliest_step() -> None:
    model, items = language_model(), torch.tensor([[4, 0, 2, 6]])
    known = every_order(model, items[0])
    best = best_order(model, {"items": items}, items)
    assert tuple(best.order[0].tolist()) == max(known, key=known.__getitem__)
    assert best.log_prob.item() == pytest.approx(max(known.values()), rel=1e-5)
    assert best.log_q.item() == pytest.approx(max(known.values()) - torch.tensor(list(known.values())).logsumexp(0).item(), rel=1e-4)
    greedy = sample_order(model, {"items": items}, items, greedy=True)
    first = model.log_prob(model.init({"items": items}))[0, items[0]].argmax()
    assert greedy.order[0, 0] == first
    cold = sample_order(model, {"items": items}, items, temperature=1e-4, draws=generator(0))
    assert torch.equal(cold.order, greedy.order)


def test_no_gradient_goes_through_the_drawing_and_the_loss_is_the_plain_likelihood() -> None:
    model, items = language_model(), torch.tensor([[4, 0, 2], [1, 3, 5]])
    search = OrderSearch("sample", warmup=0)
    torch.manual_seed(5)
    orders = search.orders(model, {"items": items})
    torch.manual_seed(5)
    loss = search(model, {"items": items})
    plain = -model.sequence_log_prob({}, items.gather(1, orders)).mean() / 3
    torch.testing.assert_close(loss, plain)
    ours = torch.autograd.grad(loss, list(model.parameters()))
    theirs = torch.autograd.grad(plain, list(model.parameters()))
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_one_candidate_is_the_order_that_is_given() -> None:
    model, items = language_model(), torch.tensor([[4, 0, 2], [1, 3, 5]])
    given = OrderSearch("given")(model, {"items": items})
    for mode in ("max", "sample", "greedy", "uniform"):
        torch.testing.assert_close(OrderSearch(mode, warmup=0, candidates=[[0, 1, 2]])(model, {"items": items}), given)
    turned = OrderSearch("given", candidates=[[2, 0, 1]])(model, {"items": items})
    torch.testing.assert_close(turned, OrderSearch("given")(model, {"items": items[:, [2, 0, 1]]}))


def test_of_candidates_the_best_or_one_in_proportion() -> None:
    model, items = language_model(), torch.tensor([[4, 0, 2]]).expand(3000, -1)
    candidates = [[0, 1, 2], [2, 1, 0], [1, 0, 2]]
    known = every_order(model, items[0])
    scores = torch.tensor([known[tuple(order)] for order in candidates])
    best = OrderSearch("max", warmup=0, candidates=candidates).orders(model, {"items": items[:1]})
    assert best.tolist() == [candidates[int(scores.argmax())]]
    drawn = Counter(map(tuple, OrderSearch("sample", warmup=0, candidates=candidates).orders(model, {"items": items}).tolist()))
    observed = [drawn[tuple(order)] for order in candidates]
    assert stats.chisquare(observed, (3000 * scores.softmax(dim=0).double()).tolist(), sum_check=False).pvalue > 1e-3
    assert drawn.keys() <= set(map(tuple, candidates))


def test_the_warm_up_draws_any_order_and_ends_and_is_restored() -> None:
    model, items = language_model(), torch.tensor([[4, 0, 2]]).expand(600, -1)
    search = OrderSearch("greedy", warmup=2)
    assert search.warming and len(set(map(tuple, search.orders(model, {"items": items}).tolist()))) == 6
    search.update()
    twin = OrderSearch("greedy", warmup=2)
    twin.load_state_dict(search.state_dict())
    assert twin.warming
    twin.update()
    assert not twin.warming and len(set(map(tuple, twin.orders(model, {"items": items}).tolist()))) == 1


def test_sets_of_several_sizes_keep_their_padding_at_the_end() -> None:
    torch.manual_seed(0)
    model = ReadProcessWrite(in_dim=1, dim=6, steps=1, mask_used=True)
    batch = sorting_batch((1, 4), 9, generator(0))
    for mode in ("uniform", "sample", "greedy"):
        orders = OrderSearch(mode, warmup=0).orders(model, batch)
        symbols = batch["items"].gather(1, orders)
        assert torch.equal(symbols >= 0, batch["items"] >= 0)
        assert orders.sort(dim=1).values.tolist() == [[0, 1, 2, 3]] * 9
    drawn = sample_order(model, batch, batch["items"], draws=generator(0))
    ended = model.sequence_log_prob(batch, batch["items"].gather(1, drawn.order))
    torch.testing.assert_close(drawn.log_prob, ended, atol=1e-5, rtol=1e-5)  # under the mask END adds nothing
    assert torch.isfinite(OrderSearch("sample", warmup=0)(model, batch))


def test_exact_search_is_at_least_as_likely_as_any_other() -> None:
    torch.manual_seed(3)
    model = PlacedLanguageModel(4, 4, dim=6)
    items = torch.randint(4, (5, 4)) + 4 * torch.arange(4)
    losses = {mode: OrderSearch(mode, warmup=0)(model, {"items": items}).item() for mode in ("given", "sample", "greedy", "max")}
    assert losses["max"] == min(losses.values())


def test_bad_input_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is outside the tests
    model, items = language_model(), torch.tensor([[4, 0, 2]])
    for options, message in (
        ({"mode": "best"}, "unknown mode 'best'"),
        ({"warmup": -1}, "warmup must be 0 or more"),
        ({"temperature": 0.0}, "temperature positive"),
        ({"candidates": [[0, 1], [1, 1]]}, "candidates are permutations"),
        ({"candidates": [[0, 1], [0, 1, 2]]}, "candidates are permutations"),
        ({"candidates": []}, "candidates are permutations"),
    ):
        with pytest.raises(InputError, match=message):
            create_objective("order-search", model, **options)
    with pytest.raises(InputError, match="orders of 2 elements, and the sets have 3"):
        OrderSearch("sample", candidates=[[0, 1]])(model, {"items": items})
    with pytest.raises(InputError, match="362,880: at most 8 elements"):
        OrderSearch("max", warmup=0)(language_model(9), {"items": torch.arange(9)[None]})
    with pytest.raises(InputError, match="sets of one size"):
        best_order(model, {"items": items}, torch.tensor([[4, 0, -1]]))
    with pytest.raises(InputError, match="sets of one size"):
        OrderSearch("max", warmup=0, candidates=[[0, 1, 2]])(model, {"items": torch.tensor([[4, 0, -1]])})
    for wrong in ([[-1, 2]], [[1, -1, 2]], [[-2, 1]]):
        with pytest.raises(InputError, match="padded with -1 at the end"):
            sample_order(model, {"items": items}, torch.tensor(wrong))
    with pytest.raises(InputError, match="at least one in a set"):
        sample_order(model, {"items": items}, items[:, :0])
    with pytest.raises(InputError, match="temperature must be positive"):
        sample_order(model, {"items": items}, items, temperature=0.0)
    with pytest.raises(InputError, match="reads batches of items"):
        OrderSearch()(model, {"tokens": items})
    with pytest.raises(InputError, match="such as read-process-write, not MLP"):
        create_objective("order-search", MLP(num_classes=3, image_size=4, hidden=[6]))
