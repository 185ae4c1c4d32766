"""Two tasks that ask for positions and nothing else: say where you stand, and bring every second token to the front.

- *Position identification* (``pi``): random tokens; the target at every place is its number.
- *Even token prediction* (``etp``): the first half of the targets are the tokens at places 1, 3, 5, ... (from 0); the other half is one filler token, so that half of the accuracy is free.

Tokens are fresh at every step. A model without any notion of places scores 1 / L at the first and a half at the second.

Source: Luo et al., Your Transformer May Not be as Powerful as You Expect (NeurIPS 2022), section 5.1 and its code.
"""

from functools import partial
from typing import Any

import torch
from torch import nn

from ordinate.data.batches import Batch, Generated
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Metric, Outcome, Run, Task
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import derive, generator
from ordinate.models.urpe_encoder import URPEEncoder
from ordinate.objectives.next_token import token_nats
from ordinate.tasks.training import arm_recipe, make_seeded, train_arm
from ordinate.train.recipe import Recipe

__all__ = ["KINDS", "TASKS", "Positions", "position_batch"]

KINDS = ("pi", "etp")
ARMS: dict[str, dict[str, Any]] = {
    "none": {"relative": False, "universal": False},
    "relative": {"universal": False},
    "absolute": {"relative": False, "universal": False, "position": "absolute"},
    "urpe": {},
}


def position_batch(kind: str, rows: int, length: int, vocabulary: int, draws: torch.Generator) -> Batch:
    """``"input"`` and ``"target"``, int64 (B, L). Tokens are numbered from 0, the filler of ``etp`` is number V, and the targets of ``pi`` are places.

    Raises:
        InputError: an unknown kind, or an odd length for ``etp``.
    """
    tokens = torch.randint(vocabulary, (rows, length), generator=draws)
    if choose("kind of position task", kind, KINDS) == "pi":
        return {"input": tokens, "target": torch.arange(length).expand(rows, -1).contiguous()}
    if length % 2:
        raise InputError(f"every second token is asked for: the length must be even, not {length}")
    return {"input": tokens, "target": torch.cat([tokens[:, 1::2], torch.full((rows, length // 2), vocabulary)], dim=1)}


class Positions(Task):
    """Accuracy a token on fresh sequences.

    An arm's `make(vocabulary=..., max_length=...)` gives a model of tokens.
    """

    name = "positions"
    title = "Tasks that ask for positions"
    metrics = (
        Metric("accuracy", "%", meaning="of tokens of fresh sequences"),
        Metric("apart", meaning="largest difference between positions of a sequence of one token, over the largest output"),
    )

    def __init__(
        self,
        kind: str,
        length: int,
        *,
        vocabulary: int = 20,
        steps: int = 2_000,
        batch_size: int = 64,
        dim: int = 64,
        heads: int = 4,
        depth: int = 3,
        lr: float = 2e-3,
        tested: int = 512,
    ) -> None:
        """
        Args:
            kind: ``"pi"`` or ``"etp"``.
            length: L.
            vocabulary: how many tokens there are.
            steps: of Adam.
            batch_size: sequences a step.
            dim, heads, depth: the shape of arms by name.
            lr: the peak learning rate.
            tested: sequences that are scored.

        Raises:
            InputError: an unknown kind, or an odd length for ``etp``.
        """
        position_batch(kind, 1, length, vocabulary, torch.Generator())
        self.kind, self.length, self.vocabulary, self.steps, self.batch_size, self.lr, self.tested = (
            kind,
            length,
            vocabulary,
            steps,
            batch_size,
            lr,
            tested,
        )
        self.shape: dict[str, Any] = {"dim": dim, "heads": heads, "depth": depth, "tied": False}
        self.title = f"{'Position identification' if kind == 'pi' else 'Even token prediction'} in {length} tokens"

    def arm(self, name: str) -> Arm:
        """``"none"``, ``"relative"``, ``"absolute"`` or ``"urpe"``: what the encoder knows of positions."""
        choose("kind of positions", name, ARMS)
        return Arm(name, partial(URPEEncoder, **self.shape, **ARMS[name]), role="method" if name == "urpe" else "baseline")

    def run(self, arm: Arm, run: Run) -> Outcome:
        """Train and score one arm."""
        tokens = max(self.vocabulary + 1, self.length)
        model: nn.Module = make_seeded(lambda: arm.make(vocabulary=tokens, max_length=self.length), run.seed)
        recipe = arm_recipe(Recipe(steps=self.steps, lr=self.lr, warmup=self.steps // 10, weight_decay=0.0), arm, run)
        trained = train_arm(model, _loss, Generated(self._draw, derive(run.seed, "positions")), recipe, run)
        fresh = position_batch(self.kind, self.tested, self.length, self.vocabulary, generator(run.seed, "tested positions"))
        device = run.setting.device
        model.to(device).eval()
        with torch.no_grad():
            right = [
                (model(part.to(device)).argmax(dim=-1).cpu() == target).float()
                for part, target in zip(fresh["input"].split(128), fresh["target"].split(128), strict=True)
            ]
            one = model(torch.zeros(1, self.length, dtype=torch.int64, device=device))[0]
        apart = float((one.amax(dim=0) - one.amin(dim=0)).max() / one.abs().max())
        return Outcome(
            {"accuracy": 100 * float(torch.cat(right).mean()), "apart": apart},
            curves=trained.history.curves,
            parameters=trained.parameters,
            flops=trained.flops,
        )

    def _draw(self, draws: torch.Generator) -> Batch:
        return position_batch(self.kind, self.batch_size, self.length, self.vocabulary, draws)

    @classmethod
    def from_data(cls, data: str | None, setting: Setting, *, strict: bool = False) -> "Positions":
        """Generated: ``"pi"`` (the default) or ``"etp"``, with a length after a colon: ``"etp:16"``."""
        kind, _, length = (data or "pi").partition(":")
        if length and not length.isdecimal():
            raise InputError(f"the length of a position task is a number, as in etp:16, not {length!r}")
        return cls(kind, int(length or 16), steps=setting.pick(smoke=60, full=2_000))


def _loss(model: nn.Module, batch: Batch) -> torch.Tensor:
    total, count = token_nats(model, batch)
    return total / count


TASKS = {Positions.name: Positions}
