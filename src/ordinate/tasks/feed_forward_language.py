"""Feed-forward layers compared inside a language model: the same blocks, softmax attention and number of parameters, and another activation.

Beside the held-out cross-entropy it measures what the layers have become: the effective rank of their matrices, as a share of the most there can be, and the cosine between the vectors of different blocks.
Arms by name are activations, gated layers (``"swiglu"``) among them; the feed-forward layers' width makes the parameters equal.
"""

from functools import partial

import torch
from torch import nn

from ordinate.analyze.effective_rank import effective_rank, layer_cosines
from ordinate.experiment.task import Arm, Metric
from ordinate.ground.errors import choose
from ordinate.nn.activation_modules import GATES, list_activation_modules
from ordinate.nn.blocks import MixerBlock
from ordinate.tasks.language_modelling import LanguageModelling

__all__ = ["TASKS", "FeedForwardLanguage"]

_TOKENS = 8  # windows over which layers are compared


class FeedForwardLanguage(LanguageModelling):
    """Language modelling whose arms differ in the feed-forward layers' activation."""

    name = "feed-forward-language"
    title = "Activations in a language model"
    metrics = (
        *LanguageModelling.metrics,
        Metric("effective_rank", "%", meaning="of the feed-forward matrices, of the most there can be"),
        Metric("layer_cosine", higher_is_better=False, meaning="between a token's vectors after different blocks"),
    )

    def arm(self, name: str) -> Arm:
        """An activation in the common model, with learned positions."""
        choose("activation", name, [*list_activation_modules(), *GATES])
        return Arm(name, partial(self.sized, activation=name, position="absolute"))

    def score(self, model: nn.Module, device: str) -> dict[str, float]:
        """Nats a token of the held-out windows, the ranks, and the cosines."""
        blocks = {name: module for name, module in model.named_modules() if isinstance(module, MixerBlock)}
        layers = [layer.weight for block in blocks.values() for layer in block.feed_forward.children() if isinstance(layer, nn.Linear)]
        share = [100 * effective_rank(weight) / min(weight.shape) for weight in layers]
        tokens = self.held_out.take(self.tested[:_TOKENS])["input"].to(device)
        cosines = layer_cosines(model, list(blocks), lambda judged: judged(tokens))
        pairs = torch.triu_indices(len(blocks), len(blocks), offset=1)
        between = float(cosines[pairs[0], pairs[1]].mean()) if len(blocks) > 1 else 1.0
        return {**super().score(model, device), "effective_rank": sum(share) / len(share), "layer_cosine": between}


TASKS = {FeedForwardLanguage.name: FeedForwardLanguage}
