"""The tasks in which arms differ by the order in which they emit the same thing: texts, trees, stars, n-grams."""

import math
from pathlib import Path

import pytest
import torch

from ordinate.data.words import WordData
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Run
from ordinate.ground.errors import InputError
from ordinate.tasks.language_orders import LanguageOrders, OrderedText
from ordinate.tasks.order_search import OrderedNGrams, SearchArm, kendall_tau
from ordinate.tasks.parsing import LinearArm, Parsing
from ordinate.tasks.star import HeadArm, Star

SETTING = Setting(seeds=(0,), steps=4)
CYCLE = torch.arange(400) % 6


def text() -> LanguageOrders:
    return LanguageOrders(CYCLE, CYCLE, 6, steps=4, length=8, batch_size=4, dim=8, most_tested=80)


def grams(**options: object) -> OrderedNGrams:
    words = WordData("cycle", CYCLE, CYCLE, [str(number) for number in range(6)])
    return OrderedNGrams(words, **{"steps": 4, "warmup": 2, "batch_size": 8, "dim": 8, "tested": 40, **options})


@pytest.mark.parametrize("name", ["natural", "reversed", "three-word"])
def test_a_text_is_read_in_every_order(name: str) -> None:
    task = text()
    outcome = task.run(task.arm(name), Run(0, SETTING))
    assert 1 < outcome.metrics["perplexity"] < 12 and len(outcome.curves["perplexity"]) == 4


def test_a_text_that_follows_from_its_beginning_is_learnt() -> None:
    task = LanguageOrders(CYCLE, CYCLE, 6, steps=80, length=8, batch_size=8, dim=16, lr=3e-2, most_tested=80)
    for name in ("natural", "reversed"):
        assert task.run(task.arm(name), Run(0, Setting(seeds=(0,)))).metrics["perplexity"] < 1.2


def test_texts_by_name_and_path(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("one two three four five " * 120)
    words, characters = LanguageOrders.from_data(str(path), SETTING), LanguageOrders.from_data(f"characters:{path}", SETTING)
    assert words.vocabulary == 6 and characters.vocabulary > 6 and len(characters.text) > len(words.text)
    with pytest.raises(InputError, match="longer than a window"):
        LanguageOrders(CYCLE, CYCLE[:5], 6, steps=1, length=8)


@pytest.mark.parametrize("name", ["depth-first", "breadth-first"])
def test_trees_are_learnt_in_both_orders(name: str) -> None:
    task = Parsing(steps=4, batch_size=4, dim=8, count=30, tested=10)
    outcome = task.run(task.arm(name), Run(0, SETTING))
    assert outcome.metrics["exact"] == 0 and outcome.metrics["invalid"] == 100 and outcome.metrics["F1"] == 0


def test_the_smallest_sentences_are_parsed() -> None:
    task = Parsing(steps=100, batch_size=16, dim=24, depth=3, count=200, tested=60, lr=2e-2)
    outcome = task.run(task.arm("depth-first"), Run(0, Setting(seeds=(0,))))
    assert outcome.metrics["exact"] > 80 and outcome.metrics["invalid"] < 10 and outcome.metrics["F1"] >= outcome.metrics["exact"]


@pytest.mark.parametrize("name", ["head-first", "head-last"])
def test_a_star_is_measured_where_the_held_out_part_is_likeliest(name: str) -> None:
    task = Star(n_vars=3, values=3, count=40, held_out=40, tested=60, steps=32, batch_size=8, dim=8, lr=3e-2)
    outcome = task.run(task.arm(name), Run(0, Setting(seeds=(0,))))
    curves = outcome.curves
    best = min(curves["held out"], key=lambda point: point[1])
    assert outcome.notes["stopped at step"] == best[0] and outcome.metrics["nats"] == dict(curves["nats"])[best[0]]
    assert outcome.metrics["gap"] == pytest.approx(outcome.metrics["nats"] - outcome.notes["nats of the true model"])
    assert outcome.metrics["nats"] < curves["nats"][0][1]


@pytest.mark.parametrize("name", ["natural", "scattered", "easy", "hard", "hard-cold"])
def test_every_way_to_choose_an_order_runs(name: str) -> None:
    task = grams()
    outcome = task.run(task.arm(name), Run(0, SETTING))
    metrics = outcome.metrics
    assert 1 < metrics["perplexity"] < 200 and 100 / 120 <= metrics["favourite"] <= 100 and -1 <= metrics["tau"] <= 1
    if name in ("natural", "scattered"):
        assert outcome.notes["orders"] == {"1 2 3 4 5" if name == "natural" else "5 1 3 4 2": 100.0}
        assert metrics["tau"] == pytest.approx(1.0 if name == "natural" else -0.2)
    if name == "easy":
        assert outcome.notes["orders"].keys() <= {"1 2 3 4 5", "5 1 3 4 2"}
    assert task.run(task.arm(name), Run(0, SETTING)).metrics == metrics


def test_sets_that_follow_from_any_element_cost_their_first_alone() -> None:
    task = grams(n=3, steps=120, warmup=20, lr=3e-2, dim=16, batch_size=16)
    found = task.run(task.arm("natural"), Run(0, Setting(seeds=(0,)))).metrics
    assert found["perplexity"] == pytest.approx(6 ** (1 / 3), rel=0.1)
    searched = task.run(task.arm("hard"), Run(0, Setting(seeds=(0,)))).metrics
    assert searched["perplexity"] < 18 ** (1 / 3) * 1.15  # at worst the first place is drawn too


def test_kendalls_tau_by_hand() -> None:
    orders = torch.tensor([[0, 1, 2, 3, 4], [4, 3, 2, 1, 0], [4, 0, 2, 3, 1], [1, 0, 2, 3, 4]])
    torch.testing.assert_close(kendall_tau(orders), torch.tensor([1, -1, -0.2, 0.8]).double())


def test_what_ordinate_train_needs(tmp_path: Path) -> None:
    path = tmp_path / "text.txt"
    path.write_text("one two three four five " * 120)
    task = OrderedNGrams.from_data(str(path), SETTING)
    model = task.arm("hard").make(**task.model_arguments())
    assert {metric.name for metric in task.metrics} == task.score(model, "cpu").keys()
    assert task.input_card()["n"] == 5 and task.batches(0, "order-search")(0)["items"].shape == (64, 5)
    assert math.isfinite(task.score(model, "cpu")["perplexity"])


def test_bad_arms_and_data_are_refused() -> None:
    plain = Arm("plain", lambda: None)
    for task, words in (
        (text(), "OrderedText"),
        (Parsing(steps=1, count=2, tested=2), "LinearArm"),
        (Star(steps=1, count=2), "HeadArm"),
    ):
        with pytest.raises(InputError, match=words):
            task.run(plain, Run(0, SETTING))
        with pytest.raises(InputError, match="unknown arm 'sideways'"):
            task.arm("sideways")
    with pytest.raises(InputError, match="for 5-grams"):
        grams(n=3).arm("easy")
    with pytest.raises(InputError, match="takes no data"):
        Parsing.from_data("trees.txt", SETTING)
    for make, words in (
        (lambda: OrderedText("x", lambda: None, order="odd"), "order of words"),
        (lambda: LinearArm("x", lambda: None, linearisation="odd"), "linearisation"),
        (lambda: HeadArm("x", lambda: None, head="odd"), "place of the head"),
    ):
        with pytest.raises(InputError, match=words):
            make()
    assert SearchArm("x", lambda: None).search == {}
