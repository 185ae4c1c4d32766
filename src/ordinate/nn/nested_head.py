r"""Classifiers that read the prefixes of an embedding.

For an embedding :math:`z \in \mathbb{R}^d` and nested sizes :math:`m_1 < \dots < m_G = d`, the head gives one set of logits a size:

.. math:: \ell_i = W_i\, z_{1:m_i} + b_i \quad\text{(MRL, one classifier a size)} \qquad\text{or}\qquad \ell_i = W_{:,1:m_i}\, z_{1:m_i} + b \quad\text{(MRL-E, one tied classifier)}.

The tied logits are cumulative: :math:`\ell_i = \ell_{i-1} + W_{:,m_{i-1}:m_i}\, z_{m_{i-1}:m_i}`, so all sizes together cost the multiplications of one linear layer, where separate classifiers cost about twice that.

Source: Kusupati et al., "Matryoshka Representation Learning", 2022, section 3 and algorithms 1 and 2.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.nn.official import State

__all__ = [
    "FixedFeatureHead",
    "MatryoshkaHead",
    "check_dims",
    "complete_dims",
    "halving_dims",
    "official_head",
    "official_head_state",
    "tied_logits",
]


def halving_dims(dim: int, smallest: int = 8) -> list[int]:
    """The sizes dim, dim // 2, dim // 4, ... that are at least `smallest`, ascending: 8, 16, ..., 2048 for 2048, and 12, 24, ..., 768 for 768.

    Below about 8 dimensions for 1000 classes a size is too small to be worth training, and it costs its neighbours accuracy (the ablation MRL-4 of the paper).

    Raises:
        InputError: `smallest` is not in 1..dim.
    """
    if not 1 <= smallest <= dim:
        raise InputError(f"the smallest size must be between 1 and the width {dim}, not {smallest}")
    sizes = []
    while dim >= smallest:
        sizes.append(dim)
        dim //= 2
    return sizes[::-1]


def check_dims(dims: Sequence[int], width: int | None = None) -> tuple[int, ...]:
    """The nested sizes as a tuple, once they have been found to be a nesting.

    Args:
        dims: the sizes.
        width: the width of the embedding, where it is known: the last size must be it.

    Raises:
        InputError: no sizes, sizes that are not positive whole numbers in strictly ascending order, or a last size other than `width`.
    """
    found = tuple(dims)
    if not found:
        raise InputError("nested sizes are needed, for instance 8,16,32,64: none were given")
    if any(not isinstance(dim, int) or isinstance(dim, bool) or dim < 1 for dim in found):
        raise InputError(f"nested sizes must be positive whole numbers, not {list(found)}")
    if any(low >= high for low, high in pairwise(found)):
        raise InputError(f"nested sizes must ascend strictly, without repeats: {list(found)}")
    if width is not None and found[-1] != width:
        raise InputError(f"the last nested size must be the embedding's own width {width}, not {found[-1]}: add {width} to the sizes")
    return found


def complete_dims(dims: Sequence[int], width: int) -> tuple[int, ...]:
    """The nested sizes, with the whole `width` behind them where it is not among them.

    Raises:
        InputError: as `check_dims`; or a size is more than `width`.
    """
    found = check_dims(dims)
    return check_dims(found if found[-1] >= width else (*found, width), width)


class MatryoshkaHead(nn.Module):
    """One linear classifier for each nested size, separate (MRL) or tied (MRL-E).

    Every classifier is initialised as `nn.Linear` of its size. Tied, there is one weight (L, d) and one bias (L,), and the whole bias is added at every size.
    """

    def __init__(self, dims: Sequence[int], num_classes: int, tied: bool = False, bias: bool = True) -> None:
        """
        Args:
            dims: the sizes, ascending; the last is the width d of the embedding.
            num_classes: L.
            tied: one classifier whose columns the smaller sizes share.
            bias: add a bias.

        Raises:
            InputError: sizes that are not a nesting (see `check_dims`), or no classes.
        """
        super().__init__()
        self.dims = check_dims(dims)
        if num_classes < 1:
            raise InputError(f"num_classes must be at least 1, not {num_classes}")
        self.num_classes = num_classes
        self.tied = tied
        sizes = self.dims[-1:] if tied else self.dims
        self.classifiers = nn.ModuleList(nn.Linear(size, num_classes, bias=bias) for size in sizes)

    def forward(self, z: Float[Tensor, "*batch dim"]) -> list[Float[Tensor, "*batch classes"]]:
        """Embeddings (..., d) to logits (..., L), one tensor a size, smallest first.

        Raises:
            InputError: `z` is not d wide.
        """
        self._check(z)
        if not self.tied:
            return [classifier(z[..., :size]) for size, classifier in zip(self.dims, self.classifiers, strict=True)]
        return tied_logits(z, self._only.weight, self._only.bias, self.dims)

    def stacked(self, z: Float[Tensor, "*batch dim"]) -> Float[Tensor, "sizes *batch classes"]:
        """Embeddings (..., d) to the logits of every size, (G, ..., L)."""
        return torch.stack(self(z))

    def at(self, z: Float[Tensor, "*batch width"], size: int) -> Float[Tensor, "*batch classes"]:
        """The logits (..., L) of one size. `z` may be the whole embedding or already its prefix: its first `size` columns are read.

        Raises:
            InputError: the head was not made for that size, or `z` is narrower.
        """
        if size not in self.dims:
            raise InputError(f"this head was made for the sizes {list(self.dims)}, not {size}")
        if z.shape[-1] < size:
            raise InputError(f"size {size} was asked of embeddings that are {z.shape[-1]} wide")
        if not self.tied:
            return self.classifiers[self.dims.index(size)](z[..., :size])
        return F.linear(z[..., :size], self._only.weight[:, :size], self._only.bias)

    @property
    def _only(self) -> nn.Linear:
        return cast(nn.Linear, self.classifiers[0])

    def _check(self, z: Tensor) -> None:
        if z.shape[-1] != self.dims[-1]:
            raise InputError(f"the head was made for embeddings that are {self.dims[-1]} wide, not {z.shape[-1]}")


def tied_logits(
    z: Float[Tensor, "*batch dim"], weight: Float[Tensor, "classes dim"], bias: Float[Tensor, " classes"] | None, dims: Sequence[int]
) -> list[Float[Tensor, "*batch classes"]]:
    """The logits of one linear classifier at every size, as running sums over the pieces between the sizes: z[..., :m] @ weight[:, :m].T + bias.

    Args:
        z: (..., d).
        weight: (L, d).
        bias: (L,), or None.
        dims: the sizes, ascending, the last d.
    """
    widths = [high - low for low, high in zip((0, *dims), dims, strict=False)]
    # One split instead of a slice a size: its backward pass joins the pieces once, where every slice's would fill a whole matrix.
    pieces = z.reshape(-1, z.shape[-1]).split(widths, dim=1)
    columns = weight.split(widths, dim=1)
    logits = [F.linear(pieces[0], columns[0], bias)]
    for piece, column in zip(pieces[1:], columns[1:], strict=True):
        logits.append(torch.addmm(logits[-1], piece, column.t()))
    return [each.view(*z.shape[:-1], len(weight)) for each in logits]


class FixedFeatureHead(nn.Linear):
    """The baseline FF-m: one linear classifier (m, L) that reads the first m features of a wider embedding and leaves the rest untrained."""

    def forward(self, z: Float[Tensor, "*batch width"]) -> Float[Tensor, "*batch classes"]:
        """Embeddings (..., d), d >= m, to logits (..., L).

        Raises:
            InputError: `z` is narrower than m.
        """
        if z.shape[-1] < self.in_features:
            raise InputError(f"the head reads {self.in_features} features, and embeddings are {z.shape[-1]} wide")
        return super().forward(z[..., : self.in_features])


def official_head(
    state: State, *, nesting_list: Sequence[int] | None = None, efficient: bool | None = None
) -> "MatryoshkaHead | FixedFeatureHead":
    """The head, not yet loaded, whose official weights are `state` (without a prefix ``fc.``).

    Separate classifiers are told by their keys and sizes; a single one is tied if it is so called, or if `efficient` says so: tied heads of the older generation have the keys of a plain linear layer, as FF-m has.

    Args:
        state: ``nesting_classifier_{i}.weight`` and ``.bias``, or ``weight`` and ``bias``.
        nesting_list: the sizes of a tied head; None is the paper's, from 8 by doubling to the width.
        efficient: whether the head is tied (MRL-E), where the keys do not tell.

    Raises:
        KeyError: no weight of a head.
        InputError: sizes that are not a nesting up to the head's width.
    """
    separate: list[Tensor] = []
    while (weight := state.get(f"nesting_classifier_{len(separate)}.weight")) is not None:
        separate.append(weight)
    first = separate[0] if separate else state["weight"]
    classes, width = first.shape
    bias = any(key.endswith("bias") for key in state)
    if len(separate) > 1 or (separate and efficient is False):
        return MatryoshkaHead([weight.shape[1] for weight in separate], classes, bias=bias)
    if separate or efficient:
        sizes = halving_dims(width, min(8, width)) if nesting_list is None else check_dims(nesting_list, width)
        return MatryoshkaHead(sizes, classes, tied=True, bias=bias)
    return FixedFeatureHead(width, classes, bias=bias)


def official_head_state(state: State, head: nn.Module) -> dict[str, Tensor]:
    """The official weights of a head under the keys of `head`, which `official_head` built."""
    if not isinstance(head, MatryoshkaHead):
        return dict(state)
    prefix = "nesting_classifier_"
    if not any(key.startswith(prefix) for key in state):
        return {f"classifiers.0.{key}": tensor for key, tensor in state.items()}
    return {key.replace(prefix, "classifiers.", 1) if key.startswith(prefix) else key: tensor for key, tensor in state.items()}
