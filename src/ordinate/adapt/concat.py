r"""CAT: the vectors of several networks side by side (`Concat`, see `ordinate.models.concatenated`), and one head for all of them.

Heads that the members have of their own merge into one, :math:`W = [W_1, \dots, W_n] / n` and :math:`b = \frac1n \sum_i b_i`, whose logits are the mean of theirs: where training of the one head begins.

Source: Zhang and Bottou, "Learning useful representations for shifting tasks and distributions", 2023 (CAT-n; the initial head is ``cat_weights`` in the released code).
"""

import warnings
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.concatenated import Concat, check_distinct
from ordinate.models.encoding import Classifier

__all__ = ["Concat", "check_distinct", "concat_classifier", "logit_ensemble", "merge_heads"]


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
    biases: list[Tensor] = [head.bias for head in heads if head.bias is not None]
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
