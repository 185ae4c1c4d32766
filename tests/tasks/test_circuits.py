import pytest
import torch

from ordinate.analyze.circuit_codes import Autoencoding
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Run
from ordinate.ground.errors import InputError
from ordinate.tasks.circuits import METHODS, ByCodes, CircuitRecovery, Planted, TrainedInduction

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


def test_a_trained_subject_is_that_of_its_seed() -> None:
    """With no bound on the cost but a tiny one, what ablation costs more than is the circuit."""
    make = TrainedInduction(pairs=30, steps=3, dim=16, batch_size=4, cost=1e-9)
    try:
        one, two = make(1), make(1)
    except InputError:
        pytest.fail("no head costs anything at this seed: choose another")
    assert torch.equal(one.truth, two.truth) and one.headed.shape == (2, 4)
