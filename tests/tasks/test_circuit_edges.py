import pytest

from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Run
from ordinate.ground.errors import InputError
from ordinate.tasks.circuit_edges import EDGE_METHODS, EdgeRecovery
from ordinate.tasks.circuits import Compiled, Planted, Subject, subject_of

RUN = Run(0, Setting(seeds=(0,)))
MAKE = Planted(pairs=12, layers=2)


def test_known_edges_score_best_and_sizes_are_scored_too() -> None:
    from ordinate.analyze.edge_circuits import edge_grid

    task = EdgeRecovery(MAKE, judged=6)
    known = task.run(Arm("known", lambda: lambda subject, seed: edge_grid(subject.headed, subject.edges)), RUN)
    assert known.metrics.keys() == {metric.name for metric in task.metrics}
    assert known.metrics["AUC"] == 1 and known.metrics["over random"] > 0.1
    sizes = task.run(task.arm("output norm"), RUN)
    assert 0 <= sizes.metrics["AUC"] <= 1 and sizes.metrics["faithfulness"] <= known.metrics["faithfulness"] + 0.05
    (shares, _), *_ = [list(zip(*points, strict=True)) for points in known.curves.values()]
    assert shares[0] == 0 and shares[-1] == 1


def test_pruning_finds_the_edges_of_a_program() -> None:
    task = EdgeRecovery(Compiled("sort", pairs=8, layers=2, heads=2), judged=2)
    arm = Arm("pruning", lambda: lambda subject, seed: _pruned(subject))
    assert task.run(arm, RUN).metrics["AUC"] == 1


def _pruned(subject: Subject):
    from ordinate.analyze.edge_pruning import edge_thresholds

    return edge_thresholds(subject.headed, subject.contrast, taus=(0.3, 1.0))


def test_methods_have_arms_and_what_cannot_be_judged_is_refused() -> None:
    task = EdgeRecovery(MAKE)
    assert {task.arm(name).role for name in EDGE_METHODS} == {"method", "baseline"}
    with pytest.raises(InputError, match="unknown method"):
        task.arm("guess")

    def unknown(seed: int) -> Subject:
        subject = subject_of(MAKE, seed)
        return Subject(subject.headed, subject.contrast, subject.truth)

    with pytest.raises(InputError, match="edges of this subject's circuit are not known"):
        EdgeRecovery(unknown).run(task.arm("output norm"), RUN)
