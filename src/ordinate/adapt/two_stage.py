"""Two-stage fine-tuning of a concatenation: each member is fine-tuned by itself, and then one head is trained on all of them.

Fine-tuned as one network, concatenated members are led by the same gradient and lose what made them different. So (1) every member is trained on the target with a head of its own, in any way that serves one network; (2) the
members are frozen, the heads merged (their logits averaged), and the merged head alone is trained for a few epochs at a small rate, on features that are computed once.

With one member it is ordinary fine-tuning, and a few epochs more for the head.

Source: Zhang and Bottou, "Learning useful representations for shifting tasks and distributions", 2023 ([2ft]CAT-n: two epochs, batches of 256, Nesterov momentum).
"""

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Int64
from torch import Tensor, nn

from ordinate.adapt.concat import concat_classifier
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import derive, generator
from ordinate.models.encoding import Classifier, encode_all

__all__ = ["finetune_members", "train_merged_head", "two_stage_finetune"]


def finetune_members(
    members: Sequence[nn.Module],
    classes: int,
    train: Callable[[Classifier, int], Any],
    *,
    widths: Sequence[int] | None = None,
    seed: int = 0,
) -> list[Classifier]:
    """Stage 1: a copy of every member, trained on the target with a new head.

    Args:
        members: inputs to vectors; left as they are.
        classes: of the target.
        train: `train(classifier, number)` trains member `number` in place, whatever way serves one network.
        widths: of the members' vectors; None is their `num_features`.
        seed: of the heads' initial weights.

    Raises:
        InputError: no members, fewer than two classes, or widths that are not said.
    """
    if not members or classes < 2:
        raise InputError(f"fine-tuning needs members and two or more classes, not {len(members)} and {classes}")
    known = widths or [getattr(member, "num_features", 0) for member in members]
    if len(known) != len(members) or not all(known):
        raise InputError("the members do not all say how wide their vectors are (num_features): give a width for each")
    tuned = []
    for number, (member, width) in enumerate(zip(members, known, strict=True)):
        with torch.random.fork_rng([]):
            torch.manual_seed(derive(seed, "target head", number))
            classifier = Classifier(deepcopy(member).requires_grad_(True), nn.Linear(width, classes))
        train(classifier, number)
        tuned.append(classifier.eval())
    return tuned


def train_merged_head(
    classifier: Classifier,
    inputs: Tensor,
    labels: Int64[Tensor, " rows"],
    *,
    epochs: int = 2,
    lr: float = 1e-3,
    batch_size: int = 256,
    momentum: float = 0.9,
    seed: int = 0,
) -> None:
    """Stage 2: train the head alone, by SGD with Nesterov momentum on features that are computed once.

    Args:
        classifier: a frozen encoder with a head; the head is trained in place.
        inputs: (N, ...) of the target.
        labels: (N,) classes.
        epochs, lr, batch_size, momentum: of SGD.
        seed: of the order of the rows.

    Raises:
        InputError: inputs and labels of different lengths, or numbers that make no training.
    """
    if len(inputs) != len(labels):
        raise InputError(f"there are {len(inputs)} inputs and {len(labels)} labels")
    if epochs < 0 or batch_size < 1 or lr <= 0:
        raise InputError(f"epochs, batch_size and lr must be 0, 1 and above 0 at least, not {epochs}, {batch_size} and {lr}")
    features, chance = encode_all(classifier.encoder, inputs), generator(seed, "merged head")
    device = next(classifier.head.parameters()).device
    optimizer = torch.optim.SGD(classifier.head.parameters(), lr=lr, momentum=momentum, nesterov=momentum > 0)
    for _ in range(epochs):
        for rows in torch.randperm(len(labels), generator=chance).split(batch_size):
            optimizer.zero_grad()
            F.cross_entropy(classifier.head(features[rows].to(device)), labels[rows].to(device)).backward()
            optimizer.step()


def two_stage_finetune(
    members: Sequence[nn.Module],
    classes: int,
    train: Callable[[Classifier, int], Any],
    inputs: Tensor,
    labels: Int64[Tensor, " rows"],
    *,
    head_epochs: int = 2,
    head_lr: float = 1e-3,
    seed: int = 0,
) -> Classifier:
    """Both stages.

    Args:
        members: inputs to vectors; left as they are.
        classes: of the target.
        train: fine-tunes one member with its head, see :func:`finetune_members`.
        inputs, labels: of the target, (N, ...) and (N,), that the merged head is trained on.
        head_epochs, head_lr: of the second stage.
        seed: of heads and orders.

    Returns:
        The concatenation of the fine-tuned members, frozen, with its head, in evaluation mode.

    Raises:
        InputError: what the stages refuse.
    """
    widths = [encode_all(member, inputs[:2]).shape[1] for member in members]
    tuned = finetune_members(members, classes, train, widths=widths, seed=seed)
    heads = [each.head for each in tuned if isinstance(each.head, nn.Linear)]
    classifier = concat_classifier([each.encoder for each in tuned], heads)
    train_merged_head(classifier, inputs, labels, epochs=head_epochs, lr=head_lr, seed=seed)
    return classifier.eval()
