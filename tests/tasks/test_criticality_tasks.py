import math

import pytest
import torch

from ordinate.analyze.criticality import find_criticality
from ordinate.analyze.signals import Propagation
from ordinate.experiment.comparison import Comparison
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Run
from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation
from ordinate.tasks.critical_points import KNOWN, CriticalPoints, KnownPoint
from ordinate.tasks.deep_training import DeepPlan, DeepTraining, residual_weight
from ordinate.tasks.finite_width import FiniteWidth, FluctuationGrowth, RandomNets
from ordinate.tasks.signal_flow import SignalFlow

RUN = Run(0, Setting())


def test_a_critical_point_is_held_against_what_is_known() -> None:
    gelu = Activation.of("gelu")
    right = CriticalPoints().run(Arm("gelu", lambda: KnownPoint(gelu, 0.17292239, 1.98305826, (3 + math.sqrt(17)) / 2)), RUN)
    wrong = CriticalPoints().run(Arm("gelu", lambda: KnownPoint(gelu, 0.2, 1.98305826)), RUN)
    lacking = CriticalPoints().run(Arm("relu", lambda: KnownPoint(Activation.of("relu"), 0.0, 2.0, 1.0)), RUN)
    assert right.metrics["error"] < 1e-6 and wrong.metrics["error"] == pytest.approx(0.02708, abs=1e-5) and lacking.metrics["error"] > 1
    assert right.notes["kind"] == "half_stable"


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_twelve_activations_come_out_at_their_known_values(name: str) -> None:
    task = CriticalPoints()
    assert len(KNOWN) == 12 and task.run(task.arm(name), RUN).metrics["error"] < 1e-6


def test_arms_by_name() -> None:
    task = SignalFlow(4, 30, 2)
    arms = [task.arm(name) for name in ("gelu", "gelu, critical", "gelu, x 0.8", "gelu, He", "tanh, torch default")]
    assert [arm.role for arm in arms] == ["method", "method", "ablation", "baseline", "baseline"]
    made = [arm.make() for arm in arms]
    critical = find_criticality("gelu")
    assert made[0] == made[1] and (made[0].C_b, made[0].C_W, made[0].first) == (critical.C_b, critical.C_W, critical.K_star)
    share = made[2].C_W / critical.C_W
    assert share == pytest.approx(0.8) and made[2].C_b == critical.C_b
    assert (made[3].C_b, made[3].C_W) == (0.0, 2.0) and (made[4].C_b, made[4].C_W) == (1 / 90, 1 / 3)
    with pytest.raises(InputError, match="unknown activation with a known critical point"):
        CriticalPoints().arm("softplus")


def test_networks_at_criticality_with_residual_connections_and_beside_it() -> None:
    relu = RandomNets.critical("relu", 0.6)
    assert (relu.C_b, relu.C_W, relu.first, relu.residual) == (0.0, pytest.approx(2 * (1 - 0.36)), 1.0, 0.6)
    beside = DeepPlan.critical("gelu", 5, (0.1,), factor=0.8)
    share = beside.C_W / find_criticality("gelu").C_W
    assert beside.first == find_criticality("gelu").K_star and share == pytest.approx(0.8)
    assert DeepPlan.critical("tanh", 5, (0.1,)).first is None


def test_the_residual_weight_of_a_deep_network_comes_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    assert residual_weight("tanh", 2, 64, outputs=10) == 0.0
    nu = find_criticality("tanh").with_residual(residual_weight("tanh", 64, 64, outputs=10)).nu
    assert nu == pytest.approx(4 / 50) and not recwarn.list


def test_signals_of_networks_lie_in_the_band() -> None:
    task = SignalFlow(6, 60, 30)
    outcome = task.run(Arm("tanh", lambda: Propagation(Activation.of("tanh"), 0.0, 1.0)), RUN)
    assert outcome.metrics["inside"] > 85 and outcome.metrics["kernel error"] < 5 and outcome.metrics["cosine error"] < 0.2
    assert outcome.parameters == 60 * 3 + 5 * 61 * 60
    off = task.run(Arm("torch", lambda: Propagation(Activation.of("tanh"), 0.0, 1 / 3)), RUN)
    assert off.metrics["gradient"] < -1 < outcome.metrics["gradient"]
    assert all(math.isfinite(outcome.metrics[metric.name]) for metric in task.metrics)


