r"""How much a deep kernel machine's representation moves from the kernel below, by the relative width :math:`\nu` of its layers.

The optimum at every :math:`\nu` is found to working precision on a few rows of a table, with the kernels' own numbers held, so that what moves is the representation. As :math:`\nu \to \infty` it is the NNGP; as
:math:`\nu` falls the training targets are fitted better and :math:`G^l` lies further from :math:`K(G^{l-1})`.

Source: Yang et al., A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023), the section on the Bayesian representation learning limit.
"""

import math
from functools import partial

import torch

from ordinate.data.standardised import standard_rows
from ordinate.data.tabular import Tabular, open_tabular
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.deep_kernel_machine import DeepKernelMachine
from ordinate.nn.gram import Gram

__all__ = ["TASKS", "RelativeWidth"]

KERNELS = ("sqexp", "sqexp", "sqexp")


class RelativeWidth(Task):
    """An arm's `make()` gives ν. The seed draws the rows of the table.

    Args:
        table: with a number as its target.
        rows: how many to train on.
        iterations: of L-BFGS, at most.
    """

    name = "relative-width"
    metrics = (
        Metric("fit", "nats", meaning="log-likelihood of the training targets, a row"),
        Metric(
            "distance",
            higher_is_better=False,
            meaning="of the Gram matrices from the kernels below, over the latter's norms, mean over layers",
        ),
        Metric("from nngp", higher_is_better=False, meaning="largest distance of any Gram matrix's or prediction's entry from the NNGP's"),
        Metric("test rmse", higher_is_better=False, meaning="in standard deviations of the target"),
    )

    def __init__(self, table: str = "diabetes", *, rows: int, iterations: int = 300) -> None:
        opened: Tabular = open_tabular(table)
        if opened.classes is not None:
            raise InputError(f"table {table!r} has classes: relative widths are compared on a table whose target is a number")
        self.table, self.rows, self.iterations = opened, rows, iterations
        self.title = f"Representations of {rows} rows of {table} by relative width"

    def arm(self, name: str) -> Arm:
        """``"nu = NUMBER"``, or ``"nu = inf"`` for the NNGP."""
        try:
            nu = float(name.removeprefix("nu = "))
        except ValueError:
            raise InputError(f"an arm is a relative width, as nu = 10, not {name!r}") from None
        return Arm(name, partial(float, nu), role="baseline" if math.isinf(nu) else "method")

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Find the optimum, and measure."""
        split = standard_rows(self.table.split(run.seed), self.rows, generator(run.seed, "rows"))
        machine, tied = (self._machine(nu, split.train_x.shape[1]) for nu in (arm.make(), math.inf))
        machine.solve(split.train_x, split.train_y, iterations=self.iterations)
        tied.initialise(split.train_x, split.train_y)
        ours, theirs = machine.predict(split.test_x)[0], tied.predict(split.test_x)[0]
        gaps = [ours - theirs, *(a - b for a, b in zip(machine.grams, tied.grams, strict=True))]
        below = split.train_x @ split.train_x.mT / split.train_x.shape[1]
        distances = []
        for kernel, gram in zip(machine.deep.kernels, machine.grams, strict=False):
            with torch.no_grad():
                above = kernel(Gram.of_inducing(below)).ii
            distances.append(float((gram - above).norm() / above.norm()))
            below = gram
        return Outcome(
            {
                "fit": float(machine.terms()[0].detach()) / self.rows,
                "distance": sum(distances) / len(distances),
                "from nngp": max(float(gap.abs().max()) for gap in gaps),
                "test rmse": float((ours - split.test_y).square().mean().sqrt()),
            }
        )

    def _machine(self, nu: float, features: int) -> DeepKernelMachine:
        return DeepKernelMachine(self.rows, features, 1, kernels=KERNELS, nu=nu, noise=0.1, learned=False)


TASKS = {RelativeWidth.name: RelativeWidth}
