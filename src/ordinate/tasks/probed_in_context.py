"""In-context regression with probes: after training, every layer is searched for what a regression is computed from, X^T y, and for its result, the weights.

Probes are fitted and scored on prompts of their own, after a prefix of d pairs, on the tokens up to the next input. `R2 moment` and `R2 weights` are the best over layers of a probe with a hidden layer, ``last`` is that of the last layer, and
``layer`` is where the best is, 0 for the embedding; ``linear`` is a linear probe of the weights, at the last layer.

Source: Akyürek et al., What learning algorithm is in-context learning? (ICLR 2023), section 5.
"""

from typing import Any, cast

import torch
from torch import Tensor, nn

from ordinate.analyze.in_context.following import Families, Following
from ordinate.analyze.in_context.position_probe import Probed, fit_probe
from ordinate.analyze.in_context.regression_targets import moment_vector, prefix_weights
from ordinate.data.in_context.prompts import Prompts, PromptSource, interleave
from ordinate.experiment.task import Run
from ordinate.ground.seeds import generator
from ordinate.models.in_context_transformer import InContextTransformer
from ordinate.tasks.in_context import InContext

__all__ = ["ProbedInContext"]

_HIDDEN = 512
_RATE = 1e-2  # of 1e-3, 3e-3 and 1e-2 the one with which probes of every layer end best after so few steps
_FAR = 4.0  # d noisy pairs for d weights can be nearly singular: a few such rows would be most of the variance


class ProbedInContext(InContext):
    """`InContext`, and probes of every layer of the trained network."""

    name = "probed-in-context"

    def __init__(self, source: PromptSource, families: Families, *, probed: int = 12_000, probe_steps: int = 600, **options: Any) -> None:
        """
        Args:
            source: as `InContext`.
            families: as `InContext`.
            probed: prompts for the probes, a quarter of which they are scored on.
            probe_steps: of each probe.
            options: of `InContext`.
        """
        super().__init__(source, families, **options)
        self.probed, self.probe_steps = probed, probe_steps

    def further(self, model: nn.Module, found: Following, run: Run) -> dict[str, float]:
        """Weights, linearity, and what the probes found."""
        network, d = cast(InContextTransformer, model), self.source.d
        prompts = cast(Prompts, self.source.sample(self.probed, generator("in-context probes", d, self.source.n), n=d + 1))
        tokens = interleave(prompts.x, prompts.y, self.source.layout)[:, :-1].to(run.setting.device)
        parts = [network.hidden_states(some) for some in tokens.split(500)]
        layers = [torch.cat(each).cpu() for each in zip(*parts, strict=True)]
        targets = {"moment": moment_vector(prompts.x, prompts.y, d), "weights": prefix_weights(prompts.x, prompts.y, d).clamp(-_FAR, _FAR)}
        numbers = super().further(model, found, run)
        for name, target in targets.items():
            numbers |= _summary(name, [self._probe(states, target, _HIDDEN, run.seed) for states in layers])
        numbers["R2 weights linear, last"] = self._probe(layers[-1], targets["weights"], None, run.seed).r2
        return numbers

    def _probe(self, states: Tensor, target: Tensor, hidden: int | None, seed: int) -> Probed:
        return fit_probe(states, target, hidden=hidden, steps=self.probe_steps, lr=_RATE, seed=seed)


def _summary(name: str, probes: list[Probed]) -> dict[str, float]:
    scores = [probe.r2 for probe in probes]
    best = max(range(len(scores)), key=scores.__getitem__)
    each = {f"R2 {name}, layer {layer}": score for layer, score in enumerate(scores)}
    return each | {f"R2 {name}": scores[best], f"R2 {name}, last": scores[-1], f"layer of {name}": float(best)}
