r"""What can be read linearly where: ridge probes from the states of every layer, at every kind of token, to every target, in one pass over the data and one batched solve.

For a layer l, a kind of token and a group of positions, with states h and a target v, a probe is :math:`\hat v = W h + b` of least

.. math:: \frac1M \sum \lVert v - W h - b \rVert^2 + \alpha \lVert W S \rVert_F^2,

S the diagonal of the states' standard deviations. Its error is the mean squared error on fresh rows over the target's variance there, :math:`1 - R^2`: 0 where the target is a linear function of the state, 1 (or a little more) where the state says
nothing about it. Positions are probed apart and all together.

Neither states nor targets are kept: probes and errors are functions of the sums of :math:`(1, h)(1, h)^\top`, :math:`(1, h) v^\top` and :math:`v^2`, which are gathered batch by batch in float64, for fitting and for testing alike. All systems are of one
size and are solved by one batched Cholesky factorisation, :math:`O(L (M H^2 + H^3))` for L layers of width H and M rows.

What a probe finds can be decoded from a state; whether the network uses it is another question, which :mod:`ordinate.adapt.paste` asks.

Source: Alain and Bengio, Understanding intermediate layers using linear classifier probes (2016); Guo et al., How Do Transformers Learn In-Context Beyond Simple Functions? (ICLR 2024), section 6.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ordinate.analyze.capture import Activations
from ordinate.ground.errors import InputError, choose

__all__ = ["ProbeTable", "Target", "probe_layers"]

_TINY = 1e-12


@dataclass(frozen=True)
class Target:
    """What a probe is to read.

    Attributes:
        of: from a batch to (B, n, K), the target at each of n examples.
        first: the first example that has one; those before are left out, as a lag needs.
    """

    of: Callable[[Any], Tensor]
    first: int = 0


@dataclass(frozen=True)
class ProbeTable:
    """Errors of probes.

    Attributes:
        layers: their names, lowest first.
        tokens: the kinds of tokens.
        targets: their names.
        error: (layers, tokens, targets), over all positions together, float64.
        by_position: (layers, tokens, targets, n), each position with a probe of its own; NaN where a target has none.
    """

    layers: tuple[str, ...]
    tokens: tuple[str, ...]
    targets: tuple[str, ...]
    error: Tensor
    by_position: Tensor

    def curve(self, token: str, target: str) -> list[float]:
        """The errors of one target over the layers.

        Raises:
            InputError: no such token or target.
        """
        token, target = choose("token", token, self.tokens), choose("target", target, self.targets)
        return self.error[:, self.tokens.index(token), self.targets.index(target)].tolist()

    def best(self, token: str, target: str) -> int:
        """The number of the layer with the least error; see `curve`."""
        errors = self.curve(token, target)
        return min(range(len(errors)), key=errors.__getitem__)

    def rows(self) -> list[dict[str, str | float]]:
        """One row a layer, token and target, for tables."""
        return [
            {"layer": layer, "token": token, "target": target, "error": self.error[i, j, k].item()}
            for i, layer in enumerate(self.layers)
            for j, token in enumerate(self.tokens)
            for k, target in enumerate(self.targets)
        ]


class _Sums:
    """Sums over rows, for every layer and place: places are the positions of the first kind of token, then those of the next, and so on."""

    def __init__(self) -> None:
        self.count = 0
        self.gram = self.cross = self.square = torch.empty(0)

    def add(self, states: Tensor, targets: Tensor) -> None:
        """States (L, P, B, H) and targets (P, B, K)."""
        ones = torch.ones_like(states[..., :1])
        states, targets = torch.cat([ones, states], dim=-1).double(), targets.double()
        gram, cross, square = states.mT @ states, states.mT @ targets, targets.square().sum(dim=1)
        if self.count:
            self.gram += gram
            self.cross += cross
            self.square += square
        else:
            self.gram, self.cross, self.square = gram, cross, square
        self.count += states.shape[2]

    def grouped(self, groups: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Sums over groups (G, P) of places: (1, h)(1, h)^T (L, G, H + 1, H + 1), (1, h) v^T (L, G, H + 1, K), v^2 (G, K), and rows (G,)."""
        gram = torch.einsum("gp,lpij->lgij", groups, self.gram)
        return gram, torch.einsum("gp,lpij->lgij", groups, self.cross), groups @ self.square, groups.sum(dim=1) * self.count


def _solve(gram: Tensor, cross: Tensor, rows: Tensor, alpha: float) -> Tensor:
    """(1, h) weights (L, G, H + 1, K), b first."""
    gram, cross = gram / rows[:, None, None], cross / rows[:, None, None]
    mean, target = gram[..., 0, 1:], cross[..., 0, :]
    covariance = gram[..., 1:, 1:] - mean[..., :, None] * mean[..., None, :]
    scale = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=0).sqrt()
    scale = torch.where(scale > _TINY * (1 + mean.abs()), scale, 1.0)
    system = covariance / (scale[..., :, None] * scale[..., None, :]) + alpha * torch.eye(scale.shape[-1], dtype=scale.dtype)
    right = (cross[..., 1:, :] - mean[..., :, None] * target[..., None, :]) / scale[..., None]
    weight = torch.cholesky_solve(right, torch.linalg.cholesky(system)) / scale[..., None]
    return torch.cat([target[..., None, :] - mean[..., None, :] @ weight, weight], dim=-2)