def test_ensembles_are_held_against_the_recursions() -> None:
    task = FiniteWidth(12, 2, (4000, 400, 100))
    nets = RandomNets(Activation.of("tanh"), 0.05, 1.3, 1.35)
    outcome = task.run(Arm("tanh", lambda: nets), RUN)
    assert outcome.metrics.keys() == {metric.name for metric in task.metrics}
    for name in ("K", "Theta", "B", "F"):
        assert outcome.metrics[name] == pytest.approx(1.0, abs=0.3), name
    assert task.run(Arm("tanh", lambda: nets), RUN).metrics == outcome.metrics


def test_the_growth_of_fluctuations_of_linear_networks() -> None:
    task = FluctuationGrowth((8, 16), 6, 4000)
    outcome = task.run(Arm("linear", lambda: RandomNets(Activation.of("linear"), 0.0, 1.0)), RUN)
    assert outcome.metrics["recursion"] == pytest.approx(2.0) and outcome.metrics["asymptote"] == pytest.approx(2.0)
    assert outcome.metrics["rate"] == pytest.approx(2.0, rel=0.15)
    assert [width for width, _ in outcome.curves["rate by width"]] == [8, 16]


def plan(name: str, depth: int, **more: object) -> DeepPlan:
    report = find_criticality(name)
    return DeepPlan(Activation.of(name), depth, (0.001, 0.03), report.C_b, report.C_W, report=report, **more)  # type: ignore[arg-type]


def test_networks_at_several_rates_are_trained_as_one_and_the_best_counts() -> None:
    task = DeepTraining(width=12, members=2, steps=25)
    comparison = Comparison(
        "deep", task, [Arm("tanh", lambda: plan("tanh", 3)), Arm("torch", lambda: DeepPlan(Activation.of("tanh"), 3, (0.03,)))]
    )
    table = comparison.run(Setting(seeds=(0,)))
    (row,) = table.of("tanh")
    losses = [loss for _, loss in row.curves["training loss by learning rate"]]
    assert losses[1] < losses[0] and row.metrics["best rate"] == 0.03
    assert row.metrics["train accuracy"] > 50 and row.metrics["spread"] > 0 and row.metrics["output spread"] > 0
    assert row.parameters == 65 * 12 + 13 * 12 + 13 * 10


@pytest.mark.parametrize("rule", ["plain", "uniform", "layer"])
def test_every_rule_of_learning_rates_trains(rule: str) -> None:
    rates = (0.03,) if rule == "plain" else (0.3,)
    report = find_criticality("tanh")
    arm = Arm(rule, lambda: DeepPlan(Activation.of("tanh"), 3, rates, 0.0, 1.0, rule=rule, report=report))
    assert DeepTraining(width=10, members=1, steps=30).run(arm, RUN).metrics["train accuracy"] > 30


def test_a_rate_at_which_networks_diverge_is_not_the_best() -> None:
    report = find_criticality("relu")
    arm = Arm("relu", lambda: DeepPlan(Activation.of("relu"), 4, (0.01, 1e6), report.C_b, report.C_W))
    outcome = DeepTraining(width=8, members=1, steps=10).run(arm, RUN)
    assert outcome.metrics["best rate"] == 0.01 and math.isfinite(outcome.metrics["test loss"])


def test_the_lowest_point_of_a_parabola() -> None:
    from ordinate.tasks.deep_training import _lowest

    rates = [2.0**power for power in range(6)]
    losses = [(power - 2.3) ** 2 for power in range(6)]
    assert _lowest(rates, losses) == pytest.approx(2**2.3)
    assert _lowest(rates, losses[::-1]) == pytest.approx(2**2.7) and _lowest(rates, [float(power) for power in range(6)]) == 1.0


def test_plans_that_cannot_be_followed_are_refused() -> None:
    task = DeepTraining(width=8, members=1, steps=2)
    with pytest.raises(InputError, match="ascending and once each"):
        task.run(Arm("x", lambda: DeepPlan(Activation.of("tanh"), 2, (0.1, 0.1))), RUN)
    with pytest.raises(InputError, match="unknown rule"):
        task.run(Arm("x", lambda: DeepPlan(Activation.of("tanh"), 2, (0.1,), rule="guess")), RUN)
    with pytest.raises(InputError, match="need the activation's report"):
        task.run(Arm("x", lambda: DeepPlan(Activation.of("tanh"), 2, (0.1,), 0.0, 1.0, rule="layer")), RUN)


def test_torch_s_own_generator_is_left_alone() -> None:
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    DeepTraining(width=6, members=1, steps=2).run(Arm("x", lambda: plan("tanh", 2)), RUN)
    assert torch.equal(torch.rand(2), expected)
