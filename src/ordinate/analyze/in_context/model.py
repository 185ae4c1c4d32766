"""A trained network as a predictor: it answers a query after any prefix of a prompt, with the prompt read once.

Source: Akyürek et al., What learning algorithm is in-context learning? (ICLR 2023), section 4.1: its weights are those that its answers to fresh queries, appended one at a time to the same prompt, imply.
"""

from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.analyze.in_context.predictors import Predictor
from ordinate.data.in_context.prompts import interleave, query_tokens
from ordinate.ground.errors import InputError

__all__ = ["Askable", "ModelPredictor"]

_NUMBERS_AT_ONCE = 1 << 24


@runtime_checkable
class Askable(Protocol):
    """A network that reads a prompt once and answers many queries about its prefixes: `ordinate.models.in_context_transformer.InContextTransformer` is one."""

    def __call__(self, tokens: Tensor) -> Tensor: ...

    def read(self, tokens: Tensor) -> tuple[Tensor, Any]: ...

    def ask(self, context: Any, queries: Tensor, lengths: Any) -> Tensor: ...


class ModelPredictor(Predictor):
    """A network in the company of exact predictors. It runs in its own precision and without gradients."""

    name = "model"

    def __init__(self, model: Askable, *, layout: str = "label-first", device: str = "cpu", at_once: int = 256) -> None:
        """
        Args:
            model: on that device, in evaluation mode.
            layout: how it was taught to read pairs.
            device: where it runs.
            at_once: prompts that it reads together.

        Raises:
            InputError: `at_once` is below 1.
        """
        if at_once < 1:
            raise InputError(f"at least one prompt is read at once, not {at_once}")
        self.model, self.layout, self.device, self.at_once = model, layout, device, at_once

    @torch.no_grad()
    def __call__(self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Float[Tensor, "batch n"]:
        """Its predictions of the prompt's own labels, one forward pass."""
        tokens = interleave(x.float(), y.float(), self.layout)[:, :-1]
        return torch.cat([self.model(part.to(self.device))[:, ::2, 0].cpu() for part in tokens.split(self.at_once)]).double()

    @torch.no_grad()
    def answer(
        self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], queries: Float[Tensor, "batch n queries d"]
    ) -> Float[Tensor, "batch n queries"]:
        """Every query appended to its prefix; keys and values of the prompt are computed once. See :meth:`Predictor.answer`."""
        n, q = queries.shape[1:3]
        tokens = interleave(x.float(), y.float(), self.layout)[:, :-1]
        asked = query_tokens(queries.float(), self.layout)
        rows = max(1, min(self.at_once, _NUMBERS_AT_ONCE // (n * q * 2 * n)))
        parts = []
        for told, questions in zip(tokens.split(rows), asked.split(rows), strict=True):
            _, context = self.model.read(told.to(self.device))
            parts.append(self.model.ask(context, questions.to(self.device), [2 * i for i in range(n)])[..., 0].cpu())
        return torch.cat(parts).double()
