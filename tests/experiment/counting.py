"""A task that costs nothing: an arm is a function of the seed. It counts how often it is run."""

from pathlib import Path

from ordinate.experiment.claim import Claim, exact, gain, level
from ordinate.experiment.comparison import Comparison
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task


class Counting(Task):
    name = "counting"
    title = "Numbers out of seeds"
    metrics = (Metric("score", "%"),)

    def __init__(self) -> None:
        self.runs: list[tuple[str, int]] = []

    def run(self, arm: Arm, run: Run) -> Outcome:
        self.runs.append((arm.name, run.seed))
        if run.folder:
            run.folder.mkdir(parents=True, exist_ok=True)
            (run.folder / "checkpoint").write_text("half-way")
        score = arm.make(run.seed)
        return Outcome({"score": score}, curves={"score": [(step, score * step) for step in range(300)]}, parameters=7)


def comparison(setting: Setting) -> Comparison:
    arms = [Arm("good", lambda seed: 90.0 + seed % 3), Arm("poor", lambda seed: 50.0 + seed % 2, role="baseline")]
    return Comparison("good-poor", Counting(), arms)


PAPER = Paper(
    slug="pointer-networks",
    title="A paper of numbers",
    authors="Nobody",
    year=2020,
    venue="Nowhere",
    arxiv="2001.00001",
    code=None,
    room="nn",
    summary="It counts.",
    provides=(Part("the ground's errors", "ordinate.ground.errors:InputError"),),
    claims=(
        Claim("better", "Good is better than poor.", "by 39 (Table 1)", comparison, [gain("good", "poor", "score", at_least=30, unit="%")]),
        Claim("huge", "Good is above 95.", "96 (Table 1)", comparison, [level("good", "score", at_least=95)], note="It is not."),
        Claim("counts", "Two arms.", "2", comparison, [exact("arms", lambda table: len(table.arms), at_least=2, at_most=2)]),
        Claim("unclear", "Good is above 91.", "91", comparison, lambda setting: [level("good", "score", at_least=91)], scales=("full",)),
    ),
    snippet="1 + 1",
)

SETTING = Setting(seeds=(0, 1, 2))


def rows_of(folder: Path) -> list[Path]:
    return sorted((folder / "rows" / "good-poor").glob("*.json"))
