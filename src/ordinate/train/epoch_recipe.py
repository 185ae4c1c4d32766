r"""A recipe whose rate falls by epochs: :math:`\eta` for the first `held` of them, and then divided by `factor` once at the beginning of each."""

from dataclasses import dataclass

from ordinate.ground.errors import InputError
from ordinate.train.recipe import Recipe

__all__ = ["EpochRecipe"]


@dataclass(frozen=True)
class EpochRecipe(Recipe):
    """A recipe, with the schedule ``"constant"``, on which the fall by epochs comes.

    Attributes:
        epoch: steps of one.
        held: epochs at the full rate.
        factor: what the rate is divided by at the beginning of every later one.

    Raises:
        InputError: what `Recipe` refuses; an epoch without steps, a negative number of epochs, or a factor below 1.
    """

    schedule: str = "constant"
    epoch: int = 1
    held: int = 0
    factor: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.epoch < 1 or self.held < 0 or not self.factor >= 1:
            raise InputError(
                f"an epoch has at least 1 step, the rate is held for 0 epochs or more and then divided by 1 or more, not {self.epoch}, {self.held} and {self.factor}"
            )

    def rate(self, step: int) -> float:
        """The learning rate of optimizer step `step`."""
        return super().rate(step) / self.factor ** max(0, step // self.epoch - self.held + 1)
