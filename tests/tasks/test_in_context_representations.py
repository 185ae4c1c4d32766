import math

import pytest
import torch

from ordinate.analyze.in_context.predictors import Bayes
from ordinate.analyze.in_context.representations import OnRepresentation
from ordinate.data.in_context.dynamics import DynamicsPrompts
from ordinate.experiment.comparison import Comparison
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Run
from ordinate.ground.errors import InputError
from ordinate.models.in_context_transformer import InContextTransformer
from ordinate.nn.fixed_representation import FixedRepresentation
from ordinate.tasks.in_context_dynamics import DynamicsLearning
from ordinate.tasks.in_context_looked_into import appearance, layer_names, read_numbers, trend
from ordinate.tasks.in_context_mixture import MixtureLearning
from ordinate.tasks.in_context_representations import RepresentationLearning, before

SETTING = Setting(seeds=(0,))
SMALL = {"steps": 3, "batch_size": 4, "hidden": 8, "layers": 2, "heads": 2, "probed": 40}


def representations() -> RepresentationLearning:
    return RepresentationLearning(FixedRepresentation(2, 2, 2), 6, tested=20, paste_steps=2, **SMALL)


def mixture() -> MixtureLearning:
    return MixtureLearning([FixedRepresentation(2, 2, 1, seed=seed) for seed in range(2)], 8, tested=20, **SMALL)


def dynamics() -> DynamicsLearning:
    return DynamicsLearning(DynamicsPrompts(FixedRepresentation(4, 4, 2), 2, 2, 6), tested=20, places=(3,), **SMALL)


@pytest.mark.parametrize(
    ("task", "arms"),
    [
        (representations(), ["transformer", "Phi-ridge", "ridge on x", "kernel ridge", "zero"]),
        (mixture(), ["transformer", "oracle", "Bayes mixture", "selection", "concatenated ridge", "zero"]),
        (dynamics(), ["transformer", "Phi-ridge", "autoregression", "zero"]),
    ],
    ids=lambda each: each.name if isinstance(each, RepresentationLearning | MixtureLearning | DynamicsLearning) else "",
)
def test_every_arm_has_every_metric_and_runs_are_repeatable(task: RepresentationLearning, arms: list[str]) -> None:
    table = Comparison("small", task, [task.arm(name) for name in arms]).run(SETTING)
    for row in table.rows:
        assert all(math.isfinite(value) for value in row.metrics.values()), row.arm
        assert {metric.name for metric in task.metrics} <= row.metrics.keys()
    again = task.run(task.arm("transformer"), Run(0, SETTING))
    assert again.metrics == table.of("transformer")[0].metrics
    assert "probe errors" in again.notes and again.parameters


def test_a_trained_network_is_probed_and_pasted() -> None:
    found = representations().run(representations().arm("transformer"), Run(0, SETTING))
    pasted = [f"pasted, {kind}" for kind in ("linear", "linear_copy", "one_layer")]
    assert {
        *pasted,
        "pasted on untrained, linear_copy",
        "one layer alone",
        "ridge on z",
        "break point",
        "answer at x, trend",
    } <= found.metrics.keys()
    assert 1 <= found.notes["pasted from block"] <= 1 and found.notes["chance"] == pytest.approx(1.01)
    assert len(found.curves["Phi(x) at y, error over layers"]) == 3
    assert len(found.notes["Phi(x) at x by position"]) == 3 and len(found.notes["Phi(x) at x by position"][0]) == 6


def test_the_reference_s_row_is_its_risk_on_the_test_prompts() -> None:
    task = representations()
    test = task.test()
    errors = (OnRepresentation(Bayes(0.01), task.phi)(test.x, test.y) - test.y).square().mean(dim=0)
    row = task.run(task.arm("Phi-ridge"), Run(0, SETTING))
    assert row.metrics["risk@4"] == pytest.approx(float(errors[4])) and row.metrics["SPD Phi-ridge"] == 0


