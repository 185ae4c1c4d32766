r"""Regression of a product of input taps: how many factors can a network multiply?

The input is white noise, :math:`x_{c}(p) \sim \mathcal N(0, 1)` for m channels and every pixel p. The target at a pixel is a product of m taps in different channels, the first at the pixel itself and the
others at fixed offsets inside a 7 x 7 window,

.. math:: y(p) = \prod_{c=0}^{m-1} x_c(p + o_c), \qquad o_0 = 0.

Products of different sets of taps are uncorrelated, so that a network that cannot multiply m taps explains nothing of the variance: its :math:`R^2` is 0, and not merely small.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.data.batches import Batch, Generated
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import derive, generator
from ordinate.tasks.training import arm_recipe, make_seeded, train_arm
from ordinate.train.recipe import Recipe

__all__ = ["TASKS", "Monomials", "products_of_taps"]

MARGIN = 3  # half of the 7 x 7 window
OFFSETS = ((0, 0), (-2, 1), (3, -1), (1, 3), (-3, -3))
_SIDE = 18
_TESTED = 64


def products_of_taps(x: Float[Tensor, "batch taps height width"]) -> Float[Tensor, "batch 1 rows columns"]:
    """The targets of the pixels that are at least 3 away from the edge: (B, m, H, W) -> (B, 1, H - 6, W - 6)."""
    height, width = x.shape[2] - 2 * MARGIN, x.shape[3] - 2 * MARGIN
    taps = [
        x[:, channel, MARGIN + down : MARGIN + down + height, MARGIN + right : MARGIN + right + width]
        for channel, (down, right) in zip(range(x.shape[1]), OFFSETS, strict=False)
    ]
    return torch.stack(taps, dim=1).prod(dim=1, keepdim=True)


class Monomials(Task):
    """The share of the variance of a product of `degree` taps that a trained network explains.

    An arm's `make(channels=m)` gives a module (B, m, H, W) -> (B, 1, H, W).
    """

    name = "monomials"
    title = "Products of input taps"
    metrics = (Metric("r2", meaning="share of the variance explained on fresh data"),)

    def __init__(self, degree: int, *, steps: int = 600, images: int = 4, lr: float = 1e-2) -> None:
        """
        Args:
            degree: the number m of taps, 2 to 5.
            steps: optimizer steps.
            images: of 18 x 18 pixels a batch; each has 144 targets.
            lr: the peak learning rate of Adam, constant and then cut.

        Raises:
            InputError: no such degree.
        """
        if not 2 <= degree <= len(OFFSETS):
            raise InputError(f"degree lies between 2 and {len(OFFSETS)}, not {degree}")
        self.degree, self.steps, self.images, self.lr = degree, steps, images, lr
        self.title = f"Products of {degree} input taps"

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train and score one arm."""
        model: nn.Module = make_seeded(lambda: arm.make(channels=self.degree), run.seed)
        recipe = arm_recipe(Recipe(steps=self.steps, lr=self.lr, schedule="cosine", clip=1.0), arm, run)
        fresh = self._draw(_TESTED, generator(run.seed, "tested"))
        trained = train_arm(
            model,
            _squared_error,
            Generated(lambda source: self._draw(self.images, source), derive(run.seed, "train")),
            recipe,
            run,
            evaluate=lambda judged: {"r2": _r2(judged, fresh, run.setting.device)},
            evaluate_every=max(1, recipe.steps // 5),
        )
        return Outcome(
            {"r2": trained.history.last("r2")}, curves=trained.history.curves, parameters=trained.parameters, flops=trained.flops
        )

    def _draw(self, images: int, source: torch.Generator) -> Batch:
        x = torch.randn(images, self.degree, _SIDE, _SIDE, generator=source)
        return {"x": x, "y": products_of_taps(x)}


def _predict(model: nn.Module, x: Tensor) -> Tensor:
    return model(x)[:, :, MARGIN:-MARGIN, MARGIN:-MARGIN]


def _squared_error(model: nn.Module, batch: Batch) -> Tensor:
    return F.mse_loss(_predict(model, batch["x"]), batch["y"])


def _r2(model: nn.Module, batch: Batch, device: str) -> float:
    y = batch["y"].to(device)
    return 1 - float(F.mse_loss(_predict(model, batch["x"].to(device)), y) / y.var(correction=0))


TASKS = {Monomials.name: Monomials}
