r"""Which algorithm a predictor follows: its distance to families of exact ones, prefix by prefix, with intervals.

A family is one algorithm with its free numbers: gradient descent at several rates, ridge regression at several penalties. Of each family the member nearest to the predictor (by SPD over all prefixes that hold a pair) stands for it,
so that no algorithm is called distant for a rate that was chosen badly. The intervals are 95 % of the mean over prompts, :math:`\pm 1.96\, s / \sqrt B`; they know of the prompts that were drawn, not of the seeds that a model was trained with.

Source: Akyürek et al., What learning algorithm is in-context learning? (ICLR 2023), sections 4.1 and 4.2.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ordinate.analyze.in_context.distances import Implied, implied_weights
from ordinate.analyze.in_context.predictors import Predictor
from ordinate.data.in_context.prompts import PromptSource
from ordinate.ground.discovery import offered
from ordinate.ground.errors import InputError, choose

__all__ = ["Curve", "Families", "Following", "Reference", "follow", "reference_families"]

Families = Mapping[str, Sequence[Predictor]]
"""Algorithms by name, each with its members."""


@dataclass(frozen=True)
class Curve:
    """A mean over prompts after every prefix of 0, 1, ..., n - 1 pairs.

    Attributes:
        mean: (n,), float64.
        half: (n,), half the width of its 95 % interval.
    """

    mean: Tensor
    half: Tensor

    @classmethod
    def of(cls, values: Tensor) -> "Curve":
        """Of numbers (B, n), a prompt a row."""
        spread = values.std(dim=0) if len(values) > 1 else torch.full_like(values[0], torch.inf)
        return cls(values.mean(dim=0), 1.96 * spread / len(values) ** 0.5)

    def over(self, start: int = 1, stop: int | None = None) -> float:
        """The mean over the prefixes from `start` to before `stop`."""
        return self.mean[start:stop].mean().item()

    def to_json(self) -> dict[str, list[float]]:
        """As lists."""
        return {"mean": self.mean.tolist(), "half": self.half.tolist()}


@dataclass(frozen=True)
class Reference:
    """One algorithm beside the predictor.

    Attributes:
        member: the name of its nearest member.
        spd: the squared difference of answers, over d.
        ilwd: the squared distance of weights, over d; None where it was not asked for.
        risk: its own squared error.
    """

    member: str
    spd: Curve
    ilwd: Curve | None
    risk: Curve


@dataclass(frozen=True)
class Following:
    """What was found.

    Attributes:
        d: the numbers of an input.
        n: the pairs of a prompt.
        prompts: how many were drawn.
        risk: the predictor's squared error.
        references: by algorithm, in the order given.
        linearity: (n,), R² of a linear fit to its answers; None where it was not asked for.
    """

    d: int
    n: int
    prompts: int
    risk: Curve
    references: dict[str, Reference]
    linearity: Tensor | None

    @property
    def nearest(self) -> list[str]:
        """The algorithm with the smallest SPD after each prefix of 1, ..., n - 1 pairs."""
        names = list(self.references)
        table = torch.stack([reference.spd.mean for reference in self.references.values()])
        return [names[place] for place in table[:, 1:].argmin(dim=0).tolist()]

    @property
    def ranking(self) -> list[str]:
        """The algorithms, the one with the smallest SPD over all prefixes first."""
        return sorted(self.references, key=lambda name: self.references[name].spd.over())

    def to_json(self) -> dict[str, Any]:
        """A document of JSON values."""
        return {
            "d": self.d,
            "n": self.n,
            "prompts": self.prompts,
            "risk": self.risk.to_json(),
            "linearity": None if self.linearity is None else self.linearity.tolist(),
            "ranking": self.ranking,
            "nearest": self.nearest,
            "references": {
                name: {
                    "member": reference.member,
                    "spd": reference.spd.to_json(),
                    "ilwd": None if reference.ilwd is None else reference.ilwd.to_json(),
                    "risk": reference.risk.to_json(),
                }
                for name, reference in self.references.items()
            },
        }


def follow(
    predictor: Predictor,
    families: Families,
    x: Tensor,
    y: Tensor,
    *,
    queries: Tensor | None = None,
) -> Following:
    """Measure a predictor against families of exact ones.

    Args:
        predictor: a trained network as a `ModelPredictor`, or any other.
        families: the algorithms; each has at least one member.
        x: (B, n, d), inputs of prompts.
        y: (B, n), their labels.
        queries: (B, n, Q, d), fresh inputs for weights and linearity; None leaves these out.

    Raises:
        InputError: no family, one without a member, fewer than two pairs a prompt, or shapes that do not fit.
    """
    if not families or any(not members for members in families.values()):
        raise InputError("a predictor is measured against at least one algorithm, each with at least one member")
    _, n, d = x.shape
    if n < 2:
        raise InputError("prompts of one pair leave nothing to tell algorithms apart by: draw at least two")
    x, y = x.double(), y.double()
    said = predictor(x, y)
    own = None if queries is None else implied_weights(predictor, x, y, queries)
    references = {name: _reference(members, said, own, x, y, queries) for name, members in families.items()}
    linearity = None if own is None else own.r2.mean(dim=0)
    return Following(d, n, len(x), Curve.of((said - y).square()), references, linearity)


def _reference(members: Sequence[Predictor], said: Tensor, own: Implied | None, x: Tensor, y: Tensor, queries: Tensor | None) -> Reference:
    answers = [member(x, y) for member in members]
    distances = [(answer - said).square() for answer in answers]
    best = min(range(len(members)), key=lambda place: distances[place][:, 1:].mean().item())
    d = x.shape[2]
    apart = None
    if own is not None and queries is not None:
        theirs = implied_weights(members[best], x, y, queries).weights
        if theirs.shape == own.weights.shape:  # a predictor that is linear in other features has weights of its own kind
            apart = Curve.of((own.weights - theirs).square().sum(dim=-1) / d)
    return Reference(members[best].name, Curve.of(distances[best] / d), apart, Curve.of((answers[best] - y).square()))


def reference_families(family: str, source: PromptSource) -> Families:
    """The algorithms that prompts of a family are measured against. A file of this folder offers them in `REFERENCES: dict[str, Callable[[source], Families]]`.

    Raises:
        InputError: no file has any for that family.
    """
    known: dict[str, Callable[[PromptSource], Families]] = offered("ordinate.analyze.in_context", "REFERENCES")
    return known[choose("family of prompts with exact predictors", family, known)](source)
