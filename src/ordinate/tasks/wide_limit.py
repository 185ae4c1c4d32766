r"""Deep Gaussian processes of finite width against their limit, the deep kernel machine.

The posterior of one hidden layer's Gram matrix :math:`G = F F^\top / N` is sampled by Hamiltonian Monte Carlo at width N, with the targets observed N times (the limit in which representations are learnt) or once (the usual
limit). What the limits foretell is the machine's optimum :math:`G^\star` for the first and the kernel of the inputs :math:`K(G^0)`, the NNGP's, for the second; and that the features' columns are Gaussian, which their whitened
fourth moments tell.

Source: Yang et al., A theory of representation learning gives a deep generalisation of kernel methods (ICML 2023), the sections on the Bayesian representation learning limit and on wide but finite deep Gaussian processes.
"""

from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from ordinate.data.standardised import standard_rows
from ordinate.data.tabular import open_tabular
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.generate.hamiltonian import sample_hamiltonian
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.deep_gp import DeepGaussianProcess
from ordinate.models.deep_kernel_machine import DeepKernelMachine

__all__ = ["TASKS", "WideLimit", "WideProcess"]

KERNELS = ("sqexp", "sqexp")
STARTS = 3


@dataclass(frozen=True)
class WideProcess:
    """A process to sample: N features, and how often the targets are observed."""

    width: int
    replicate: int


class WideLimit(Task):
    """An arm's `make()` gives a `WideProcess`. The seed draws the rows of the table and the chains."""

    name = "wide-limit"
    metrics = (
        Metric(
            "error", higher_is_better=False, meaning="distance of the mean Gram matrix from the machine's optimum, over the latter's norm"
        ),
        Metric("nngp error", higher_is_better=False, meaning="the same from the kernel of the inputs"),
        Metric("learnt", meaning="distance of the machine's optimum from the kernel of the inputs, over the former's norm"),
        Metric(
            "excess", higher_is_better=False, meaning="of the fourth moments of whitened features over a Gaussian's 3, mean over points"
        ),
        Metric("starts", higher_is_better=False, meaning="largest difference of the objectives that random starts end at"),
        Metric("acceptance", meaning="mean probability with which the sampler takes a step"),
    )

    def __init__(
        self, table: str = "diabetes", *, points: int = 5, noise: float = 0.1, chains: int = 64, warmup: int = 60, draws: int = 60
    ) -> None:
        """
        Args:
            table: with a number as its target.
            points: P, rows of it.
            noise: the variance of the targets' noise.
            chains, warmup, draws: of the sampler.

        Raises:
            InputError: no such table.
        """
        self.table, self.points, self.noise = open_tabular(table), points, noise
        self.chains, self.warmup, self.draws = chains, warmup, draws
        self.title = f"One hidden layer on {points} rows of {table}, as a finite process and in the limit"

    def arm(self, name: str) -> Arm:
        """``"N"``, a width with as many observations of the targets, or ``"N once"``."""
        width, _, once = name.partition(" ")
        if not width.isdigit() or once not in ("", "once") or int(width) < 1:
            raise InputError(f"an arm is a width, as 128, or a width whose targets are observed once, as 128 once, not {name!r}")
        return Arm(name, partial(WideProcess, int(width), 1 if once else int(width)), role="baseline" if once else "method")

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Sample and compare."""
        what: WideProcess = arm.make()
        data = standard_rows(self.table.split(run.seed), self.points, generator(run.seed, "rows"))
        gram, y = data.train_x @ data.train_x.mT / data.train_x.shape[1], data.train_y
        optimum, tied, apart = self._limits(gram, y, run.seed)
        process = DeepGaussianProcess(gram, y, kernels=KERNELS, widths=[what.width], noise=self.noise, replicate=what.replicate)
        chance = generator(run.seed, "chains")
        root = torch.linalg.cholesky(optimum if what.replicate > 1 else tied)
        found = sample_hamiltonian(
            process,
            process.prior_state(self.chains, chance),
            draws=self.draws,
            warmup=self.warmup,
            generator=chance,
            observe=partial(_moments, process, root),
        )
        moments = found.observed.mean(dim=(0, 1))
        mean, squares, fourths = moments[: self.points], moments[self.points], moments[self.points + 1]
        return Outcome(
            {
                "error": float((mean - optimum).norm() / optimum.norm()),
                "nngp error": float((mean - tied).norm() / tied.norm()),
                "learnt": float((optimum - tied).norm() / optimum.norm()),
                "excess": float((fourths / squares.square() - 3).abs().mean()),
                "starts": apart,
                "acceptance": found.acceptance,
            },
            notes={"step": found.step},
        )

    def _limits(self, gram: Tensor, y: Tensor, seed: int) -> tuple[Tensor, Tensor, float]:
        """The best G* that was found, K(G^0), and how far apart the objectives end that start at the NNGP and away from it."""
        machine = DeepKernelMachine(self.points, None, 1, kernels=KERNELS, noise=self.noise, learned=False)
        tied, chance = machine.initialise(gram, y).grams[0], generator(seed, "starts")
        ends: list[tuple[float, Tensor]] = []
        for start in range(STARTS):
            machine.initialise(gram, y)
            with torch.no_grad():
                for parameter in machine.parameters() if start else ():
                    parameter.add_(0.3 * torch.randn(parameter.shape, generator=chance, dtype=parameter.dtype))
            ends.append((float(machine.maximise()), machine.grams[0]))
        ends.sort(key=lambda end: end[0])
        return ends[-1][1], tied, ends[-1][0] - ends[0][0]


def _moments(process: DeepGaussianProcess, root: Tensor, state: Tensor) -> Tensor:
    """The Gram matrix, and below it the mean squares and fourth powers of the whitened features, (chains, P + 2, P)."""
    (features,) = process.features(state)
    white = torch.linalg.solve_triangular(root, features, upper=False)
    gram = features @ features.mT / features.shape[-1]
    return torch.cat([gram, white.square().mean(dim=-1)[:, None], white.pow(4).mean(dim=-1)[:, None]], dim=1)


TASKS = {WideLimit.name: WideLimit}