def _errors(weight: Tensor, gram: Tensor, cross: Tensor, square: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
    """Summed squared errors (L, G, K), and summed squares of targets about their means (G, K)."""
    left = square - (weight * (2 * cross - gram @ weight)).sum(dim=-2)
    return left.clamp(min=0), square - cross[0, :, 0].square() / rows[:, None]


@torch.no_grad()
def probe_layers(
    model: nn.Module,
    layers: Sequence[str],
    targets: Mapping[str, Target],
    train: Iterable[Any],
    test: Iterable[Any],
    *,
    tokens: Mapping[str, slice],
    forward: Callable[[nn.Module, Any], Any] | None = None,
    alpha: float = 1e-6,
) -> ProbeTable:
    """Fit and test all probes.

    Args:
        model: any module; it runs as it is.
        layers: names of modules, as `ordinate.analyze.capture.Activations` takes them, whose activations are (B, T, H) with one H for all.
        targets: what is to be read, by name.
        train: batches that probes are fitted on.
        test: other batches, of the same kind, that they are tested on.
        tokens: which positions of the sequence each kind of token has: ``{"x": slice(0, None, 2), "y": slice(1, None, 2)}``. The i-th of them belongs to example i.
        forward: how a batch goes through the model; None calls it with the batch.
        alpha: the penalty.

    Raises:
        InputError: nothing to probe, activations of another shape or of several widths, no batch, fewer rows than a probe has weights, a penalty that is not positive, or a target that is not (B, n, K), is not finite, or is constant.
    """
    if not layers or not targets or not tokens:
        raise InputError("probes need at least one layer, one target and one kind of token")
    if alpha <= 0:
        raise InputError(f"alpha must be positive, or states that repeat each other have no single probe, not {alpha}")
    (fitted, lengths, widths), (tested, _, _) = (_gather(model, layers, targets, batches, tokens, forward) for batches in (train, test))
    places = [(token, position) for token, length in enumerate(lengths) for position in range(length)]
    firsts = sorted({target.first for target in targets.values()})
    pooled = [(token, first) for token in range(len(lengths)) for first in firsts]
    groups = torch.tensor(
        [[float(at == token and position >= first) for at, position in places] for token, first in pooled], dtype=torch.float64
    )
    groups = torch.cat([groups, torch.eye(len(places), dtype=torch.float64)])
    names = list(tokens)
    for (token, first), group in zip(pooled, groups, strict=False):
        if not group.any():
            raise InputError(f"a target begins at example {first}, and there are {lengths[token]} {names[token]} tokens")
    gram, cross, square, rows = fitted.grouped(groups)
    weights = gram.shape[-1]
    if rows.min() <= weights:
        raise InputError(f"a probe has {weights} weights, and a position {int(rows.min())} rows to fit them: give more batches")
    weight = _solve(gram, cross, rows, alpha)
    left, whole = _errors(weight, *tested.grouped(groups))
    table = torch.full((len(layers), len(names), len(targets)), torch.nan, dtype=torch.float64)
    apart = torch.full((*table.shape, max(lengths)), torch.nan, dtype=torch.float64)
    columns = torch.arange(sum(widths)).split(widths)
    for k, (name, target) in enumerate(targets.items()):
        part, variance = left[..., columns[k]].sum(dim=-1), whole[:, columns[k]].sum(dim=-1)
        for place, (token, first) in enumerate(pooled):
            if first == target.first:
                if variance[place] <= _TINY * square[place, columns[k]].sum():
                    raise InputError(f"target {name!r} is the same everywhere: there is nothing to read")
                table[:, token, k] = part[:, place] / variance[place]
        for place, (token, position) in enumerate(places, start=len(pooled)):
            if position >= target.first:
                apart[:, token, k, position] = part[:, place] / variance[place]
    return ProbeTable(tuple(layers), tuple(names), tuple(targets), table, apart)


def _gather(
    model: nn.Module,
    layers: Sequence[str],
    targets: Mapping[str, Target],
    batches: Iterable[Any],
    tokens: Mapping[str, slice],
    forward: Callable[[nn.Module, Any], Any] | None,
) -> tuple[_Sums, list[int], list[int]]:
    """Sums over batches, the number of each kind of token, and the widths of the targets."""
    sums, lengths, widths = _Sums(), [0], [0]
    with Activations(model, layers) as seen:
        for batch in batches:
            if forward is None:
                model(batch)
            else:
                forward(model, batch)
            states = [seen[layer].cpu() for layer in layers]
            seen.clear()
            if len({state.shape for state in states}) > 1 or states[0].ndim != 3:
                raise InputError(f"states must all be (batch, tokens, width), not {', '.join(str(tuple(state.shape)) for state in states)}")
            values = {name: target.of(batch).cpu() for name, target in targets.items()}
            for name, value in values.items():
                if value.ndim != 3 or len(value) != len(states[0]) or not torch.isfinite(value[:, targets[name].first :]).all():
                    raise InputError(f"target {name!r} must be finite numbers (batch, examples, width), not {tuple(value.shape)}")
            widths = [value.shape[2] for value in values.values()]
            # A place before a target's first example is in none of its groups; what stands there must only be a number.
            joined = torch.cat([value.double().nan_to_num() for value in values.values()], dim=2).transpose(0, 1)
            stacked = torch.stack(states).transpose(1, 2)
            chosen = [stacked[:, span] for span in tokens.values()]
            lengths = [part.shape[1] for part in chosen]
            if not all(0 < length <= len(joined) for length in lengths):
                raise InputError(f"kinds of tokens must have between 1 and {len(joined)} positions, one an example, not {lengths}")
            sums.add(torch.cat(chosen, dim=1), torch.cat([joined[:length] for length in lengths]))
    if not sums.count:
        raise InputError("there is no batch to probe")
    return sums, lengths, widths
