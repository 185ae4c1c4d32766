import pytest

from ordinate.analyze.in_context.linear_references import linear_families
from ordinate.data.in_context.linear import LinearPrompts
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Run
from ordinate.ground.errors import InputError
from ordinate.tasks.constructed_learners import ConstructedLearners
from ordinate.tasks.in_context import InContext, TaughtOn
from ordinate.tasks.in_context_noise import InContextNoise
from ordinate.tasks.probed_in_context import ProbedInContext

SETTING = Setting(seeds=(0,), steps=6)
SMALL = {"steps": 6, "batch_size": 8, "hidden": 8, "layers": 1, "heads": 2, "tested": 40, "asked": 4}


def small(**options: object) -> InContext:
    source = LinearPrompts(2, 5, noise=0.2)
    return InContext(source, linear_families(source), **{**SMALL, "places": (1, 3), **options})


def test_a_network_is_trained_and_measured_at_every_place() -> None:
    task = small()
    outcome = task.run(task.arm("transformer"), Run(0, SETTING))
    assert {metric.name for metric in task.metrics} <= outcome.metrics.keys()
    assert {"risk@1", "SPD OLS@3", "ILWD Bayes", "MSPD GD", "linearity"} <= outcome.metrics.keys()
    assert [x for x, _ in outcome.curves["SPD k-NN over pairs"]] == [1, 2, 3, 4] and len(outcome.curves["loss"]) == 6
    assert outcome.parameters and len(outcome.notes["nearest"]) == 4


def test_exact_predictors_are_arms_that_learn_nothing() -> None:
    task = small()
    risks = {name: task.run(task.arm(name), Run(0, SETTING)).metrics["risk"] for name in ("Bayes", "OLS", "GD", "zero")}
    assert min(risks, key=risks.__getitem__) == "Bayes"
    ridge = task.run(task.arm("ridge"), Run(0, SETTING))
    assert ridge.metrics["SPD ridge"] == 0 and ridge.notes["predictor"].startswith("ridge")
    with pytest.raises(InputError, match="did you mean transformer"):
        task.arm("transfomer")


def test_a_run_is_a_pure_function_of_its_seed() -> None:
    task = small()
    one, again, other = (task.run(task.arm("transformer"), Run(seed, SETTING)).curves["loss"] for seed in (0, 0, 1))
    assert one == again != other


def test_a_network_can_be_taught_on_other_prompts_than_it_is_measured_on() -> None:
    task = small(steps=150, hidden=16, lr=1e-2)
    arm = task.arm("transformer")
    easy = TaughtOn("easy", arm.make, source=LinearPrompts(2, 5, fixed=(1.0, 1.0)))
    outcome = task.run(easy, Run(0, Setting(seeds=(0,))))
    assert outcome.curves["loss"][-1][1] < 0.7 < outcome.metrics["risk"]


def test_data_are_described_in_a_line() -> None:
    task = InContext.from_data("linear:d=3,n=7,noise=0.5", Setting())
    assert task.model_arguments() == {"token_width": 4, "max_length": 16, "outputs": 1}
    assert task.input_card() == {"kind": "prompts", "d": 3, "n": 7, "layout": "label-first"}
    assert InContext.from_data(None, Setting()).source.n == 12
    with pytest.raises(InputError, match="family of prompts"):
        InContext.from_data("lin:d=3", Setting())


def test_probes_search_every_layer() -> None:
    source = LinearPrompts(2, 5)
    task = ProbedInContext(source, linear_families(source), probed=60, probe_steps=4, **SMALL)
    metrics = task.run(task.arm("transformer"), Run(0, SETTING)).metrics
    layers = [metrics[f"R2 weights, layer {layer}"] for layer in range(2)]
    assert metrics["R2 weights"] == max(layers) == layers[int(metrics["layer of weights"])] and metrics["R2 weights, last"] == layers[-1]
    assert {"R2 weights linear, last", "layer of moment"} <= metrics.keys()


def test_noise_is_told_by_the_nearest_penalty() -> None:
    def make(source: LinearPrompts) -> InContext:
        return InContext(source, linear_families(source), **SMALL)

    task = InContextNoise(2, 5, make)
    outcome = task.run(Arm("noisy", lambda: 0.5), Run(0, SETTING))
    assert {metric.name for metric in task.metrics} <= outcome.metrics.keys()
    distances = dict(outcome.curves["MSPD over penalties"])
    assert distances[outcome.metrics["penalty"]] == min(distances.values()) == outcome.metrics["MSPD of the nearest"]


def test_constructions_are_held_against_their_algorithms() -> None:
    from ordinate.papers.icl_linear import _descent, _update

    task = ConstructedLearners([(1, 2), (2, 3)], prompts=4)
    for make, layers, power in ((_descent, 6, 1), (_update, 13, 2)):
        metrics = task.run(Arm("made", make), Run(0, SETTING)).metrics
        assert metrics["program error"] < 1e-10 and metrics["transformer error"] < 1e-6
        assert metrics["error at 5e-3"] < 0.3 * metrics["error at 1e-2"]
        assert metrics["layers an example"] == layers and power - 0.2 < metrics["growth of rows"] <= power
