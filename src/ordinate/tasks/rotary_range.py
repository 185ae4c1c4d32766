r"""Which angles of rotary positions a longer sequence asks for that training has never shown.

A pair of dimensions that turns by :math:`\theta` a position shows, at length T, the angles up to :math:`\theta T`, or all of them once that is a full turn. Beyond T a rule asks for angles up to :math:`\theta' L`. The share of pairs for
which these go beyond what was shown is what a model has to extrapolate in.

An arm's `make()` gives a `Rotary`; nothing is trained, and one seed serves.

Source: Chen et al., Extending Context Window of Large Language Models via Positional Interpolation (2023), section 2; Pal et al., Giraffe (2023), section 3.
"""

import math
from collections.abc import Sequence

from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError
from ordinate.nn.rotary import Rotary

__all__ = ["TASKS", "RotaryRange"]

_ROUND = 1e-5  # of an angle, in single precision


class RotaryRange(Task):
    """The share of pairs that a longer sequence turns further than training has shown."""

    name = "rotary-range"
    title = "Angles beyond those of training"

    def __init__(self, head_dim: int, length: int, multiples: Sequence[int]) -> None:
        """
        Args:
            head_dim: the width of a head.
            length: T, of training with plain positions.
            multiples: of T at which angles are looked at.

        Raises:
            InputError: no multiples, or a length below 2.
        """
        if not multiples or length < 2:
            raise InputError(f"angles are compared at one multiple or more of a length of at least 2, not {list(multiples)} of {length}")
        self.head_dim, self.length, self.multiples = head_dim, length, tuple(multiples)
        self.metrics = tuple(
            Metric(f"unseen@{multiple}", "%", higher_is_better=False, meaning=f"of pairs, at {multiple} times the length")
            for multiple in multiples
        )

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Compare the angles of one rule with those that were shown."""
        rule: Rotary = arm.make()
        shown = (Rotary(self.head_dim, base=rule.base).frequencies(self.length) * self.length).clamp(max=2 * math.pi)
        found = {}
        for multiple in self.multiples:
            length = multiple * self.length
            asked = (rule.frequencies(length) * length).clamp(max=2 * math.pi)
            found[f"unseen@{multiple}"] = 100 * float((asked > shown * (1 + _ROUND)).float().mean())
        return Outcome(found)


TASKS = {RotaryRange.name: RotaryRange}
