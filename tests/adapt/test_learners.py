"""Addition, negation, few shots, the search, penalties: what they keep, and what they refuse."""

from copy import deepcopy

import pytest
import torch
from torch import nn

from ordinate.adapt.addition import learn_addition, normalised_accuracy
from ordinate.adapt.alpha_search import GRID, search_alpha
from ordinate.adapt.coefficient_learning import CoefficientPenalty, TaskData, accuracy, keep_best
from ordinate.adapt.composed_model import ComposedModel
from ordinate.adapt.few_shot import LEAST_STEPS, learn_few_shot
from ordinate.adapt.negation import forgetting_score, learn_negation
from ordinate.adapt.task_vector import TaskBank, TaskVector
from ordinate.data.batches import Shuffled, Subset
from ordinate.ground.errors import InputError
from ordinate.objectives.routed_classification import RoutedClassification
from ordinate.train.fit import fit
from ordinate.train.recipe import Recipe
from tests.adapt.small import bank_of, clusters, head_of, network, set_coefficients, task_of


def _tuned(model: nn.Module, task: TaskData) -> nn.Module:
    tuned = deepcopy(model)
    objective = RoutedClassification([task.head])
    source = task.learn
    fit(
        tuned,
        lambda judged, batch: objective(judged, {**batch, "task": torch.zeros(len(batch["label"]), dtype=torch.int64)}),
        Shuffled(source, 20, 0),
        Recipe(steps=60, lr=3e-2),
    )
    return tuned


@pytest.fixture
def world() -> tuple[nn.Module, TaskBank, list[TaskData]]:
    model = network().eval()
    tasks = [task_of("near"), task_of("far", shift=1.5)]
    return (
        model,
        TaskBank({task.name: TaskVector.from_checkpoints(model.state_dict(), _tuned(model, task).state_dict()) for task in tasks}),
        tasks,
    )


def test_adding_two_tasks_makes_one_model_better_at_both(world: tuple[nn.Module, TaskBank, list[TaskData]]) -> None:
    model, bank, tasks = world
    composed, references = ComposedModel(model, bank), {"near": 1.0, "far": 1.0}
    learned = learn_addition(composed, tasks, references, epochs=10, batch_size=40, lr=0.1)
    assert learned.score > learned.start and learned.score == pytest.approx(normalised_accuracy(references, tasks)(composed))
    assert max(value for _, value in learned.history.curves["score"]) == learned.score
    assert learned.step % (len(clusters()) // 20) == 0


def test_negation_forgets_the_target_and_keeps_the_control(world: tuple[nn.Module, TaskBank, list[TaskData]]) -> None:
    model, bank, (near, far) = world
    model.load_state_dict(bank["near"].apply_to(model.state_dict(), 0.5))  # known before it is forgotten
    composed = ComposedModel(model, {"near": bank["near"]})
    before = accuracy(model, near.head, near.check), accuracy(model, far.head, far.check)
    learned = learn_negation(composed, near, far, epochs=10, batch_size=20, lr=0.1)
    assert -learned.score <= before[0]
    assert accuracy(composed, far.head, far.check) >= 0.95 * before[1]


def test_where_the_control_is_never_kept_nothing_is_forgotten_and_it_is_said(world: tuple[nn.Module, TaskBank, list[TaskData]]) -> None:
    model, bank, (near, _) = world
    model.load_state_dict(bank["near"].apply_to(model.state_dict()))
    composed = ComposedModel(model, {"near": bank["near"]}, "scalar")
    # The control is judged by the target's own images: to forget the one is to lose the other.
    same = TaskData("control", clusters(shift=9.0), near.check, near.head)
    with pytest.warns(UserWarning, match="no epoch kept 100% of the control accuracy"):
        learn_negation(composed, near, same, epochs=1, batch_size=20, lr=5.0, keep=1.0)
    assert not composed.coef.any()


def test_a_few_images_are_enough_and_are_repeated_to_an_epoch(world: tuple[nn.Module, TaskBank, list[TaskData]]) -> None:
    model, bank, (near, _) = world
    composed = ComposedModel(model, bank)
    few = TaskData("near", Subset(near.learn, torch.arange(6)), near.check, near.head)
    learned = learn_few_shot(composed, few, epochs=3)
    assert len(learned.history.curves["loss"]) == 3 * LEAST_STEPS
    assert learned.score == accuracy(composed, near.head, near.check) >= learned.start


def test_where_nothing_is_better_than_the_start_the_start_is_kept() -> None:
    model = network()
    composed = ComposedModel(model, bank_of(model))
    learned = keep_best(
        composed,
        RoutedClassification([head_of()]),
        _tasked,
        Recipe(steps=4, lr=0.1),
        score=lambda judged: -float(judged.coef.abs().sum()),
        every=2,
    )
    assert (learned.step, learned.score, learned.start) == (0, 0.0, 0.0) and not composed.coef.any()


def _tasked(step: int, rank: int = 0, world: int = 1) -> dict[str, torch.Tensor]:
    source = clusters(12)
    return {**source.take(torch.arange(12)), "task": torch.zeros(12, dtype=torch.int64)}


def test_the_search_tries_the_grid_and_ends_at_its_best(world: tuple[nn.Module, TaskBank, list[TaskData]]) -> None:
    model, bank, (near, _) = world
    found = search_alpha(model, bank["near"], lambda judged: accuracy(judged, near.head, near.check))
    assert (
        found.alpha in GRID and len(found.scores) == 21 and found.score == max(found.scores) == accuracy(found.model, near.head, near.check)
    )
    assert found.scores[0] == accuracy(model, near.head, near.check)
    for name, entry in found.model.state_dict().items():
        torch.testing.assert_close(entry, model.state_dict()[name] + found.alpha * bank["near"][name])
    none = search_alpha(model, bank["near"], lambda judged: float("-inf"))
    assert none.alpha == 0
    with pytest.raises(InputError, match="at least one value"):
        search_alpha(model, bank["near"], lambda judged: 0.0, grid=())


@pytest.mark.parametrize(("p", "expected"), [(1.0, 3.0), (2.0, 5**0.5)])
def test_the_penalty_is_the_mean_over_blocks_of_the_norm_over_vectors(p: float, expected: float) -> None:
    model = network()
    composed = ComposedModel(model, bank_of(model, 2))
    set_coefficients(composed, torch.tensor([[1.0], [-2.0]]))
    loss = CoefficientPenalty(lambda judged, batch: torch.tensor(1.0), gamma=0.5, p=p)(composed, {})
    assert float(loss) == pytest.approx(1 + 0.5 * expected)
    with pytest.raises(InputError, match="no coefficients to penalise"):
        CoefficientPenalty(lambda judged, batch: torch.tensor(1.0))(model, {})
    with pytest.raises(InputError, match="norm of 1 or more"):
        CoefficientPenalty(lambda judged, batch: torch.tensor(1.0), p=0.5)


def test_bad_requests_are_one_line(world: tuple[nn.Module, TaskBank, list[TaskData]]) -> None:
    model, bank, (near, far) = world
    composed = ComposedModel(model, bank)
    with pytest.raises(InputError, match="'far' has no reference"):
        learn_addition(composed, [near, far], {"near": 1.0})
    with pytest.raises(InputError, match=r"lies in \(0, 1\]"):
        forgetting_score(model, near, far, keep=1.5)
    empty = TaskData("empty", Subset(near.learn, torch.arange(0)), near.check, near.head)
    with pytest.raises(InputError, match="'empty' has no rows to learn from"):
        learn_few_shot(composed, empty)
    with pytest.raises(InputError, match="no rows to score on"):
        accuracy(model, near.head, empty.learn)
