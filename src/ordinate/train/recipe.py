r"""A recipe: how long, how fast and with which optimizer a model is trained; and the learning rate at every step.

With peak rate :math:`\eta`, warm-up :math:`w`, length :math:`T` and final fraction :math:`f`, the rate of step :math:`t = 0, 1, \dots, T-1` rises as :math:`\eta\,(t+1)/w` while :math:`t < w`; then, with
:math:`s = (t - w) / (T - w)`,

- ``constant``: :math:`\eta`;
- ``cosine``: :math:`\eta\,(f + (1-f)\,\tfrac12(1 + \cos \pi s))` (Loshchilov and Hutter, SGDR, 2017);
- ``triangular``: :math:`\eta\,(1 - (1-f)\,s)`;
- ``wsd`` (warm-up, stable, decay): :math:`\eta` until the last fifth of the run, then linearly down to :math:`f\eta` (Hu et al., MiniCPM, 2024).
"""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from ordinate.ground.errors import InputError, choose

__all__ = ["OPTIMIZERS", "PRECISIONS", "SCHEDULES", "Recipe"]

OPTIMIZERS = ("adamw", "sgd", "lbfgs")
PRECISIONS = ("32-true", "16-mixed", "bf16-mixed", "64-true")
_DECAY_SHARE = 0.2


def _cosine(s: float, final: float) -> float:
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * s))


def _triangular(s: float, final: float) -> float:
    return 1 - (1 - final) * s


def _wsd(s: float, final: float) -> float:
    return _triangular(max(0.0, (s - 1 + _DECAY_SHARE) / _DECAY_SHARE), final)


SCHEDULES: dict[str, Callable[[float, float], float]] = {
    "constant": lambda s, final: 1.0,
    "cosine": _cosine,
    "triangular": _triangular,
    "wsd": _wsd,
}


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes:
        steps: optimizer steps.
        lr: the peak learning rate.
        optimizer: ``"adamw"``, ``"sgd"`` (with momentum) or ``"lbfgs"`` (strong Wolfe line search; no clipping, accumulation or 16-bit precision).
        weight_decay: decoupled for AdamW; parameters of one dimension (biases, norms, scales) are never decayed.
        betas: AdamW's.
        momentum: SGD's.
        schedule: ``"cosine"``, ``"wsd"``, ``"triangular"`` or ``"constant"``; see the module.
        warmup: steps of linear warm-up.
        final: the last rate as a fraction of `lr`.
        clip: the largest L2 norm of the gradient of all parameters together, or None.
        ema: the decay of an exponential moving average of the weights, which is then what is evaluated and returned; or None.
        accumulate: the batch is cut into this many equal pieces, whose gradients are averaged.
        precision: Fabric's name: ``"32-true"``, ``"bf16-mixed"``, ``"16-mixed"``, ``"64-true"``.
    """

    steps: int
    lr: float = 1e-3
    optimizer: str = "adamw"
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    momentum: float = 0.9
    schedule: str = "cosine"
    warmup: int = 0
    final: float = 0.0
    clip: float | None = None
    ema: float | None = None
    accumulate: int = 1
    precision: str = "32-true"

    def __post_init__(self) -> None:
        choose("optimizer", self.optimizer, OPTIMIZERS)
        choose("schedule", self.schedule, SCHEDULES)
        choose("precision", self.precision, PRECISIONS)
        if self.steps < 1:
            raise InputError(f"steps must be at least 1, not {self.steps}")
        if not (math.isfinite(self.lr) and self.lr > 0):
            raise InputError(f"lr must be positive, not {self.lr}")
        if not 0 <= self.warmup <= self.steps:
            raise InputError(f"warmup must lie between 0 and steps={self.steps}, not {self.warmup}")
        if not 0 <= self.final <= 1:
            raise InputError(f"final is a fraction of lr between 0 and 1, not {self.final}")
        if self.weight_decay < 0 or self.accumulate < 1:
            raise InputError(f"weight_decay must be 0 or more and accumulate 1 or more, not {self.weight_decay} and {self.accumulate}")
        if self.clip is not None and self.clip <= 0:
            raise InputError(f"clip must be positive, or None, not {self.clip}")
        if self.ema is not None and not 0 <= self.ema < 1:
            raise InputError(f"ema is a decay in [0, 1), or None, not {self.ema}")
        if self.optimizer == "lbfgs" and (self.clip is not None or self.accumulate > 1 or self.precision.startswith("16")):
            raise InputError("lbfgs takes neither clip nor accumulate nor 16-mixed: its line search calls for the loss as it is")

    def rate(self, step: int) -> float:
        """The learning rate of optimizer step `step`, 0 <= step < steps."""
        if step < self.warmup:
            return self.lr * (step + 1) / self.warmup
        return self.lr * SCHEDULES[self.schedule]((step - self.warmup) / max(1, self.steps - self.warmup), self.final)

    def to_json(self) -> dict[str, Any]:
        """Its fields as JSON values."""
        return {**asdict(self), "betas": list(self.betas)}
