import json

import pytest

from ordinate.analyze.criticality_study import study_criticality
from ordinate.ground.errors import InputError


def test_a_study_holds_the_recursions_and_the_networks() -> None:
    study = study_criticality("gelu", depth=12, width=100, draws=6)
    critical, he, torch_default = study.initialisations
    assert [each.name for each in study.initialisations] == ["critical", "He", "torch default"]
    assert study.report.kind == "half_stable" and study.best_depth == pytest.approx(4 / 50 / study.report.nu * 100)
    assert study.residual is not None and 0.9 < study.residual < 1
    assert float(critical.flow.K[-1]) == pytest.approx(study.report.K_star)
    assert critical.signals is not None and critical.signals.squares.shape == (6, 12)
    assert "keep their size" in critical.fate and "die" in torch_default.fate and "one" in torch_default.fate
    assert he.C_W == 2.0 and torch_default.C_b == pytest.approx(1 / 300)
    document = json.loads(json.dumps(study.to_json(), allow_nan=False))
    assert len(document["initialisations"]["critical"]["measured"]["K"]) == 12


def test_tanh_falls_as_a_power_and_relu_keeps_everything() -> None:
    tanh, relu = (study_criticality(name, depth=40, width=1000, draws=0) for name in ("tanh", "relu"))
    assert tanh.initialisations[0].fate == "signals change as a power of depth, gradients change as a power of depth"
    assert relu.initialisations[0].fate == "signals keep their size, gradients keep their size"
    assert tanh.residual == 0.0 and tanh.initialisations[0].signals is None


def test_what_cannot_be_critical_is_studied_all_the_same() -> None:
    study = study_criticality("softplus", depth=20, width=30, draws=0)
    assert (study.best_depth, study.residual) == (None, None)
    assert study.initialisations[0].name == "compromise" and "grow" in study.initialisations[0].fate
    assert any("cannot be made critical" in remark for remark in study.remarks)
    assert any("above 0.5" in remark for remark in study.remarks)


def test_an_initialisation_that_leaves_the_range_of_numbers_is_a_remark() -> None:
    study = study_criticality("square", depth=40, width=100, draws=0)
    assert "He" not in {each.name for each in study.initialisations}
    assert any(remark.startswith("He initialisation:") for remark in study.remarks)


@pytest.mark.parametrize("wrong", [{"depth": 1}, {"width": 1}, {"n_out": 0}, {"draws": -1}])
def test_numbers_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(InputError, match="a study needs"):
        study_criticality("tanh", **wrong)
