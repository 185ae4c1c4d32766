import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ordinate.data.controlled.curriculum import Weighted
from ordinate.data.controlled.vectors import (
    PRESETS,
    And,
    BitFeature,
    ControlledFeatures,
    Majority,
    Or,
    Parity,
    SumModulo,
    Unit,
    XorOfMajorities,
)
from ordinate.ground.errors import InputError

KINDS: list[BitFeature] = [Unit(), Majority(3), Majority(5), And(3), Or(3), Parity(2), Parity(4), XorOfMajorities(2, 3)]


def information(a: Tensor, b: Tensor) -> float:
    """Mutual information of two labels in bits."""
    joint = torch.zeros(int(a.max()) + 1, int(b.max()) + 1).double().index_put_((a, b), torch.tensor(1 / len(a)).double(), accumulate=True)
    apart = joint.sum(dim=1, keepdim=True) * joint.sum(dim=0)
    seen = joint > 0
    return float((joint[seen] * (joint[seen] / apart[seen]).log()).sum() / math.log(2))


def test_features_are_balanced_independent_and_what_they_say() -> None:
    data = ControlledFeatures([*KINDS, SumModulo(4, 3)], 48, seed=3)
    sample = data.sample(100_000)
    for number, feature in enumerate(data.features):
        shown = feature.label(sample.x[:, list(data.units[number])] > 0)
        assert torch.equal(shown, sample.features[:, number])
        assert (sample.features[:, number].bincount() / 100_000).tolist() == pytest.approx(
            [1 / feature.classes] * feature.classes, abs=0.02
        )
        for other in range(number):
            assert information(sample.features[:, number], sample.features[:, other]) < 1e-3
    assert torch.equal(sample.targets, sample.features)


def test_a_linear_probe_of_the_input_solves_a_majority_and_no_parity() -> None:
    data = ControlledFeatures([Majority(3), Parity(3)], 16)
    fit, test = data.sample(6_000), data.sample(4_000, train=False)
    design = torch.cat([fit.x, torch.ones(6_000, 1)], dim=1)
    weights = torch.linalg.lstsq(design, 2.0 * fit.features - 1).solution
    right = ((torch.cat([test.x, torch.ones(4_000, 1)], dim=1) @ weights > 0).long() == test.features).double().mean(dim=0)
    assert float(right[0]) >= 0.99 and float(right[1]) == pytest.approx(0.5, abs=0.02 + 0.01)


def test_what_is_no_unit_of_a_feature_is_random() -> None:
    data = ControlledFeatures([Majority(3), Parity(2)], 8, seed=1)
    x = data.sample(20_000).x
    free = [unit for unit in range(8) if unit not in {each for part in data.units for each in part}]
    assert len(free) == 3 and x[:, free].mean(dim=0).abs().max() < 0.03


def test_samples_are_functions_of_the_seed_and_test_differs_from_train() -> None:
    one, same, other = (ControlledFeatures([Unit()], 6, seed=seed).sample(50) for seed in (0, 0, 1))
    assert torch.equal(one.x, same.x) and not torch.equal(one.x, other.x)
    data = ControlledFeatures([Unit()], 6)
    assert not torch.equal(data.sample(50).x, data.sample(50, train=False).x)
    assert not torch.equal(data.sample(50).x, data.sample(50, draw=1).x)


def test_manipulations_are_of_training_alone() -> None:
    data = ControlledFeatures(
        [Majority(3), Majority(3), SumModulo(4, 3)], prevalence=(1.0, 0.3, 1.0), label_noise=(0.2, 0.0, 0.3), agreement={}, seed=2
    )
    train, test = data.sample(40_000), data.sample(40_000, train=False)
    assert float(train.features[:, 1].double().mean()) == pytest.approx(0.15, abs=0.01)
    assert float(test.features[:, 1].double().mean()) == pytest.approx(0.5, abs=0.01)
    wrong = (train.targets != train.features).double().mean(dim=0)
    assert wrong.tolist() == pytest.approx([0.2, 0.0, 0.3], abs=0.01)
    assert torch.equal(test.targets, test.features)


