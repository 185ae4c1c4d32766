"""Out-of-distribution training on frozen features: a linear classifier fitted over several environments, and two ways to choose its hyper-parameters.

The features stay as they are ("cf", classifier only); the head is trained by ERM, V-REx, IRMv1 or CLOvE (`ordinate.objectives.vrex`). Candidates are compared on held-out rows of the training environments (IID-tune), or
on an environment of its own (OOD-tune): :func:`tune` does both in one go.

Source: Zhang and Bottou, "Learning useful representations for shifting tasks and distributions", 2023, out-of-distribution experiments.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from ordinate.ground.errors import InputError, choose
from ordinate.nn.probe_head import ProbeHead
from ordinate.objectives.vrex import CLOvE, EnvironmentRisk, IRMv1, VREx

__all__ = ["RISKS", "EnvironmentProbe", "Tuned", "tune"]

RISKS = ("erm", "vrex", "irm", "clove")
_STEPS, _LR = 150, 0.05


class EnvironmentProbe:
    """A linear classifier on standardised features, trained on all rows at every step, by Adam.

    Attributes:
        head: after `fit`, features (B, d) to logits (B, C), in evaluation mode.
    """

    def __init__(self, risk: str = "vrex", weight: float = 10.0, l2: float = 1e-3, *, steps: int = _STEPS, lr: float = _LR) -> None:
        """
        Args:
            risk: ``"erm"``, ``"vrex"``, ``"irm"`` or ``"clove"``.
            weight: of the risk's penalty.
            l2: half the squared weights, times this, are added to the loss.
            steps, lr: of Adam.

        Raises:
            InputError: an unknown risk, a negative number, or no steps.
        """
        choose("risk", risk, RISKS)
        if l2 < 0 or steps < 1 or lr <= 0:
            raise InputError(f"l2 is 0 or more, steps 1 or more and lr positive, not {l2}, {steps} and {lr}")
        self.objective = EnvironmentRisk() if risk == "erm" else {"vrex": VREx, "irm": IRMv1, "clove": CLOvE}[risk](weight)
        self.risk, self.weight, self.l2, self.steps, self.lr = risk, weight, l2, steps, lr
        self.head: ProbeHead | None = None

    def fit(
        self,
        features: Float[Tensor, "rows dim"],
        labels: Int64[Tensor, " as_many"],
        environments: Int64[Tensor, " as_often"],
        seed: int = 0,
    ) -> "EnvironmentProbe":
        """Train the head.

        Args:
            features: (N, d).
            labels: (N,) classes 0..C-1.
            environments: (N,) which environment a row is of.
            seed: of the initial weights.

        Raises:
            InputError: unequal numbers of rows, or fewer than two of them.
        """
        if not len(features) == len(labels) == len(environments) or len(labels) < 2:
            raise InputError(
                f"features, labels and environments have as many rows, two or more: {len(features)}, {len(labels)} and {len(environments)}"
            )
        features = features.float()
        mean, std = features.mean(dim=0), features.std(dim=0, unbiased=False)
        std = torch.where(std < 1e-6, 1.0, std)
        batch = {"image": (features - mean) / std, "label": labels, "environment": environments}
        with torch.random.fork_rng([]):
            torch.manual_seed(seed)
            head = ProbeHead(features.shape[1], int(labels.max()) + 1, use_bn=False)
        optimizer = torch.optim.Adam(head.parameters(), lr=self.lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self.steps)
        for _ in range(self.steps):
            optimizer.zero_grad()
            (self.objective(head, batch) + self.l2 / 2 * head.linear.weight.square().sum()).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            head.linear.weight.div_(std)
            head.linear.bias.sub_(head.linear.weight @ mean)
        self.head = head.eval()
        return self

    @torch.no_grad()
    def score(self, features: Float[Tensor, "rows dim"], labels: Int64[Tensor, " rows"]) -> float:
        """The accuracy, in [0, 1].

        Raises:
            InputError: not fitted, or no rows.
        """
        if self.head is None or not len(labels):
            raise InputError("an accuracy needs a fitted probe and rows: call fit first")
        return float((self.head(features.float()).argmax(dim=1) == labels).double().mean())


@dataclass(frozen=True)
class Tuned:
    """What tuning found: the best probe, and the accuracy of every candidate on the rows that chose."""

    probe: EnvironmentProbe
    accuracies: tuple[float, ...]


def tune(
    candidates: Sequence[EnvironmentProbe],
    features: Float[Tensor, "rows dim"],
    labels: Int64[Tensor, " rows"],
    environments: Int64[Tensor, " rows"],
    held_out: Mapping[str, tuple[Tensor, Tensor]],
    seed: int = 0,
) -> dict[str, Tuned]:
    """Fit every candidate once, and choose by accuracy on each set of held-out rows; of equals the first.

    Args:
        candidates: probes that are not fitted yet.
        features, labels, environments: see :meth:`EnvironmentProbe.fit`.
        held_out: name -> features (M, d) and labels (M,) that choose: ``"iid"``, other rows of the same environments; ``"ood"``, rows of another one.
        seed: of the initial weights.

    Raises:
        InputError: no candidates, or nothing held out.
    """
    if not candidates or not held_out:
        raise InputError("tuning needs candidates, and rows that choose among them")
    for each in candidates:
        each.fit(features, labels, environments, seed)
    found = {}
    for name, rows in held_out.items():
        accuracies = [each.score(*rows) for each in candidates]
        found[name] = Tuned(candidates[max(range(len(candidates)), key=accuracies.__getitem__)], tuple(accuracies))
    return found
