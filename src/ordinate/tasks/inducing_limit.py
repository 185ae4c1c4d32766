r"""Sparse deep kernel machines with more and more inducing points against the exact one.

Both objectives are maximised to working precision on the same rows of a table, with the kernels' own numbers held and without jitter; the inducing points start on rows, and are learnt where there are fewer of them than
rows. With all rows inducing and the best output values the sparse objective is the exact one.

Source: Yang et al., A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023), the section on sparse deep kernel machines.
"""

from functools import partial

from ordinate.data.standardised import StandardRows, standard_rows
from ordinate.data.tabular import Tabular, open_tabular
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.deep_kernel_machine import DeepKernelMachine
from ordinate.models.sparse_deep_kernel_machine import SparseDeepKernelMachine
from ordinate.train.working_precision import maximise

__all__ = ["TASKS", "InducingLimit"]

KERNELS = ("sqexp", "sqexp")
NOISE = 0.1


class InducingLimit(Task):
    """An arm's `make()` gives the number of inducing points. The seed draws the rows of the table.

    Args:
        table: with a number as its target.
        rows: how many to train on.
        iterations: of L-BFGS, at most.
    """

    name = "inducing-limit"
    metrics = (
        Metric("gap", "nats", higher_is_better=False, meaning="distance of the two objectives' maxima, a row"),
        Metric(
            "prediction gap",
            higher_is_better=False,
            meaning="largest difference of the predictive means on test rows, in standard deviations",
        ),
        Metric("test rmse", higher_is_better=False, meaning="of the sparse machine, in standard deviations of the target"),
    )

    def __init__(self, table: str = "diabetes", *, rows: int, iterations: int = 300) -> None:
        opened: Tabular = open_tabular(table)
        if opened.classes is not None:
            raise InputError(f"table {table!r} has classes: its target must be a number")
        self.table, self.rows, self.iterations = opened, rows, iterations
        self.title = f"Inducing points on {rows} rows of {table}, against the exact machine"

    def arm(self, name: str) -> Arm:
        """A number of inducing points."""
        if not name.isdigit() or not 1 <= int(name) <= self.rows:
            raise InputError(f"an arm is a number of inducing points from 1 to {self.rows}, not {name!r}")
        return Arm(name, partial(int, name))

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Maximise both, and compare."""
        data = standard_rows(self.table.split(run.seed), self.rows, generator(run.seed, "rows"))
        inducing: int = arm.make()
        features = data.train_x.shape[1]
        kernels = [{"kernel": kernel, "jitter": 0.0} for kernel in KERNELS]
        exact = DeepKernelMachine(self.rows, features, 1, kernels=kernels, noise=NOISE, learned=False)
        best = float(exact.solve(data.train_x, data.train_y, iterations=self.iterations))
        sparse = SparseDeepKernelMachine(features, 1, inducing=inducing, kernels=kernels, noise=NOISE, learned=False)
        sparse.initialise(data.train_x, data.train_y, seed=run.seed)
        bound = self._maximise(sparse, data)
        sparse.collapse(data.train_x, data.train_y)
        means = [
            each.predict(data.test_x)[0] if isinstance(each, DeepKernelMachine) else each.prepared()(data.test_x)[0]
            for each in (exact, sparse)
        ]
        return Outcome(
            {
                "gap": abs(best - bound) / self.rows,
                "prediction gap": float((means[0] - means[1]).abs().max()),
                "test rmse": float((means[1] - data.test_y).square().mean().sqrt()),
            },
            notes={"signed gap": (best - bound) / self.rows},
        )

    def _maximise(self, sparse: SparseDeepKernelMachine, data: StandardRows) -> float:
        # With all rows inducing, the points stay on them: that is the limit that is meant.
        sparse.points.requires_grad_(sparse.inducing < self.rows)
        moving = [parameter for name, parameter in sparse.named_parameters() if parameter.requires_grad and not name.startswith("output")]
        return float(maximise(lambda: sparse.collapsed_bound(data.train_x, data.train_y), moving, iterations=self.iterations))


TASKS = {InducingLimit.name: InducingLimit}
