r"""Predictors for labels that are linear in a representation of the input, and the families that such prompts are measured against.

- `OnRepresentation`: any predictor, with :math:`\Phi(x)` in the place of x; with `Bayes` within it is the best there is for one known representation. Several representations are put side by side, so that ridge regression has all their
  coordinates to choose from;
- `RightRepresentation`: the one that a prompt has, which is told: what no learner can beat;
- `SelectByLoss`: of several predictors the one with the least squared error so far, on the pairs seen.

Source: Guo et al., How Do Transformers Learn In-Context Beyond Simple Functions? (ICLR 2024), sections 5 and 6.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ordinate.analyze.in_context.affine import with_constant
from ordinate.analyze.in_context.following import Families
from ordinate.analyze.in_context.gaussian import BayesMixture, KernelRidge, Representation, average_kernel
from ordinate.analyze.in_context.linear_references import PENALTIES
from ordinate.analyze.in_context.predictors import Bayes, Predictor, Ridge, Zero
from ordinate.analyze.in_context.prompt_mlp import PromptMLP
from ordinate.data.in_context.representations import RepresentationPrompts
from ordinate.ground.errors import InputError

__all__ = ["OnRepresentation", "RightRepresentation", "SelectByLoss", "mixture_families", "representation_families"]


class OnRepresentation(Predictor):
    """A predictor that is given representations in place of inputs."""

    def __init__(self, predictor: Predictor, *phis: Representation, name: str = "") -> None:
        """
        Args:
            predictor: what learns from them.
            phis: (..., d) -> (..., D) each; several are put side by side.
            name: for tables; by default the predictor's own, with "on Phi" after it.

        Raises:
            InputError: no representation.
        """
        if not phis:
            raise InputError("there must be a representation to learn on")
        self.predictor, self.phis = predictor, phis
        self.name = name or f"{predictor.name} on Phi"

    def _features(self, x: Tensor) -> Tensor:
        return torch.cat([phi(x.double()) for phi in self.phis], dim=-1)

    def answer(
        self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], queries: Float[Tensor, "batch n queries d"]
    ) -> Float[Tensor, "batch n queries"]:
        """See :meth:`Predictor.answer`."""
        return self.predictor.answer(self._features(x), y, self._features(queries))


class RightRepresentation:
    """The Bayes predictor that is told which representation each prompt has. It is no `Predictor`: it needs more than a prompt."""

    def __init__(self, phis: Sequence[Representation], noise: float, prior: float = 1.0) -> None:
        """As :class:`ordinate.analyze.in_context.gaussian.BayesMixture`, but that the noise may be 0."""
        self.each = [OnRepresentation(Bayes(noise, prior), phi) for phi in phis]

    def __call__(
        self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], kind: Int64[Tensor, " batch"]
    ) -> Float[Tensor, "batch n"]:
        """Predictions of the prompts' own labels, float64."""
        answers = torch.stack([predictor(x, y) for predictor in self.each], dim=1)
        return answers[torch.arange(len(x), device=x.device), kind]


class SelectByLoss(Predictor):
    """The predictor with the least squared error so far answers; the first of them where there is no difference."""

    name = "selection by past loss"

    def __init__(self, predictors: Sequence[Predictor]) -> None:
        """
        Args:
            predictors: what there is to choose from.

        Raises:
            InputError: none.
        """
        if not predictors:
            raise InputError("there must be a predictor to choose")
        self.predictors = tuple(predictors)

    def chosen(self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"]) -> Int64[Tensor, "batch n"]:
        """The number of the predictor that answers after the first i pairs, i = 0, ..., n - 1."""
        losses = torch.stack([(predictor(x, y) - y.double()).square() for predictor in self.predictors], dim=2)
        past = torch.cat([torch.zeros_like(losses[:, :1]), losses[:, :-1].cumsum(dim=1)], dim=1)
        return past.argmin(dim=2)

    def answer(
        self, x: Float[Tensor, "batch n d"], y: Float[Tensor, "batch n"], queries: Float[Tensor, "batch n queries d"]
    ) -> Float[Tensor, "batch n queries"]:
        """See :meth:`Predictor.answer`."""
        answers = torch.stack([predictor.answer(x, y, queries) for predictor in self.predictors], dim=3)
        which = self.chosen(x, y)[:, :, None, None].expand(*answers.shape[:3], 1)
        return answers.gather(3, which)[..., 0]


def representation_families(source: RepresentationPrompts, relatives: Sequence[Representation] = ()) -> Families:
    """What prompts on one representation are measured against: Bayes on it, ridge regression on x (with and without a constant), on the kernel of its family, and a small network fitted to the prompt, each with several settings of which the best will count, and 0.

    Args:
        source: of the prompts.
        relatives: representations drawn like it, which the kernel is averaged over; none leaves it out.

    Raises:
        InputError: prompts of a mixture.
    """
    if len(source.phis) > 1:
        raise InputError("prompts of several representations are measured against mixture_families")
    families: dict[str, Sequence[Predictor]] = {
        "Phi-ridge": [OnRepresentation(Bayes(source.noise**2, source.tau**2), *source.phis, name="Phi-ridge")],
        "ridge on x": [
            *(Ridge(penalty) for penalty in PENALTIES),
            *(OnRepresentation(Ridge(penalty), with_constant, name=f"ridge with a constant {penalty:.3g}") for penalty in PENALTIES),
        ],
        "fitted MLP": [PromptMLP(rate=rate, decay=0.03) for rate in (0.01, 0.03)],
        "zero": [Zero()],
    }
    if relatives:
        families["kernel ridge"] = [KernelRidge(average_kernel(relatives), penalty) for penalty in PENALTIES]
    return families


def mixture_families(source: RepresentationPrompts) -> Families:
    """What prompts of a mixture are measured against: the Bayes mixture, selection by past loss, ridge regression on all representations side by side (with several penalties of which the best will count), and 0.

    Raises:
        InputError: a source without noise, where the mixture's evidence has no density.
    """
    noise, prior = source.noise**2, source.tau**2
    return {
        "Bayes mixture": [BayesMixture(source.phis, noise, prior)],
        "selection": [SelectByLoss([OnRepresentation(Bayes(noise, prior), phi) for phi in source.phis])],
        "concatenated ridge": [
            OnRepresentation(Ridge(penalty), *source.phis, name=f"concatenated ridge {penalty:.3g}") for penalty in PENALTIES
        ],
        "zero": [Zero()],
    }
