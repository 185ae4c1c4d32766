r"""Trajectories of a nonlinear system, predicted in context; then what of the past stands in the states of each layer.

The references are online ridge regressions of all coordinates: on :math:`\Phi(\bar x_i)`, which is the Bayes predictor, and on :math:`\bar x_i` itself, with the best of several penalties. Probes look at token i for states and representations of one
and two steps earlier. States of one trajectory have a mean in common, so that each tells much about the others; what is read beyond the present is therefore given too: the share of what the embedding, which knows the present state alone, leaves open.

Source: Guo et al., How Do Transformers Learn In-Context Beyond Simple Functions? (ICLR 2024), sections 4.2 and 6.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ordinate.analyze.in_context.affine import with_constant
from ordinate.analyze.in_context.linear_references import PENALTIES
from ordinate.analyze.in_context.trajectories import predict_trajectory
from ordinate.analyze.layer_probes import Target
from ordinate.data.in_context.dynamics import DynamicsPrompts, Trajectories, windows
from ordinate.data.in_context.prompts import PromptBatches
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive, generator
from ordinate.models.in_context_transformer import InContextTransformer
from ordinate.models.registry import create_model
from ordinate.nn.fixed_representation import FixedRepresentation
from ordinate.objectives.base import create_objective
from ordinate.tasks.in_context_looked_into import Seen, fresh_like, probe_prompts, read_numbers
from ordinate.tasks.in_context_representations import before
from ordinate.tasks.training import TrainingTask, arm_recipe, make_seeded, train_arm
from ordinate.train.fit import Batches
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "DynamicsLearning"]

MODEL = "transformer"
EVERY = {"state": slice(None)}


class DynamicsLearning(TrainingTask):
    """Prediction of the next state.

    An arm's `make(token_width=..., max_length=..., outputs=...)` gives a network, or a sequence of functions from states (B, n + 1, d) to predictions (B, n, d), the best of which is scored.
    """

    name = "in-context-dynamics"
    objectives = ("in-context",)

    def __init__(
        self,
        source: DynamicsPrompts,
        *,
        steps: int,
        batch_size: int = 64,
        lr: float = 1e-3,
        hidden: int = 64,
        layers: int = 4,
        heads: int = 4,
        tested: int = 1_000,
        probed: int = 2_000,
        places: Sequence[int] = (),
    ) -> None:
        """
        Args:
            source: the trajectories.
            steps: optimizer steps.
            batch_size: trajectories a step.
            lr: the peak learning rate.
            hidden: the width of the networks that are arms by name.
            layers: their blocks.
            heads: of their attention.
            tested: test trajectories.
            probed: trajectories that probes are fitted on, and as many to test them; 0 leaves probes out.
            places: transitions seen, for which risks are given apart: ``risk@8``.

        Raises:
            InputError: a place that is not in a trajectory.
        """
        if any(not 0 <= place < source.n for place in places):
            raise InputError(f"a trajectory has places 0 to {source.n - 1}, not {list(places)}")
        self.source = source
        self.steps, self.batch_size, self.lr = steps, batch_size, lr
        self.hidden, self.layers, self.heads = hidden, layers, heads
        self.tested, self.probed, self.places = tested, probed, tuple(places)
        self.title = f"In-context prediction of a system, d = {source.d}, k = {source.k}, D = {source.D}, n = {source.n}"
        self.metrics = (
            Metric("risk", higher_is_better=False, meaning="squared error a coordinate, mean over places after the first transition"),
            *(
                Metric(f"risk@{place}", higher_is_better=False, meaning=f"squared error a coordinate after {place} transitions")
                for place in places
            ),
        )

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "DynamicsLearning":
        """Trajectories of a size: ``"d=3,k=2,D=6,layers=2,n=20,noise=0.1"``, of which all are optional.

        Args:
            data: the sizes.
            setting: its scale decides on steps.
            strict: no difference: trajectories are drawn, and nothing in them is unreadable.

        Raises:
            InputError: something else, or a number out of range.
        """
        sizes = read_numbers(cls.name, data, d=3, k=2, D=6, layers=2, n=20, noise=0.1)
        d, k = int(sizes["d"]), int(sizes["k"])
        if k < 1:
            raise InputError(f"a window holds at least the present state: k must be at least 1, not {k}")
        phi = FixedRepresentation(k * d, int(sizes["D"]), int(sizes["layers"]))
        source = DynamicsPrompts(phi, d, k, int(sizes["n"]), noise=sizes["noise"])
        return cls(source, steps=setting.pick(smoke=300, full=3_000, gpu=60_000), places=(source.n - 1,))

    def recipe(self, setting: Setting) -> Recipe:
        """That of `InContext`; the same for every arm."""
        return Recipe(steps=self.steps, lr=self.lr, betas=(0.9, 0.98), warmup=min(200, max(1, self.steps // 5)), clip=1.0)

    def model_arguments(self) -> dict[str, Any]:
        """A token is a state, and so is what is read out."""
        return {"token_width": self.source.d, "max_length": self.source.n, "outputs": self.source.d}

    def batches(self, seed: int, objective: str) -> Batches:
        """Fresh trajectories."""
        return PromptBatches(self.source, self.batch_size, seed)

    def arm(self, name: str) -> Arm:
        """``"transformer"``, ``"Phi-ridge"``, ``"autoregression"`` (ridge on the windows themselves, with and without a constant) or ``"zero"``."""
        source = self.source
        known: dict[str, list[Any]] = {
            "Phi-ridge": [partial(predict_trajectory, k=source.k, penalty=max(source.penalty, 1e-8), phi=source.phi)],
            "autoregression": [
                partial(predict_trajectory, k=source.k, penalty=penalty, phi=phi) for phi in (None, with_constant) for penalty in PENALTIES
            ],
            "zero": [lambda states: torch.zeros_like(states[:, 1:])],
        }
        if choose("arm", name, [MODEL, *known]) == MODEL:
            return Arm(name, partial(create_model, "in-context-transformer", hidden=self.hidden, layers=self.layers, heads=self.heads))
        return Arm(name, lambda **_: known[name], role="baseline")

    def test(self) -> Trajectories:
        """The trajectories that every arm is scored on."""
        return self.source.sample(self.tested, generator("dynamics test", self.source.d, self.source.n))

    @torch.no_grad()
    def score(self, model: nn.Module, device: str) -> dict[str, float]:
        """Risks on the test trajectories."""
        test = self.test()
        said = torch.cat([model(part.to(device)).cpu() for part in test.tokens().split(256)])
        return self._numbers(_errors(said, test))

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train one arm at one seed where there is anything to train, score it, and look into what was trained."""
        contender = make_seeded(lambda: arm.make(**self.model_arguments()), run.seed)
        test = self.test()
        if not isinstance(contender, nn.Module):
            members = torch.stack([_errors(predict(test.states), test) for predict in contender])
            best = members[members[:, 1:].mean(dim=1).argmin()]
            # Each number is that of the member which does best at it, so that no penalty chosen for another makes a baseline weaker.
            return Outcome(
                self._numbers(best) | {f"risk@{place}": members[:, place].min().item() for place in self.places}, curves=_curve(best)
            )
        recipe = arm_recipe(self.recipe(run.setting), arm, run)
        trained = train_arm(
            contender,
            create_objective(self.objectives[0], contender),
            self.batches(run.seed, self.objectives[0]),
            recipe,
            run,
            evaluate=lambda judged: self.score(judged, run.setting.device),
            evaluate_every=max(1, recipe.steps // self.points),
        )
        with torch.no_grad():
            errors = _errors(contender.eval()(test.tokens().to(run.setting.device)).cpu(), test)
        seen = self._look(contender, run) if isinstance(contender, InContextTransformer) and self.probed else Seen()
        return Outcome(
            self._numbers(errors) | seen.metrics,
            curves=trained.history.curves | _curve(errors) | seen.curves,
            parameters=trained.parameters,
            flops=trained.flops,
            notes=seen.notes,
        )

    def _numbers(self, errors: Tensor) -> dict[str, float]:
        return {"risk": errors[1:].mean().item()} | {f"risk@{place}": errors[place].item() for place in self.places}

    def _look(self, model: InContextTransformer, run: Run) -> Seen:
        seen, device = Seen(), run.setting.device
        state = self._lagged(lambda prompts: prompts.tokens())
        phi = self._lagged(lambda prompts: self.source.phi(windows(prompts.tokens(), self.source.k)))
        targets = {f"{name}, lag {lag}": target for name, lags in (("x", state), ("Phi", phi)) for lag, target in enumerate(lags)}
        tables = [
            probe_prompts(network, self.source, targets, self.probed, run.seed, device, tokens=EVERY)
            for network in (model, fresh_like(model, derive(run.seed, "untrained")).to(device))
        ]
        seen.add_probes(tables[0], dict.fromkeys(targets, "state"))
        curves, controls = ({name: table.curve("state", name) for name in targets} for table in tables)
        seen.metrics |= {f"error of {name}": min(errors) for name, errors in curves.items()}
        for name in ("x", "Phi"):
            one, two = f"{name}, lag 1", f"{name}, lag 2"
            seen.metrics |= {
                f"R2 of {one} minus lag 2": min(curves[two]) - min(curves[one]),
                f"R2 of {one} minus lag 2, untrained": min(controls[two]) - min(controls[one]),
                f"R2 of {one} minus lag 2, beyond the present": _kept(curves[two]) - _kept(curves[one]),
            }
        seen.notes["probe errors"] = {f"{row['target']}, {row['layer']}": row["error"] for row in tables[0].rows()}
        return seen

    @staticmethod
    def _lagged(of: Any) -> list[Target]:
        """Something now, one and two steps earlier."""

        def lagged(prompts: Trajectories, lag: int) -> Tensor:
            values = of(prompts)
            for _ in range(lag):
                values = before(values)
            return values

        return [Target(partial(lagged, lag=lag), first=lag) for lag in range(3)]


def _kept(errors: list[float]) -> float:
    """The least error over the first, that of the embedding, which knows the present state alone."""
    return min(errors) / errors[0]


def _errors(said: Tensor, test: Trajectories) -> Tensor:
    return (said - test.states[:, 1:]).square().mean(dim=(0, 2))


def _curve(errors: Tensor) -> dict[str, list[tuple[float, float]]]:
    return {"risk over states": [(float(i), error) for i, error in enumerate(errors.tolist()) if i]}


TASKS = {DynamicsLearning.name: DynamicsLearning}
