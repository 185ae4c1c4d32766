r"""Probes of what a network holds in mind about a whole prompt: is :math:`X^\top y`, or the weight vector, written anywhere in the states of a layer?

For states :math:`H \in \mathbb R^{T \times D}` of one layer, with learned scores :math:`s \in \mathbb R^T`,

.. math:: \alpha = \operatorname{softmax}(s), \qquad z = \alpha^\top (H W_v), \qquad \hat v = \mathrm{FF}(z),

with FF linear or an MLP of one hidden layer (GELU): the probe finds by itself at which tokens to look. The network stays as it is. A probe that succeeds says that something can be decoded, not that it is used; the control is the same probe on a
network that was trained where it had no need for it (the weights fixed), with the same prompts.

Source: Akyürek et al., What learning algorithm is in-context learning? (ICLR 2023), section 5.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.ground.seeds import derive

__all__ = ["PositionProbe", "Probed", "fit_probe"]


class PositionProbe(nn.Module):
    """A weighted mean over tokens, and a map of it: (B, T, D) -> (B, outputs)."""

    def __init__(self, tokens: int, width: int, outputs: int, *, hidden: int | None = 512) -> None:
        """
        Args:
            tokens: T, the length of what it reads.
            width: D, of a state.
            outputs: numbers that it tells.
            hidden: units of the MLP, or None for a linear map.

        Raises:
            InputError: a number below 1.
        """
        super().__init__()
        if min(tokens, width, outputs, hidden or 1) < 1:
            raise InputError("a probe needs tokens, width, outputs and hidden of at least 1")
        self.scores = nn.Parameter(torch.zeros(tokens))
        self.value = nn.Linear(width, width, bias=False)
        self.head = (
            nn.Linear(width, outputs) if hidden is None else nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, outputs))
        )

    def forward(self, states: Float[Tensor, "batch tokens width"]) -> Float[Tensor, "batch outputs"]:
        """What it reads off the states.

        Raises:
            InputError: another number of tokens.
        """
        if states.shape[1] != len(self.scores):
            raise InputError(f"this probe reads {len(self.scores)} tokens, not {states.shape[1]}")
        return self.head(self.value(self.scores.softmax(dim=0) @ states))


@dataclass(frozen=True)
class Probed:
    """How well a target can be read off.

    Attributes:
        error: the mean squared error of an entry on held-out rows.
        r2: the share of the target's variance that is explained there; negative where its mean would do better.
        places: (T,), the weights of the tokens.
    """

    error: float
    r2: float
    places: Tensor


def fit_probe(
    states: Float[Tensor, "rows tokens width"],
    target: Float[Tensor, "rows outputs"],
    *,
    hidden: int | None = 512,
    held_out: float = 0.25,
    steps: int = 500,
    batch_size: int = 256,
    lr: float = 1e-3,
    seed: int = 0,
) -> Probed:
    """Train a probe on some rows and score it on the others. States and targets are standardised by the training rows; Adam, its rate down to 0 along half a cosine.

    Args:
        states: (N, T, D), of one layer.
        target: (N, outputs), what is looked for.
        hidden: units of the MLP, or None for a linear probe.
        held_out: the share of the rows, the last ones, that the probe is scored on.
        steps: optimizer steps.
        batch_size: rows a step.
        lr: the peak learning rate.
        seed: of its first weights and of its batches.

    Raises:
        InputError: rows that do not match or are too few, a share outside (0, 1), or a target that does not vary.
    """
    rows = len(states)
    kept = rows - round(rows * held_out)
    if len(target) != rows or not 0 < held_out < 1 or min(kept, rows - kept) < 2:
        raise InputError(
            f"a probe needs a target for each of its rows, and two rows on either side of the split, not {rows} and {len(target)} at {held_out}"
        )
    states, target = _standard(states.float(), kept), target.float()
    middle, spread = target[:kept].mean(dim=0), target[:kept].std(dim=0)
    if not bool((spread > 0).all()):
        raise InputError("an entry of the target is the same in all rows: there is nothing to read off")
    scaled = (target - middle) / spread
    with torch.random.fork_rng([]):
        torch.manual_seed(derive(seed, "probe"))
        probe = PositionProbe(states.shape[1], states.shape[2], target.shape[1], hidden=hidden)
        optimizer = torch.optim.Adam(probe.parameters(), lr=lr)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in range(steps):
            some = torch.randint(kept, (batch_size,))
            loss = (probe(states[some]) - scaled[some]).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    with torch.no_grad():
        left = ((probe(states[kept:]) - scaled[kept:]) * spread).square()
        whole = (target[kept:] - middle).square()
        return Probed(left.mean().item(), 1 - (left.sum() / whole.sum()).item(), probe.scores.softmax(dim=0).detach())


def _standard(states: Tensor, kept: int) -> Tensor:
    middle = states[:kept].mean(dim=(0, 1))
    return (states - middle) / states[:kept].std(dim=(0, 1)).clamp(min=1e-6)
