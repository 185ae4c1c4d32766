r"""CAT: the vectors of several networks, side by side.

.. math:: \phi(x) = [\phi_1(x), \dots, \phi_n(x)] \in \mathbb R^{D_1 + \dots + D_n}

for members that were trained independently of each other, by different seeds or of different architectures. Nothing is averaged or normalised. Training keeps the features that serve its own task and no more; each
member keeps others, and what is redundant where they were trained serves where the task or the distribution has changed.

Source: Zhang and Bottou, "Learning useful representations for shifting tasks and distributions", 2023 (CAT-n).
"""

from collections.abc import Sequence
from itertools import combinations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.encoding import encode

__all__ = ["Concat", "check_distinct"]


def check_distinct(members: Sequence[nn.Module]) -> None:
    """Raise unless every two members differ in some weight.

    Raises:
        InputError: two are the same network: one seed was used twice, or the seed did not reach initial weights and data order.
    """
    for (i, a), (j, b) in combinations(enumerate(members), 2):
        ours, theirs = a.state_dict(), b.state_dict()
        if ours.keys() == theirs.keys() and ours and all(torch.equal(tensor.cpu(), theirs[name].cpu()) for name, tensor in ours.items()):
            raise InputError(
                f"members {i} and {j} have the same weights: give them different seeds, which must decide on both the initial weights and the order of the data"
            )


class Concat(nn.Module):
    """Inputs (B, ...) to the members' vectors side by side, (B, sum of D_i), in the order of the members.

    Attributes:
        members: the networks.
        freeze: whether they stay as they are: no gradients, and evaluation mode whatever `train` says.
    """

    def __init__(self, members: Sequence[nn.Module], freeze: bool = True, *, copies: bool = False) -> None:
        """
        Args:
            members: at least one, from inputs to vectors (B, D_i): by `embed` where they have that, else called. They are taken over, not copied.
            freeze: see the attributes. Training all of it from pretrained members ends their differences: see `ordinate.adapt.two_stage`.
            copies: let members be the same network several times over.

        Raises:
            InputError: no members, or two with the same weights.
        """
        super().__init__()
        if not members:
            raise InputError("a concatenation needs at least one member")
        if not copies:
            check_distinct(members)
        self.members = nn.ModuleList(members)
        self.freeze = freeze
        self._dims: tuple[int, ...] | None = None
        if freeze:
            self.members.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Concat":
        """Training mode, or evaluation mode; frozen members stay in evaluation mode, so that their batch statistics stay as they are."""
        super().train(mode)
        if self.freeze:
            self.members.eval()
        return self

    @property
    def dims(self) -> tuple[int, ...]:
        """The width of every member's vectors: their `num_features`, or what they gave last.

        Raises:
            InputError: a member that does not say it, before the first call.
        """
        known = [getattr(member, "num_features", None) for member in self.members]
        if self._dims is None and None in known:
            raise InputError("the members do not say how wide their vectors are (num_features): call the concatenation once first")
        return self._dims or tuple(int(width) for width in known if width is not None)

    @property
    def num_features(self) -> int:
        """The width of the whole."""
        return sum(self.dims)

    @property
    def slices(self) -> tuple[slice, ...]:
        """Where every member's features stand."""
        ends = torch.tensor(self.dims).cumsum(0).tolist()
        return tuple(slice(end - width, end) for end, width in zip(ends, self.dims, strict=True))

    def forward(self, x: Tensor) -> Float[Tensor, "batch features"]:
        """The features.

        Raises:
            InputError: a member gives something else than one vector an input.
        """
        parts = [encode(member, x) for member in self.members]
        self._dims = tuple(part.shape[1] for part in parts)
        return torch.cat(parts, dim=1)
