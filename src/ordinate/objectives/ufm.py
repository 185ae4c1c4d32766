r"""Unsupervised FixMatch: learning a new domain from a model's own predictions, anchored by the images that it is surest of.

Trusted images are taught their pseudo-label. For the others, with p the probabilities of a weakly changed view,

.. math:: q = \frac{\sqrt p}{\sum_k \sqrt{p_k}}, \qquad L = -\mathbb 1[\max_k q_k > \omega]\; q \cdot \log p_{\text{strong}}

as the paper writes it, and the loss is the mean over the rows that count. The threshold :math:`\omega` rises linearly from 0.9 to 1.

The released code differs: it multiplies p by 0.5 in place of taking its root, which changes nothing once normalised, and keeps the threshold at 0.99; ``compat="released"`` gives its loss.

Source: Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024), section 5.2 and appendix D; after Sohn et al., FixMatch (NeurIPS 2020).
"""

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError, choose
from ordinate.objectives.base import Objective

__all__ = ["COMPAT", "UFM", "trusted_rows", "ufm_loss"]

COMPAT = ("paper", "released")


def ufm_loss(
    logits_weak: Float[Tensor, "batch classes"],
    logits_strong: Float[Tensor, "batch classes"],
    targets: Int64[Tensor, " batch"],
    trusted: Bool[Tensor, " batch"],
    threshold: float,
    compat: str = "paper",
) -> Float[Tensor, ""]:
    """The loss of a batch; 0 where no row counts.

    Args:
        logits_weak: (B, C), of the weakly changed view; no gradient flows to them.
        logits_strong: (B, C), of the strongly changed one.
        targets: (B,), the pseudo-label of each trusted row; the others are not read.
        trusted: (B,).
        threshold: omega; a row counts where its largest target is above it. Trusted rows always count below 1; in the paper's form always.
        compat: ``"paper"`` or ``"released"``.

    Raises:
        InputError: an unknown form, or a threshold outside [0, 1].
    """
    choose("form of the loss", compat, COMPAT)
    if not 0 <= threshold <= 1:
        raise InputError(f"a threshold of probabilities lies in [0, 1], not {threshold}")
    guess = logits_weak.detach().softmax(dim=1)
    if compat == "paper":
        guess = guess.sqrt()
        guess = guess / guess.sum(dim=1, keepdim=True)
    known = F.one_hot(targets.clamp(min=0), guess.shape[1]).to(guess)
    guess = torch.where(trusted[:, None], known, guess)
    counts = guess.amax(dim=1) > threshold
    if compat == "paper":
        counts = counts | trusted
    each = -(guess * logits_strong.log_softmax(dim=1)).sum(dim=1)
    return (each * counts).sum() / counts.sum().clamp(min=1)


def trusted_rows(
    probabilities: Float[Tensor, "rows classes"], most: int = 100, share: float = 1.0
) -> tuple[Int64[Tensor, " chosen"], Int64[Tensor, " chosen"]]:
    """For each class the rows of its largest probabilities, min(share N/C, `most`) and at least one of them, with the class as their pseudo-label. A row that several classes claim goes to the one of its largest probability.

    Args:
        probabilities: (N, C).
        most: rows of a class.
        share: of the N/C rows that a class has on average; the released code takes a tenth.

    Returns:
        rows, ascending, and their pseudo-labels.
    """
    count, classes = probabilities.shape
    taken = max(1, min(int(share * count / classes), most, count))
    claimed = torch.zeros_like(probabilities, dtype=torch.bool)
    claimed.scatter_(0, probabilities.topk(taken, dim=0).indices, True)
    rows = claimed.any(dim=1).nonzero()[:, 0]
    return rows, torch.where(claimed, probabilities, -1.0)[rows].argmax(dim=1)


class UFM(Objective):
    """The loss of batches with ``"weak"`` and ``"strong"`` (B, ...) views, ``"target"`` (B,) int64 and ``"trusted"`` (B,) bool, for models from images to logits. Its threshold rises with every `update`."""

    done: Tensor

    def __init__(self, steps: int, first: float = 0.9, last: float = 1.0, compat: str = "paper") -> None:
        """
        Args:
            steps: over which the threshold rises.
            first, last: the threshold at the beginning and at the end.
            compat: of :func:`ufm_loss`.

        Raises:
            InputError: less than one step, or a threshold outside [0, 1].
        """
        super().__init__()
        if steps < 1 or not 0 <= first <= 1 or not 0 <= last <= 1:
            raise InputError(f"a threshold in [0, 1] rises over 1 step or more, not from {first} to {last} over {steps}")
        self.steps, self.first, self.last = steps, first, last
        self.compat = choose("form of the loss", compat, COMPAT)
        self.register_buffer("done", torch.zeros((), dtype=torch.int64))

    @property
    def threshold(self) -> float:
        """omega at the step to come."""
        return self.first + (self.last - self.first) * min(1.0, int(self.done) / self.steps)

    def update(self) -> None:
        """One step is done."""
        self.done += 1

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of a batch."""
        with torch.no_grad():
            weak = model(batch["weak"])
        return ufm_loss(weak, model(batch["strong"]), batch["target"], batch["trusted"], self.threshold, self.compat)