def test_the_oracle_is_not_beaten_by_those_who_are_not_told() -> None:
    task = MixtureLearning([FixedRepresentation(2, 2, 1, seed=seed) for seed in range(2)], 8, tested=800, **SMALL)
    risks = {name: task.run(task.arm(name), Run(0, SETTING)).metrics["risk"] for name in ("oracle", "Bayes mixture", "concatenated ridge")}
    assert risks["oracle"] < risks["Bayes mixture"] < risks["concatenated ridge"]


def test_the_system_s_reference_beats_autoregression_and_zero() -> None:
    task = DynamicsLearning(DynamicsPrompts(FixedRepresentation(4, 4, 2), 2, 2, 20), tested=300, places=(19,), **SMALL)
    risks = [task.run(task.arm(name), Run(0, SETTING)).metrics["risk@19"] for name in ("Phi-ridge", "autoregression", "zero")]
    assert risks[0] < risks[1] < risks[2]


def test_other_networks_are_trained_and_scored_without_a_look() -> None:
    class Mean(torch.nn.Module):
        def __init__(self, token_width: int, **_: int) -> None:
            super().__init__()
            self.token_width, self.line = token_width, torch.nn.Linear(token_width, 1)

        def forward(self, tokens: torch.Tensor) -> torch.Tensor:
            return self.line(tokens)

        def read(self, tokens: torch.Tensor) -> None:
            raise NotImplementedError

        def ask(self, context: None, queries: torch.Tensor, lengths: list[int]) -> None:
            raise NotImplementedError

    found = representations().run(Arm("line", Mean), Run(0, SETTING))
    assert "break point" not in found.metrics and math.isfinite(found.metrics["risk"])


def test_small_helpers() -> None:
    assert appearance([1.0, 0.9, 0.4, 0.2, 0.3]) == 2 and appearance([1.0]) == 0 and appearance([1.0, 0.9, 0.4, 0.22, 0.2], 0.9) == 3
    assert trend([3.0, 2.0, 1.0]) == pytest.approx(-1) and trend([1.0, 1.0]) == 0
    shifted = before(torch.arange(6.0).view(1, 3, 2))
    assert shifted[0, 0].isnan().all() and shifted[0, 1:].tolist() == [[0, 1], [2, 3]]
    assert layer_names(InContextTransformer(token_width=2, hidden=4, layers=2, heads=1)) == ["stream", "blocks.0", "blocks.1"]
    assert read_numbers("task", "d=3", d=4, noise=0.1) == {"d": 3, "noise": 0.1}


def test_tasks_are_made_from_sizes_and_say_what_is_wrong_with_them() -> None:
    task = RepresentationLearning.from_data("d=3,D=5,layers=1,n=11,noise=0.2", SETTING)
    assert (task.phi.d, task.phi.D, task.source.n, task.noise) == (3, 5, 11, 0.2)
    assert len(MixtureLearning.from_data("K=3", SETTING).phis) == 3
    assert DynamicsLearning.from_data(None, SETTING).source.k == 2
    with pytest.raises(InputError, match="'depth=3' is none of d=4, D=4"):
        RepresentationLearning.from_data("depth=3", SETTING)
    with pytest.raises(InputError, match="n is a number such as 12, not 'many'"):
        RepresentationLearning.from_data("n=many", SETTING)
    with pytest.raises(InputError, match="more than 2 D = 8 pairs, not 8"):
        RepresentationLearning.from_data("n=8", SETTING)
    with pytest.raises(InputError, match="more than 3 D = 9 pairs"):
        MixtureLearning.from_data("n=9", SETTING)
    for given in ("K=0", "K=1"):
        with pytest.raises(InputError, match="at least two representations"):
            MixtureLearning.from_data(given, SETTING)
    with pytest.raises(InputError, match="k must be at least 1"):
        DynamicsLearning.from_data("k=0", SETTING)
    with pytest.raises(InputError, match="places 0 to 5"):
        DynamicsLearning(DynamicsPrompts(FixedRepresentation(4, 4, 2), 2, 2, 6), steps=1, places=(6,))
    with pytest.raises(InputError, match="unknown arm"):
        dynamics().arm("oracle")
