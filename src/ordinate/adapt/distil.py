r"""DISTILL: one network that holds what several do, by a head for each of them.

The student :math:`\phi` is of a member's size and has n heads; head i imitates teacher i with logits :math:`t_i`:

.. math:: \mathcal L = \sum_i \tau^2\, \mathrm{KL}\big( \mathrm{softmax}(t_i / \tau) \,\Vert\, \mathrm{softmax}(h_i(\phi(x)) / \tau) \big)

averaged over the batch; or, with hard targets, the sum of cross-entropies against each teacher's most probable class. Then the heads are dropped, and the student is kept.

Sources: Zhang and Bottou, "Learning useful representations for shifting tasks and distributions", 2023 (DISTILL-n); one head a teacher as in Zhang, Lopez-Paz and Bottou, "Rich Feature Construction for the Optimization-Generalization
Dilemma", 2022, whose targets are hard; soft targets are those of Hinton et al., 2015.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError, choose
from ordinate.models.encoding import encode, evaluating
from ordinate.objectives.base import Objective

__all__ = ["TARGETS", "Distillation", "teacher_logits"]

TARGETS = ("soft", "hard")
_AT_ONCE = 256


@torch.no_grad()
def teacher_logits(teachers: Sequence[nn.Module], inputs: Tensor) -> Float[Tensor, "rows teachers classes"]:
    """The logits (N, n, C) of every teacher on inputs (N, ...), computed once: the column `teachers` of a source for :class:`Distillation`.

    Raises:
        InputError: no teachers, no inputs, or teachers of different classes.
    """
    if not teachers or not len(inputs):
        raise InputError("distillation needs at least one teacher and one input")
    columns = []
    for teacher in teachers:
        with evaluating(teacher):
            columns.append(torch.cat([teacher(part) for part in inputs.split(_AT_ONCE)]))
    if len({column.shape for column in columns}) > 1:
        raise InputError(f"teachers must have the same classes: their logits are {[tuple(column.shape) for column in columns]}")
    return torch.stack(columns, dim=1)


class Distillation(Objective):
    """The loss of a student against n teachers. Reads `image` (B, ...) and the teachers' logits `teachers` (B, n, C).

    Attributes:
        heads: one linear layer a teacher, trained with the student.
    """

    def __init__(self, width: int, classes: int, teachers: int, *, targets: str = "soft", tau: float = 10.0) -> None:
        """
        Args:
            width: of the student's vectors.
            classes: of the teachers.
            teachers: n.
            targets: ``"soft"`` or ``"hard"``.
            tau: the temperature of soft targets.

        Raises:
            InputError: a number below 1, unknown targets, or a temperature that is not positive.
        """
        super().__init__()
        if min(width, classes, teachers) < 1 or tau <= 0:
            raise InputError(f"widths, classes, teachers and tau are positive, not {width}, {classes}, {teachers} and {tau}")
        self.targets = choose("kind of targets", targets, TARGETS)
        self.tau = tau
        self.heads = nn.ModuleList(nn.Linear(width, classes) for _ in range(teachers))

    def forward(self, model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
        """The loss of the batch.

        Raises:
            InputError: the batch has no logits of as many teachers and classes.
        """
        if "teachers" not in batch:
            raise InputError(f"distillation reads the teachers' logits, 'teachers', and the batch has {', '.join(batch)}")
        wanted = batch["teachers"]
        z = encode(model, batch["image"])
        logits = torch.stack([head(z) for head in self.heads], dim=1)
        if wanted.shape != logits.shape:
            raise InputError(f"the teachers' logits are {tuple(wanted.shape)}, and the heads give {tuple(logits.shape)}")
        if self.targets == "hard":
            return F.cross_entropy(logits.flatten(0, 1), wanted.argmax(dim=2).flatten()) * len(self.heads)
        logs, truth = (logits / self.tau).log_softmax(dim=2), (wanted / self.tau).log_softmax(dim=2)
        return self.tau**2 * F.kl_div(logs, truth, reduction="sum", log_target=True) / len(z)
