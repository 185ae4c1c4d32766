r"""Learning coefficients, or whatever else of a model requires a gradient, and keeping the best state on the way.

After every epoch the model is scored and the trained values of the best epoch are those that it ends with; where no epoch is better than the start, or none is allowed, it ends as it began. The optional penalty
:math:`\gamma\, \frac1m \sum_j \lVert \lambda_{\cdot j} \rVert_p` keeps few vectors a block.

Source: Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024), sections 4 and 5, appendix C.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ordinate.adapt.composed_model import ComposedModel
from ordinate.data.batches import Batch, Source
from ordinate.ground.errors import InputError
from ordinate.objectives.base import Objective
from ordinate.train.fit import Batches, fit
from ordinate.train.history import History
from ordinate.train.recipe import Recipe

__all__ = ["CoefficientPenalty", "Learned", "TaskData", "accuracy", "keep_best"]

_AT_ONCE = 512


@dataclass(frozen=True)
class TaskData:
    """A task to compose for.

    Attributes:
        name: of the task.
        learn: rows {"image", "label"} that coefficients are learned on.
        check: rows that epochs are judged by.
        head: embeddings (B, d) to logits; frozen.
    """

    name: str
    learn: Source
    check: Source
    head: nn.Module


@dataclass(frozen=True)
class Learned:
    """What learning gave.

    Attributes:
        score: of the state that was kept.
        step: after which it was reached; 0 is the start.
        start: the score at the start.
        history: the curves, with ``"score"`` among them.
    """

    score: float
    step: int
    start: float
    history: History


@torch.no_grad()
def accuracy(encoder: nn.Module, head: nn.Module, source: Source, device: str = "cpu") -> float:
    """The fraction of a source's rows {"image", "label"} whose most probable class is the right one, in evaluation mode.

    Raises:
        InputError: there are no rows.
    """
    if not len(source):
        raise InputError("there are no rows to score on")
    modes = encoder.training, head.training
    encoder.eval()
    head.eval()
    right = 0
    for rows in torch.arange(len(source)).split(_AT_ONCE):
        batch = source.take(rows)
        predicted = head(encoder(batch["image"].to(device))).argmax(dim=1)
        right += int((predicted == batch["label"].to(device)).sum())
    encoder.train(modes[0])
    head.train(modes[1])
    return right / len(source)


class CoefficientPenalty(Objective):
    """Another objective plus gamma times the mean over blocks of the p-norm of the vectors' coefficients."""

    def __init__(self, objective: Callable[[nn.Module, Batch], Tensor], gamma: float = 0.5, p: float = 1.0) -> None:
        """
        Args:
            objective: what is penalised.
            gamma: the weight.
            p: of the norm; 1 or more.

        Raises:
            InputError: a negative weight, or p below 1.
        """
        super().__init__()
        if gamma < 0 or p < 1:
            raise InputError(f"a penalty has a weight of 0 or more and a norm of 1 or more, not {gamma} and {p}")
        self.objective, self.gamma, self.p = objective, gamma, p

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The penalised loss.

        Raises:
            InputError: the model has no coefficients.
        """
        if not isinstance(model, ComposedModel):
            raise InputError(f"a {type(model).__name__} has no coefficients to penalise: compose it first")
        norms = model.coef.flatten(1).norm(self.p, dim=0) if model.coef.ndim > 1 else model.coef.norm(self.p)
        return self.objective(model, batch) + self.gamma * norms.mean()


def keep_best(
    model: nn.Module,
    objective: Callable[[nn.Module, Batch], Tensor],
    batches: Batches,
    recipe: Recipe,
    *,
    score: Callable[[nn.Module], float],
    every: int,
    start: float | None = None,
    seed: int = 0,
    device: str = "cpu",
    scale: Callable[[str], float] | None = None,
) -> Learned:
    """Train what of `model` requires a gradient, and end with its best state.

    Args:
        model: trained in place.
        objective: `objective(model, batch)` -> scalar loss.
        batches: of a step.
        recipe: how.
        score: of the model, higher is better; -inf for a state that is not allowed.
        every: steps between two scores.
        start: the score to be beaten; None is that of the model as it is.
        seed: of what is random in a step.
        device: to train on.
        scale: factors on the learning rate by parameter, see :func:`ordinate.train.fit.fit`.

    Raises:
        Diverged: the loss is not finite.
        InputError: there is nothing to train.
    """
    trained = [
        parameter
        for module in (model, objective)
        if isinstance(module, nn.Module)
        for parameter in module.parameters()
        if parameter.requires_grad
    ]
    model.to(device)
    if isinstance(objective, nn.Module):
        objective.to(device)
    begun = score(model) if start is None else start
    best, at = begun, 0
    kept = [parameter.detach().clone() for parameter in trained]
    seen = 0

    def evaluate(judged: nn.Module) -> dict[str, float]:
        nonlocal best, at, kept, seen
        seen = min(seen + every, recipe.steps)
        found = score(judged)
        if found > best:
            best, at, kept = found, seen, [parameter.detach().clone() for parameter in trained]
        return {"score": found}

    history = fit(model, objective, batches, recipe, seed=seed, device=device, evaluate=evaluate, evaluate_every=every, scale=scale)
    with torch.no_grad():
        for parameter, value in zip(trained, kept, strict=True):
            parameter.copy_(value)
    return Learned(best, at, begun, history)