@pytest.mark.parametrize("chance", [0.5, 0.8, 1.0])
def test_features_agree_as_often_as_is_asked(chance: float) -> None:
    data = ControlledFeatures([Majority(3), Parity(2)], agreement={(0, 1): chance})
    train, test = data.sample(40_000), data.sample(40_000, train=False)
    assert float((train.features[:, 0] == train.features[:, 1]).double().mean()) == pytest.approx(chance, abs=0.01)
    assert float((test.features[:, 0] == test.features[:, 1]).double().mean()) == pytest.approx(0.5, abs=0.01)
    assert float(train.features[:, 1].double().mean()) == pytest.approx(0.5, abs=0.01)


def test_parts_lead_to_the_class() -> None:
    data = ControlledFeatures([Parity(4), XorOfMajorities(2, 3)], 12)
    sample = data.sample(500)
    parity, nested = data.parts(sample.x, 0), data.parts(sample.x, 1)
    assert list(parity) == ["bit 0", "bit 1", "bit 2", "bit 3", "parity of 2", "parity of 3"]
    assert torch.equal((parity["parity of 3"] + parity["bit 3"]) % 2, sample.features[:, 0])
    assert torch.equal((nested["majority 0"] + nested["majority 1"]) % 2, sample.features[:, 1])


@settings(max_examples=25)
@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4), st.integers(0, 20))
def test_any_mix_has_units_of_its_own(features: list[BitFeature], spare: int) -> None:
    needed = sum(feature.units for feature in features)
    data = ControlledFeatures(features, needed + spare)
    flat = [unit for part in data.units for unit in part]
    assert len(set(flat)) == len(flat) == needed and data.sample(7).x.shape == (7, needed + spare)
    assert set(data.sample(20).x.flatten().tolist()) <= {-1.0, 1.0}


@pytest.mark.parametrize("name", PRESETS)
def test_presets_fit_into_32_inputs(name: str) -> None:
    assert ControlledFeatures(PRESETS[name]).sample(9).features.shape == (9, len(PRESETS[name]))


def test_other_values_for_bits() -> None:
    assert set(ControlledFeatures([Unit()], 4, values=(0.0, 1.0)).sample(30).x.flatten().tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: ControlledFeatures([Unit(), Unit()], units=[[3], [3]]), "unit 3 is given twice"),
        (lambda: ControlledFeatures([Majority(3)], units=[[1, 2]]), "need .3. units"),
        (lambda: ControlledFeatures([Unit()], 4, units=[[4]]), "numbered from 0 to 3"),
        (lambda: ControlledFeatures([Majority(3)], 2), "do not fit into 2 inputs"),
        (lambda: ControlledFeatures([Majority(4)]), "ties"),
        (lambda: ControlledFeatures([SumModulo(1, 3)]), "never has class 2"),
        (lambda: ControlledFeatures([Parity(20)]), "1 to 16"),
        (lambda: ControlledFeatures([]), "no features"),
        (lambda: ControlledFeatures([Unit()], prevalence=(0.0,)), "prevalence"),
        (lambda: ControlledFeatures([Unit()], label_noise=(1.0,)), "label noise"),
        (lambda: ControlledFeatures([Unit(), SumModulo()], agreement={(0, 1): 0.9}), "as many classes"),
        (lambda: ControlledFeatures([Unit()] * 3, agreement={(0, 2): 0.9, (1, 2): 0.9}), "not several"),
        (lambda: ControlledFeatures([Unit()]).sample(0), "at least one example"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, why: str) -> None:
    with pytest.raises(InputError, match=why):
        make()


def test_a_curriculum_is_a_function_of_the_step() -> None:
    batches = Weighted(lambda step, rank=0, world=1: {"x": torch.tensor([step])}, (1.0, 1.0), [(2, (1.0, 0.0)), (3, (0.0, 1.0))])
    assert [batches(step)["weight"].tolist() for step in (0, 1, 2, 4, 5)] == [[1, 0], [1, 0], [0, 1], [0, 1], [1, 1]]
    assert batches(7)["x"].item() == 7
    for weights, stages, why in (
        ((1.0, -1.0), [], "0 or more"),
        ((1.0,), [(2, (1.0, 1.0))], "one a feature"),
        ((1.0,), [(0, (1.0,))], "one step"),
    ):
        with pytest.raises(InputError, match=why):
            Weighted(lambda step, rank=0, world=1: {}, weights, stages)
