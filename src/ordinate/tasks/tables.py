"""Several tables at once: every arm is tuned, fitted and scored on each, so that one comparison holds them all.

A number of one table is called ``"METRIC@TABLE"``, as ``"rmse@diabetes"`` and ``"accuracy@wine"``; how it is found is :mod:`ordinate.tasks.tabular`'s to say.
"""

from collections.abc import Sequence
from dataclasses import replace

from ordinate.data.tabular import BUILT_IN
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError
from ordinate.tasks.tabular import TabularTask

__all__ = ["TASKS", "Tables"]


class Tables(Task):
    """Error, likelihood and calibration on held-out rows of several tables. An arm's `make(problem)` gives its candidates, scikit-learn estimators, for each table anew.

    Args:
        tables: the tasks, of different tables.

    Raises:
        InputError: no tables, or one twice.
    """

    name = "tables"

    def __init__(self, tables: Sequence[TabularTask]) -> None:
        names = [task.table.name for task in tables]
        if not names or len(set(names)) != len(names):
            raise InputError(f"a comparison on tables needs one at least, and none twice, not {names}")
        self.tables = tuple(tables)
        self.title = f"Tables: {', '.join(names)}"
        self.metrics: tuple[Metric, ...] = tuple(
            replace(metric, name=f"{metric.name}@{task.table.name}") for task in tables for metric in task.metrics
        )

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "Tables":
        """On several tables.

        Args:
            data: their names or files with commas between them; scikit-learn's four by default.
            setting: its scale decides on steps, candidates and rows.
            strict: nothing in a table is passed over in any case.
        """
        names = sorted(BUILT_IN) if data is None else [name.strip() for name in data.split(",") if name.strip()]
        return cls([TabularTask.from_data(name, setting) for name in names])

    def arm(self, name: str) -> Arm:
        """One of the contenders; see `ordinate.tasks.tabular.TabularTask`."""
        return self.tables[0].arm(name)

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Tune, fit and score one arm on the split of every table that the seed numbers."""
        found = {task.table.name: task.run(arm, run) for task in self.tables}
        metrics = {f"{metric}@{name}": value for name, outcome in found.items() for metric, value in outcome.metrics.items()}
        return Outcome(metrics, notes={name: outcome.notes for name, outcome in found.items()})


TASKS = {Tables.name: Tables}
