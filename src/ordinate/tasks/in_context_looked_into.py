"""In-context regression whose trained networks are looked into: what stands in the states of each layer, and what the upper layers do by themselves.

Networks are trained and scored as `ordinate.tasks.in_context.InContext` does it, and whatever is looked for afterwards is measured on the same weights, so that one training serves all questions.

Source: Guo et al., How Do Transformers Learn In-Context Beyond Simple Functions? (ICLR 2024), section 6.
"""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from scipy.stats import spearmanr
from torch import nn

from ordinate.analyze.in_context.following import Families
from ordinate.analyze.layer_probes import ProbeTable, Target, probe_layers
from ordinate.data.in_context.prompts import PromptSource, TokenBatch
from ordinate.experiment.task import Arm, Outcome, Run
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator
from ordinate.models.in_context_transformer import InContextTransformer
from ordinate.tasks.in_context import MODEL, InContext
from ordinate.tasks.training import make_seeded

__all__ = [
    "PAIRS",
    "LookedInto",
    "Seen",
    "appearance",
    "fresh_like",
    "layer_names",
    "over_layers",
    "probe_prompts",
    "read_numbers",
    "trend",
]

PAIRS = {"x": slice(0, None, 2), "y": slice(1, None, 2)}
_AT_ONCE = 256


def layer_names(model: InContextTransformer) -> list[str]:
    """The stream after the embedding and after every block."""
    return ["stream", *(f"blocks.{number}" for number in range(len(model.blocks)))]


def fresh_like(model: InContextTransformer, seed: int) -> InContextTransformer:
    """The same architecture with random weights, for controls."""
    return make_seeded(lambda: InContextTransformer(**model.arguments), seed)


def probe_prompts(
    model: InContextTransformer,
    source: PromptSource,
    targets: Mapping[str, Target],
    prompts: int,
    seed: int,
    device: str,
    *,
    tokens: Mapping[str, slice] = PAIRS,
) -> ProbeTable:
    """Probe every layer on prompts of a source, as many to fit as to test; targets are functions of what the source samples.

    Raises:
        InputError: see :func:`ordinate.analyze.layer_probes.probe_layers`.
    """

    def drawn(part: str) -> Iterable[TokenBatch]:
        draw = generator("probe", part, seed)
        for start in range(0, prompts, _AT_ONCE):
            yield source.sample(min(_AT_ONCE, prompts - start), draw)

    def forward(network: nn.Module, batch: Any) -> Any:
        return network(batch.batch()["tokens"].to(device))

    return probe_layers(model, layer_names(model), targets, drawn("fit"), drawn("test"), tokens=tokens, forward=forward)


def trend(errors: list[float]) -> float:
    """Spearman's correlation of errors with depth; 0 where they are all the same."""
    return float(spearmanr(range(len(errors)), errors).statistic) if len(set(errors)) > 1 else 0.0


def appearance(errors: list[float], share: float = 0.5) -> int:
    """The first layer at which an error has done that share of its fall from where it begins to its least."""
    bound = errors[0] - share * (errors[0] - min(errors))
    return next(layer for layer, error in enumerate(errors) if error <= max(bound, min(errors)))


def over_layers(errors: list[float]) -> list[tuple[float, float]]:
    """Errors as a curve; layer 0 is the embedding."""
    return [(float(layer), error) for layer, error in enumerate(errors)]


@dataclass
class Seen:
    """What was found in a trained network: more metrics, curves and notes."""

    metrics: dict[str, float] = field(default_factory=dict)
    curves: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)

    def add_probes(self, table: ProbeTable, kinds: Mapping[str, str]) -> None:
        """Curves of errors over the layers: `kinds` maps targets to the kind of token that they are looked for at."""
        for target, token in kinds.items():
            self.curves[f"{target} at {token}, error over layers"] = over_layers(table.curve(token, target))


class LookedInto(InContext):
    """In-context regression, and a look into what was trained.

    Attributes:
        predictors: exact predictors that are arms by name. Those of `families`, to which distances are measured at every evaluation, are among them.
    """

    predictors: Families

    @abstractmethod
    def look(self, model: InContextTransformer, run: Run) -> Seen:
        """What is to be found in a trained network, in evaluation mode."""

    def arm(self, name: str) -> Arm:
        """``"transformer"``, or one of the exact predictors.

        Raises:
            InputError: another name.
        """
        if choose("arm", name, [MODEL, *self.predictors]) == MODEL:
            return super().arm(name)
        return Arm(name, lambda **_: self.predictors[name], role="baseline")

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train one arm at one seed and look into it, or score the best of an algorithm's members."""
        if arm.name not in self.predictors:
            return self.train(arm, run)[1]
        test = self.test().double()
        members = self.predictors[arm.name]
        errors = torch.stack([(predictor(test.x, test.y) - test.y).square().mean(dim=0) for predictor in members])
        best = members[int(errors[:, 1:].mean(dim=1).argmin())]
        found = self.measure(best, ask=False)
        # Each risk is that of the member which does best at it, so that no penalty chosen for another makes a baseline weaker.
        numbers = self._numbers(found) | {f"risk@{place}": errors[:, place].min().item() for place in self.places}
        return Outcome(numbers, curves=self._curves(found), notes={"predictor": best.name})

    def train(self, arm: Arm, run: Run) -> tuple[nn.Module, Outcome]:
        """As :meth:`InContext.train`, with what was found by looking."""
        model, outcome = super().train(arm, run)
        if not isinstance(model, InContextTransformer):
            return model, outcome
        with torch.random.fork_rng([]):
            seen = self.look(model, run)
        merged = replace(
            outcome,
            metrics=outcome.metrics | seen.metrics,
            curves=outcome.curves | seen.curves,
            notes=outcome.notes | seen.notes,
        )
        return model, merged


def read_numbers(task: str, data: str | None, **known: float) -> dict[str, float]:
    """Numbers by name, ``"d=4,noise=0.1"``, in place of the `known` ones; each of the type of what it replaces.

    Raises:
        InputError: another name, or no number.
    """
    found = dict(known)
    for pair in data.split(",") if data else []:
        name, _, value = pair.partition("=")
        if name not in known:
            raise InputError(f"{task}: {pair!r} is none of {', '.join(f'{key}={value}' for key, value in known.items())}")
        try:
            found[name] = type(known[name])(value)
        except ValueError:
            raise InputError(f"{task}: {name} is a number such as {known[name]}, not {value!r}") from None
    return found
