import pytest
import torch
from torch import nn

from ordinate.adapt.members import train_members, train_members_at_once, train_snapshots
from ordinate.data.batches import Shuffled, TensorSource
from ordinate.ground.errors import InputError
from ordinate.models.mlp import MLP
from ordinate.objectives.classification import Classification
from ordinate.train.fit import fit
from ordinate.train.recipe import Recipe

SOURCE = TensorSource(image=torch.randn(40, 1, 4, 4, generator=torch.Generator().manual_seed(0)), label=torch.arange(40) % 3)
RECIPE = Recipe(steps=5, lr=1e-2)


def _make() -> MLP:
    return MLP(num_classes=3, image_size=4, hidden=[5], num_features=4)


def _train(network: nn.Module, seed: int) -> None:
    fit(network, Classification(), Shuffled(SOURCE, 8, seed), RECIPE, seed=seed)


def _same(a: nn.Module, b: nn.Module) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_a_members_seed_decides_on_it_alone() -> None:
    first, second = train_members(_make, _train, [3, 4])
    (again,) = train_members(_make, _train, [4])
    assert _same(second, again) and not _same(first, second) and not first.training


def test_the_generator_is_left_as_it_was() -> None:
    torch.manual_seed(5)
    train_members(_make, _train, [0, 1])
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))


def test_members_of_processes_are_those_of_a_loop() -> None:
    assert all(
        _same(a, b) for a, b in zip(train_members(_make, _train, [0, 1], processes=2), train_members(_make, _train, [0, 1]), strict=True)
    )


def test_members_trained_at_once_are_those_of_a_loop() -> None:
    def batches(seed: int) -> Shuffled:
        return Shuffled(SOURCE, 8, seed)

    at_once = train_members_at_once(_make, Classification(), batches, RECIPE, [0, 1, 2])
    for ours, alone in zip(at_once, train_members(_make, _train, [0, 1, 2]), strict=True):
        x = torch.randn(3, 1, 4, 4)
        torch.testing.assert_close(ours(x), alone(x), atol=1e-4, rtol=1e-4)


def test_members_that_do_not_hear_their_seed_are_found_out() -> None:
    def deaf() -> MLP:
        torch.manual_seed(7)
        return _make()

    with pytest.raises(InputError, match="members 0 and 1 have the same weights"):
        train_members(deaf, lambda network, seed: _train(network, 0), [0, 1])


def test_bad_seeds_and_places_are_one_line() -> None:
    for seeds in ([], [1, 1]):
        with pytest.raises(InputError, match="all different"):
            train_members(_make, _train, seeds)
        with pytest.raises(InputError, match="all different"):
            train_members_at_once(_make, Classification(), lambda seed: Shuffled(SOURCE, 8, seed), RECIPE, seeds)
    with pytest.raises(InputError, match="one or more devices"):
        train_members(_make, _train, [0], devices=[])
    with pytest.raises(InputError, match="diverged"):
        explode = Recipe(steps=5, lr=1e30, optimizer="sgd", schedule="constant")
        train_members_at_once(_make, Classification(), lambda seed: Shuffled(SOURCE, 8, seed), explode, [0, 1])


def test_snapshots_stand_along_one_training() -> None:
    constant = Recipe(steps=6, lr=1e-2, schedule="constant")
    network = train_members(_make, lambda network, seed: None, [0])[0]
    kept = train_snapshots(network, Classification(), Shuffled(SOURCE, 8, 0), constant, 3)
    shorter = train_members(_make, lambda network, seed: None, [0])[0]
    fit(shorter, Classification(), Shuffled(SOURCE, 8, 0), Recipe(steps=2, lr=1e-2, schedule="constant"))
    assert len(kept) == 3 and _same(kept[0], shorter) and _same(kept[2], network) and not _same(kept[0], kept[1])


def test_snapshots_ask_for_a_constant_rate_and_enough_steps() -> None:
    with pytest.raises(InputError, match="constant"):
        train_snapshots(_make(), Classification(), Shuffled(SOURCE, 8, 0), RECIPE, 2)
    with pytest.raises(InputError, match="1 to 5"):
        train_snapshots(_make(), Classification(), Shuffled(SOURCE, 8, 0), Recipe(steps=5, schedule="constant"), 6)
