import pytest
import torch

from ordinate.analyze.circuit_codes import Autoencoding
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Run
from ordinate.ground.errors import InputError
from ordinate.tasks.circuits import METHODS, ByCodes, CircuitRecovery, Compiled, Planted, TrainedInduction

RUN = Run(0, Setting(seeds=(0,)))
TASK = CircuitRecovery(Planted(pairs=12, layers=2))


@pytest.mark.parametrize("name", ["output norm", "mean difference", "activation patching", "attribution patching", "HISP"])
def test_methods_are_scored_against_the_planted_heads(name: str) -> None:
    outcome = TASK.run(TASK.arm(name), RUN)
    assert outcome.metrics.keys() == {metric.name for metric in TASK.metrics}
    assert outcome.metrics["AUC"] == outcome.metrics["AUC together"] and 0 <= outcome.metrics["AUC"] <= 1
    if name.endswith("patching"):
        assert outcome.metrics["AUC"] == 1 and outcome.metrics["over random"] > 0.1
    assert set(outcome.notes["roles"]) == {"previous token", "induction"}
    curve = outcome.curves["accuracy by heads kept"]
    assert [kept for kept, _ in curve] == list(range(9)) and outcome.curves["accuracy by heads ablated"][0][1] == curve[-1][1]


@pytest.mark.parametrize("program", ["reverse", "sort"])
def test_programs_are_subjects_whose_mlps_count(program: str) -> None:
    task = CircuitRecovery(Compiled(program, pairs=12, layers=2))
    outcome = task.run(task.arm("activation patching"), RUN)
    assert outcome.metrics["AUC"] == 1 and outcome.metrics["over random"] > 0.1 and len(outcome.notes["truth"][0]) == 5


def test_rankings_by_codes_are_averaged_and_repeat_by_seed() -> None:
    how = Autoencoding(features=20, examples=4, steps=20)
    one, same = (TASK.run(Arm("codes", lambda: ByCodes(how, autoencoders=2)), RUN).metrics for _ in range(2))
    edges = TASK.run(Arm("edges", lambda: ByCodes(how, autoencoders=2, edges=True)), RUN).metrics
    assert {**one, "seconds": 0} == {**same, "seconds": 0} and 0 <= edges["AUC"] <= 1


def test_all_methods_have_arms_and_others_are_refused() -> None:
    for name in METHODS:
        assert TASK.arm(name).role == ("method" if name.startswith("codes") else "baseline")
    with pytest.raises(InputError, match="unknown method"):
        TASK.arm("guess")


def test_a_model_that_has_learnt_nothing_has_no_circuit() -> None:
    with pytest.raises(InputError, match="train it for more steps than 2"):
        TrainedInduction(pairs=8, steps=2, dim=16, batch_size=4)(0)


def test_a_trained_subject_s_circuit_is_what_its_answers_need() -> None:
    make = TrainedInduction(pairs=40, steps=250, length=9, periods=(3, 4), cost=0.05, dim=32, layers=2, batch_size=32, lr=1e-2)
    subject = make(0)
    costs = torch.tensor(subject.notes["costs of ablation"])
    assert subject.notes["accuracy"] > 0.3 and torch.equal(subject.truth > 0, costs >= 0.05)
