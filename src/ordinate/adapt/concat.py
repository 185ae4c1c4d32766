r"""CAT: the features of several networks, side by side.

.. math:: \phi(x) = [\phi_1(x), \dots, \phi_n(x)] \in \mathbb R^{D_1 + \dots + D_n}

for members that were trained independently of each other, by different seeds or of different architectures. Nothing is averaged or normalised. Training keeps the features that serve its own task and no more; each
member keeps others, and what is redundant where they were trained serves where the task or the distribution has changed.

Heads that the members have of their own merge into one, :math:`W = [W_1, \dots, W_n] / n` and :math:`b = \frac1n \sum_i b_i`, whose logits are the mean of theirs: where training of the one head begins.

Source: Zhang and Bottou, "Learning useful representations for shifting tasks and distributions", 2023 (CAT-n; the initial head is ``cat_weights`` in the released code).
"""

import warnings
from collections.abc import Sequence
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.encoding import Classifier, encode

__all__ = ["Concat", "check_distinct", "concat_classifier", "logit_ensemble", "merge_heads"]


def check_distinct(members: Sequence[nn.Module]) -> None:
    """Raise unless every two members differ in some weight.

    Raises:
        InputError: two are the same network: one seed was used twice, or the seed did not reach initial weights and data order.
    """
    for (i, a), (j, b) in combinations(enumerate(members), 2):
        ours, theirs = a.state_dict(), b.state_dict()
        if ours.keys() == theirs.keys() and ours and all(torch.equal(tensor.cpu(), theirs[name].cpu()) for name, tensor in ours.items()):
            raise InputError(
                f"members {i} and {j} have the same weights: give them different seeds, which must decide on both the initial weights and the order of the data"
            )


class Concat(nn.Module):
    """Inputs (B, ...) to the members' vectors side by side, (B, sum of D_i), in the order of the members.

    Attributes:
        members: the networks.
        freeze: whether they stay as they are: no gradients, and evaluation mode whatever `train` says.
    """

    def __init__(self, members: Sequence[nn.Module], freeze: bool = True, *, copies: bool = False) -> None:
        """
        Args:
            members: at least one, from inputs to vectors (B, D_i): by `embed` where they have that, else called. They are taken over, not copied.
            freeze: see the attributes. Training all of it from pretrained members ends their differences: see `ordinate.adapt.two_stage`.
            copies: let members be the same network several times over.

        Raises:
            InputError: no members, or two with the same weights.
        """
        super().__init__()
        if not members:
            raise InputError("a concatenation needs at least one member")
        if not copies:
            check_distinct(members)
        self.members = nn.ModuleList(members)
        self.freeze = freeze
        self._dims: tuple[int, ...] | None = None
        if freeze:
            self.members.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Concat":
        """Training mode, or evaluation mode; frozen members stay in evaluation mode, so that their batch statistics stay as they are."""
        super().train(mode)
        if self.freeze:
            self.members.eval()
        return self

    @property
    def dims(self) -> tuple[int, ...]:
        """The width of every member's vectors: their `num_features`, or what they gave last.

        Raises:
            InputError: a member that does not say it, before the first call.
        """
        known = [getattr(member, "num_features", None) for member in self.members]
        if self._dims is None and None in known:
            raise InputError("the members do not say how wide their vectors are (num_features): call the concatenation once first")
        return self._dims or tuple(int(width) for width in known if width is not None)

    @property
    def num_features(self) -> int:
        """The width of the whole."""
        return sum(self.dims)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where every member's features stand."""
        ends = torch.tensor(self.dims).cumsum(0).tolist()
        return tuple(slice(end - width, end) for end, width in zip(ends, self.dims, strict=True))

    def forward(self, x: Tensor) -> Float[Tensor, "batch features"]:
        """The features.

        Raises:
            InputError: a member gives something else than one vector an input.
        """
        parts = [encode(member, x) for member in self.members]
        self._dims = tuple(part.shape[1] for part in parts)
        return torch.cat(parts, dim=1)


def merge_heads(heads: Sequence[nn.Linear]) -> nn.Linear:
    """One linear layer on the concatenation whose logits are the mean of the members'.

    Args:
        heads: of every member, in their order, (B, D_i) -> (B, C).

    Returns:
        (B, sum of D_i) -> (B, C), of the first head's dtype and device.

    Raises:
        InputError: no heads, different numbers of classes, or some with a bias and some without.
    """
    if not heads:
        raise InputError("there are no heads to merge")
    classes = {head.out_features for head in heads}
    if len(classes) > 1:
        raise InputError(f"heads of one task have the same classes: these have {', '.join(map(str, sorted(classes)))}")
    biases = [head.bias for head in heads if head.bias is not None]
    if biases and len(biases) < len(heads):
        raise InputError(f"{len(biases)} of {len(heads)} heads have a bias: merge heads that all have one, or none")
    merged = nn.Linear(sum(head.in_features for head in heads), classes.pop(), bias=bool(biases)).to(heads[0].weight)
    with torch.no_grad():
        merged.weight.copy_(torch.cat([head.weight for head in heads], dim=1) / len(heads))
        if biases:
            merged.bias.copy_(torch.stack(biases).mean(dim=0))
    return merged


def concat_classifier(members: Sequence[nn.Module], heads: Sequence[nn.Linear], *, freeze: bool = True) -> Classifier:
    """The concatenation with the merged head, whose logits are at first the mean of the members'.

    Args:
        members: inputs to vectors.
        heads: one a member.
        freeze: train the head alone. Without it the whole network is trained, [init]cat in the paper, which does worse than two stages: a warning says so.

    Raises:
        InputError: what `Concat` and `merge_heads` refuse, or unequal numbers of members and heads.
    """
    if len(members) != len(heads):
        raise InputError(f"every member has a head of its own: there are {len(members)} members and {len(heads)} heads")
    if not freeze and len(members) > 1:
        warnings.warn(
            "training a concatenation from its pretrained members as one network ends their differences; ordinate.adapt.two_stage trains each by itself, and then one head",
            stacklevel=2,
        )
    return Classifier(Concat(members, freeze), merge_heads(heads))


def logit_ensemble(logits: Sequence[Float[Tensor, "batch classes"]]) -> Float[Tensor, "batch classes"]:
    """The mean of the members' logits: the ensemble that a richer representation must be told from.

    Raises:
        InputError: no logits, or of different shapes.
    """
    if not logits or len({each.shape for each in logits}) > 1:
        raise InputError(f"an ensemble averages logits of one shape, not {[tuple(each.shape) for each in logits]}")
    return torch.stack(list(logits)).mean(dim=0)
