import pytest
import torch
from torch.nn import functional as F

from ordinate.adapt.coefficient_learning import TaskData, accuracy
from ordinate.adapt.composed_model import ComposedModel
from ordinate.adapt.evolution import evolve
from ordinate.adapt.lp_plus_plus import LPPlusPlus
from ordinate.adapt.tip_adapter import TipAdapter, learn_tip_adapter
from ordinate.data.batches import Subset
from ordinate.ground.errors import InputError
from tests.adapt.small import bank_of, head_of, network, set_coefficients, task_of


def test_a_cache_adds_its_votes_to_the_head() -> None:
    head, keys = head_of(), torch.eye(3)
    adapter = TipAdapter(head, 5 * keys, torch.tensor([2, 0, 1]), 3)
    x = torch.tensor([[2.0, 0.0, 0.0]])
    votes = 2 * torch.exp(torch.tensor([[-1.0, -1.0, 0.0]]))  # the first key votes for class 2, alpha 2 and beta 1
    torch.testing.assert_close(adapter(x), head(x) + votes)
    assert {name for name, parameter in adapter.named_parameters() if parameter.requires_grad} == {"keys", "alpha", "beta"}


def test_a_cache_is_trained_alone_or_with_the_coefficients() -> None:
    model, task = network().eval(), task_of("near")
    few = TaskData("near", Subset(task.learn, torch.arange(9)), task.check, task.head)
    alone = model.requires_grad_(False)
    adapter, learned = learn_tip_adapter(alone, few, 3, epochs=2)
    assert learned.score == accuracy(alone, adapter, task.check) >= learned.start
    composed = ComposedModel(model, bank_of(model))
    adapter, learned = learn_tip_adapter(composed, few, 3, epochs=2)
    assert learned.step == 0 or (composed.coef.any() and not torch.equal(adapter.alpha.detach(), torch.tensor(2.0)))
    assert learned.score == accuracy(composed, adapter, task.check)


def test_bad_caches_are_one_line() -> None:
    with pytest.raises(InputError, match="one label in 0 to 2 a feature"):
        TipAdapter(head_of(), torch.eye(3), torch.tensor([0, 1, 3]), 3)
    with pytest.raises(InputError, match="not 0 for 0"):
        TipAdapter(head_of(), torch.zeros(0, 3), torch.zeros(0, dtype=torch.int64), 3)
    task = task_of("near")
    with pytest.raises(InputError, match="no rows to learn from"):
        learn_tip_adapter(network(), TaskData("empty", Subset(task.learn, torch.arange(0)), task.check, task.head), 3)


def test_the_steps_that_the_data_set_never_raise_the_loss() -> None:
    x, labels = torch.randn(40, 6), torch.arange(40) % 4
    probe = LPPlusPlus(torch.randn(4, 6), scale=10.0).fit(x, labels, epochs=60)
    assert all(after <= before + 1e-6 for before, after in zip(probe.losses, probe.losses[1:], strict=False))
    assert probe.losses[-1] < 0.9 * probe.losses[0] and len(probe.losses) == 61
    assert float(F.cross_entropy(probe(x), labels)) == pytest.approx(probe.losses[-1])


def test_a_probe_starts_from_class_sums_and_the_zero_shot_head() -> None:
    x, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 1, 2])
    probe = LPPlusPlus(torch.eye(3), scale=7.0)
    torch.testing.assert_close(probe(x), 7 * F.normalize(x, dim=1))
    unit = F.normalize(x, dim=1)
    first = 7 * unit + unit @ torch.stack([unit[labels == k].sum(dim=0) for k in range(3)]).T
    probe.fit(x, labels, epochs=1)
    assert probe.losses[0] == pytest.approx(float(F.cross_entropy(first, labels)))
    with pytest.raises(InputError, match="labels in 0 to 2"):
        probe.fit(x, labels + 1)


def test_evolution_lowers_a_loss_that_has_no_gradient_and_never_ends_worse() -> None:
    model, x = network(), torch.randn(20, 4)
    bank = bank_of(model)
    wanted = ComposedModel(model, bank, "scalar")
    set_coefficients(wanted, torch.tensor([0.8, -0.5, 0.3]))
    target = wanted(x).detach()
    composed = ComposedModel(model, bank, "scalar")
    losses = evolve(composed, lambda judged: float((judged(x) - target).abs().max()), generations=40)
    assert losses == sorted(losses, reverse=True) and len(losses) == 41
    assert losses[-1] < 0.3 * losses[0]
    assert float((composed(x) - target).abs().max()) == pytest.approx(losses[-1], abs=1e-6)
    again = ComposedModel(model, bank, "scalar")
    assert evolve(again, lambda judged: float((judged(x) - target).abs().max()), generations=40) == losses


def test_a_loss_that_is_never_finite_leaves_the_coefficients() -> None:
    model = network()
    composed = ComposedModel(model, bank_of(model))
    assert evolve(composed, lambda judged: float("nan"), generations=2) == [float("inf")] * 3 and not composed.coef.any()
    with pytest.raises(InputError, match="four candidates or more"):
        evolve(composed, lambda judged: 0.0, population=3)
