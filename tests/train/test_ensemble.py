from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.train.ensemble import Ensemble, EnsembleLoss, each_its_own, fit_ensemble
from ordinate.train.fit import fit
from ordinate.train.recipe import Recipe

SGD = Recipe(steps=12, lr=0.1, optimizer="sgd", momentum=0.9)


def make() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 3))


def with_statistics() -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3))


def batches(seed: int):
    def batch(step: int, rank: int = 0, world: int = 1) -> dict[str, Tensor]:
        x = torch.randn(8, 4, generator=generator("ensemble", seed, step))
        return {"x": x, "y": x[:, :3].argmax(dim=1)}

    return batch


def loss(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    return nn.functional.cross_entropy(model(batch["x"]), batch["y"])


def close(one: nn.Module, other: nn.Module) -> None:
    for (name, mine), theirs in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@given(st.integers(1, 4), st.integers(1, 5))
@settings(max_examples=15)
def test_members_give_what_they_give_alone(count: int, rows: int) -> None:
    members = [make() for _ in range(count)]
    ensemble = Ensemble(members)
    x, own = torch.randn(rows, 4), torch.randn(count, rows, 4)
    torch.testing.assert_close(ensemble(x), torch.stack([member(x) for member in members]))
    torch.testing.assert_close(ensemble(own, own=True), torch.stack([member(part) for member, part in zip(members, own, strict=True)]))


def test_members_are_made_from_their_seeds_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(2)
    torch.manual_seed(5)
    ensemble, other = Ensemble.make(make, [7, 8]), Ensemble.make(make, [8])
    close(ensemble.member(1), other.member(0))
    assert not torch.equal(ensemble.member(0)[0].weight, ensemble.member(1)[0].weight)
    assert torch.equal(torch.rand(2), expected)


def test_tied_weights_stay_tied() -> None:
    def tied() -> nn.Module:
        model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4))
        model[2].weight = model[0].weight
        return model

    ensemble = Ensemble.make(tied, range(3))
    member = ensemble.member(1)
    assert member[2].weight is member[0].weight and ensemble.stacked[2].weight is ensemble.stacked[0].weight
    x = torch.randn(5, 4)
    torch.testing.assert_close(ensemble(x)[1], member(x))


@pytest.mark.parametrize(
    ("build", "recipe"),
    [(make, SGD), (with_statistics, SGD), (make, Recipe(steps=12, lr=1e-2, weight_decay=0.5, ema=0.9))],
    ids=["sgd", "batch-norm", "adamw-decay-ema"],
)
def test_training_together_is_training_alone(build, recipe: Recipe) -> None:
    ensemble = Ensemble.make(build, range(3))
    alone = [ensemble.member(index) for index in range(3)]
    _, losses = fit_ensemble(ensemble, loss, batches(0), recipe)
    for index, member in enumerate(alone):
        history = fit(member, loss, batches(0), recipe)
        close(ensemble.member(index).eval(), member)
        assert history.last("loss") == pytest.approx(float(losses[index]), rel=1e-4)


def test_members_may_have_batches_and_learning_rates_of_their_own() -> None:
    ensemble = Ensemble.make(make, [1, 1, 1])
    alone = [ensemble.member(index) for index in range(3)]
    rates = torch.tensor([1.0, 0.5, 2.0])
    fit_ensemble(ensemble, loss, each_its_own([batches(seed) for seed in range(3)]), SGD, rates=rates, own=True)
    for index, member in enumerate(alone):
        fit(member, loss, batches(index), Recipe(steps=12, lr=0.1 * float(rates[index]), optimizer="sgd", momentum=0.9))
        close(ensemble.member(index), member)


def test_the_rate_of_a_parameter_is_asked_for_by_its_name_in_a_member() -> None:
    ensemble = Ensemble.make(make, [0, 1])
    before = ensemble.member(0)
    fit_ensemble(ensemble, loss, batches(0), SGD, scale=lambda name: 0.0 if name == "0.weight" else 1.0)
    after = ensemble.member(0)
    assert torch.equal(before[0].weight, after[0].weight) and not torch.equal(before[2].weight, after[2].weight)


def test_a_member_that_diverges_does_so_alone() -> None:
    ensemble, twin = Ensemble.make(make, [0, 0]), Ensemble.make(make, [0])
    square = lambda model, batch: (model(batch["x"]) ** 4).sum()  # noqa: E731
    recipe = Recipe(steps=40, lr=1e-4, optimizer="sgd")
    _, losses = fit_ensemble(ensemble, square, batches(0), recipe, rates=torch.tensor([1.0, 1e6]))
    fit_ensemble(twin, square, batches(0), recipe)
    assert torch.isfinite(losses).tolist() == [True, False]
    close(ensemble.member(0), twin.member(0))


def test_a_run_that_was_stopped_goes_on(tmp_path: Path) -> None:
    whole, stopped = Ensemble.make(make, [0, 1]), Ensemble.make(make, [0, 1])
    fit_ensemble(whole, loss, batches(0), SGD)

    class Enough(Exception):
        pass

    def until_half(step: int, rank: int = 0, world: int = 1) -> dict[str, Tensor]:
        if step == 6:
            raise Enough
        return batches(0)(step)

    with pytest.raises(Enough):
        fit(stopped, EnsembleLoss(loss), until_half, SGD, folder=tmp_path, checkpoint_every=6)
    fit_ensemble(stopped, loss, batches(0), SGD, folder=tmp_path, resume=True)
    for a, b in zip(whole.parameters(), stopped.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_objective_may_use_every_method_of_a_member() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(2))

        def other(self, x: Tensor) -> Tensor:
            return (self.weight * x).sum()

    ensemble = Ensemble([Two(), Two()])
    found = ensemble.apply_to_each(lambda member, x: {"value": member.other(x)}, torch.ones(2))
    torch.testing.assert_close(found["value"], ensemble.stacked.weight.sum(dim=1))


def test_what_cannot_be_done_together_is_refused() -> None:
    ensemble = Ensemble.make(make, [0, 1])
    with pytest.raises(InputError, match="at least one member"):
        Ensemble([])
    with pytest.raises(InputError, match="0 and 1 of the ensemble differ"):
        Ensemble([nn.Linear(2, 3), nn.Linear(3, 2)])
    with pytest.raises(InputError, match="first dimension of 2"):
        ensemble(torch.randn(3, 4), own=True)
    with pytest.raises(InputError, match="members 0 to 1"):
        ensemble.member(2)
    with pytest.raises(InputError, match="3 rates for 2 members"):
        fit_ensemble(ensemble, loss, batches(0), SGD, rates=torch.ones(3))
    with pytest.raises(InputError, match="must be positive"):
        EnsembleLoss(loss, rates=torch.tensor([1.0, 0.0]))
    with pytest.raises(InputError, match="without clip"):
        fit_ensemble(ensemble, loss, batches(0), Recipe(steps=1, clip=1.0))
    with pytest.raises(InputError, match="optimizer='sgd'"):
        fit_ensemble(ensemble, loss, batches(0), Recipe(steps=1), rates=torch.ones(2))
    with pytest.raises(InputError, match="cannot be cut"):
        fit_ensemble(ensemble, loss, batches(0), Recipe(steps=1, accumulate=2), own=True)
    with pytest.raises(InputError, match="no parameters of its own"):
        EnsembleLoss(nn.Linear(1, 1))
    with pytest.raises(InputError, match="an ensemble's, not a Linear's"):
        EnsembleLoss(loss)(nn.Linear(1, 1), batches(0)(0))
