import math

import pytest
import torch
from torch import nn

from ordinate.analyze.feature_report import association, compare_representations, report_features
from ordinate.ground.errors import InputError


def labels(n: int = 600) -> dict[str, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return {"easy": torch.randint(0, 2, (n,), generator=random), "hard": torch.randint(0, 2, (n,), generator=random)}


def biased(held: dict[str, torch.Tensor], size: float = 0.1) -> torch.Tensor:
    return torch.stack([2.0 * held["easy"] - 1, size * (2 * held["hard"] - 1)], dim=1) + 0.01 * torch.randn(len(held["easy"]), 2)


def test_a_label_that_is_decoded_and_not_shown_is_told() -> None:
    held = labels()
    report = compare_representations({"last": biased(held)}, held)
    easy, hard = report.row("last", "easy"), report.row("last", "hard")
    assert easy.accuracy == hard.accuracy == 1.0 and easy.variance > 0.95 and hard.variance < 0.02
    assert report.bias("easy", "hard", "last") > 20 and easy.rsa > 0.8 > 0.4 > hard.rsa
    assert (easy.components, hard.components) == (1, 2) and (easy.dense, hard.dense) == (1, 1)
    assert any("last: hard is decoded (100 %) and explains" in warning for warning in report.warnings)
    assert report.joint["last"] > 0.99


def test_labels_that_are_decoded_alike_and_shown_unlike_are_told_and_equals_are_not() -> None:
    held = labels()
    unlike = compare_representations({"last": biased(held, 0.5)}, held)
    assert any("easy and hard are decoded alike" in warning and "times the variance" in warning for warning in unlike.warnings)
    assert compare_representations({"last": biased(held, 1.0)}, held).warnings == ()


def test_correlated_and_unbalanced_labels_are_told_and_the_unique_part_shows_it() -> None:
    held = labels()
    same = torch.rand(600, generator=torch.Generator().manual_seed(1)) < 0.8
    held["copy"] = torch.where(same, held["easy"], 1 - held["easy"])
    held["rare"] = (torch.rand(600, generator=torch.Generator().manual_seed(2)) < 0.1).long()
    report = compare_representations({"last": biased(held)}, held)
    assert any(warning.startswith("easy and copy are correlated") for warning in report.warnings)
    assert any(warning.startswith("rare is unbalanced") for warning in report.warnings)
    assert report.row("last", "copy").variance > 0.2 and abs(report.row("last", "copy").unique) < 0.01


def test_classes_of_few_examples_are_in_both_halves() -> None:
    kinds = torch.arange(240) % 30
    report = compare_representations({"last": torch.nn.functional.one_hot(kinds).float()}, {"kind": kinds})
    assert report.row("last", "kind").variance > 0.99


def test_few_examples_are_told() -> None:
    held = {name: values[:30] for name, values in labels().items()}
    assert any("30 examples are few" in warning for warning in compare_representations({"last": biased(held)}, held).warnings)


def test_any_network_can_be_held_against_labels_and_layers_against_each_other() -> None:
    held = labels()
    x = biased(held)
    model = nn.Sequential(nn.Linear(2, 5), nn.ReLU(), nn.Linear(5, 3))
    report = report_features(model, ["0", "2:input"], x.split(100), held)
    document = report.to_json()
    assert [row["layer"] for row in document["rows"]] == ["0", "0", "2:input", "2:input"]
    one = report_features(model, ["0"], x.split(100), {"easy": held["easy"]}, mlp=True)
    assert (
        one.to_json()["rows"][0]["mlp"] > 0.9
        and document["rows"][0]["mlp"] is None
        and document["layers"][0]["rsa"] > 0.3
        and document["examples"] == 600
    )
    whole = compare_representations({"0": model[0](x).detach()}, held)
    assert whole.row("0", "easy").variance == pytest.approx(report.row("0", "easy").variance, abs=1e-6)


def test_association_is_one_for_copies_and_none_for_strangers() -> None:
    a = torch.randint(0, 5, (2_000,))
    assert association(a, (a + 1) % 5) == pytest.approx(1.0, abs=0.01)
    assert association(a, torch.randint(0, 7, (2_000,))) < 0.06
    assert math.isclose(association(a, a % 2), association(a % 2, a))


def test_bad_input_is_refused() -> None:
    held = labels(60)
    x = biased(held)
    for representations, given, why in (
        ({}, held, "at least one layer"),
        ({"last": x}, {}, "one label"),
        ({"last": x}, {"one": torch.ones(60)}, "label 'one' is constant"),
        ({"last": x}, {"id": torch.arange(60)}, "it is no class"),
        ({"last": x}, {"rare": (torch.arange(60) < 3).long()}, "class 1 in 3 examples, and 8 are needed"),
        ({"last": x}, {"two": torch.zeros(60, 2)}, "one class an example"),
        ({"last": x}, {"bad": torch.full((60,), torch.nan)}, "not finite"),
        ({"last": x}, {"short": torch.arange(50) % 2}, "'short' has 50"),
        ({"last": x, "first": x[:50]}, held, "'first' has 50"),
        ({"last": torch.randn(60, 2, 2)}, held, "layer 'last' has shape"),
        ({"last": x / 0}, held, "not finite"),
        ({"last": x}, {"a": held["easy"], "b": 1 - held["easy"]}, "says what the features before it say"),
    ):
        with pytest.raises(InputError, match=why):
            compare_representations(representations, given)
    with pytest.raises(InputError, match="no module 'head'"):
        report_features(nn.Sequential(nn.Linear(2, 2)), ["head"], [x], held)
    with pytest.raises(InputError, match="no label 'none'"):
        compare_representations({"last": x}, held).row("last", "none")
    with pytest.raises(InputError, match="constant label"):
        association(torch.ones(5), torch.arange(5))
