r"""Composition: a frozen model plus task vectors, each scaled by coefficients that are learned.

With m parameter blocks (a weight matrix, a bias, a gain, ...) and n task vectors the weights are, block by block,

.. math:: \theta^{(j)} = \theta_0^{(j)} + \sum_i \lambda_{ij}\,\tau_i^{(j)}

- ``"scalar"``: one coefficient a vector, (n,);
- ``"block"``: one a vector and block, (n, m): anisotropic scaling (aTLAS);
- ``"partition"``: the entries of every block are dealt at random to K parts, each with a coefficient of its own, (n, m, K): aTLAS x K.

Coefficients start at zero, where the model is the pre-trained one, and decay pulls them there. Vectors are kept as one matrix (n, P_j) a block, in a storage type of one's choice; a block's delta is a product with it, and the
gradient :math:`\partial L/\partial\lambda_{ij} = \langle \partial L/\partial\theta^{(j)}, \tau_i^{(j)}\rangle` another, both in pieces of bounded size. `fold` writes the sum into an ordinary model: inference costs nothing more.

Source: Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024), equations 2 to 5 and section 5.3.
"""

import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _NormBase

from ordinate.adapt.linearised import expanded
from ordinate.adapt.task_vector import TaskBank, TaskVector
from ordinate.ground.errors import InputError, choose, some
from ordinate.ground.seeds import generator

__all__ = ["BLOCKS", "GRANULARITIES", "STORAGE", "ComposedModel"]

GRANULARITIES = ("scalar", "block", "partition")
BLOCKS = ("all", "weights")
STORAGE = (torch.float32, torch.float64, torch.float16, torch.bfloat16, torch.int8)
_AT_ONCE = 1 << 22  # elements of a block's vectors that are brought to working precision together


class _Combination(torch.autograd.Function):
    """(n,) or (n, K) coefficients and stored vectors (n, P) to their sum (P,), in pieces, and back."""

    @staticmethod
    def forward(ctx: Any, coefficients: Tensor, stored: Tensor, part: Tensor | None) -> Tensor:
        ctx.save_for_backward(stored, part)
        ctx.shape = coefficients.shape
        total = coefficients.new_empty(stored.shape[1])
        for piece in _pieces(stored):
            vectors = stored[:, piece].to(coefficients, non_blocking=True)
            if part is None:
                total[piece] = coefficients @ vectors
            else:
                total[piece] = (coefficients[:, part[piece].int()] * vectors).sum(dim=0)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        stored, part = ctx.saved_tensors
        (gradient,) = gradients
        found = gradient.new_zeros(ctx.shape)
        for piece in _pieces(stored):
            vectors = stored[:, piece].to(gradient, non_blocking=True)
            if part is None:
                found += vectors @ gradient[piece]
            else:
                found.index_add_(1, part[piece].int(), vectors * gradient[piece])
        return found, None, None


def _pieces(stored: Tensor) -> Iterable[slice]:
    width = max(1, _AT_ONCE // len(stored))
    return (slice(start, start + width) for start in range(0, stored.shape[1], width))


class _Applied(nn.Module):
    """`function(model, ...)` as a module, so that any method of the model can be used while its weights are replaced."""

    def __init__(self, model: nn.Module, function: Callable[..., Any]) -> None:
        super().__init__()
        self.model = model
        self.function = function

    def forward(self, *inputs: Any, **options: Any) -> Any:
        return self.function(self.model, *inputs, **options)


class ComposedModel(nn.Module):
    """A model whose weights are composed anew at every call; only `coef` is trained.

    Attributes:
        model: theta_0, a frozen copy. Layers with running statistics stay in evaluation mode: the statistics are those of theta_0.
        names: the blocks that are composed, m of them, in the model's order.
        tasks: the names of the n vectors.
        coef: (n,), (n, m) or (n, m, K), starting at zero.
    """

    coef: nn.Parameter

    def __init__(
        self,
        model: nn.Module,
        vectors: TaskBank | Mapping[str, TaskVector] | Sequence[TaskVector],
        granularity: str = "block",
        *,
        partitions: int | None = None,
        blocks: str | Sequence[str] = "all",
        storage: torch.dtype | None = None,
        buffers: bool = False,
        linearised: bool = False,
        seed: int = 0,
    ) -> None:
        """
        Args:
            model: theta_0; it is copied.
            vectors: at least one, of the model's architecture. Entries for floating-point buffers are passed over unless `buffers`.
            granularity: one of `GRANULARITIES`.
            partitions: K of ``"partition"``.
            blocks: ``"all"`` parameters, ``"weights"`` (those of two or more dimensions), or names. The others stay those of theta_0.
            storage: what vectors are kept in: a floating type, or int8 with one scale a vector and block; None is float32, or the parameter's own type where that is wider.
            buffers: compose floating-point buffers too (running statistics): each is a block of its own. No gradient flows through them.
            linearised: compose the expansion of the model around theta_0 instead of the model; see `ordinate.adapt.linearised`.
            seed: of the partition.

        Raises:
            InputError: an unknown granularity, storage or block; vectors that lack a block or have one of another shape or one that the model does not know; K absent, below 1 or without ``"partition"``.
        """
        super().__init__()
        choose("granularity", granularity, GRANULARITIES)
        if (granularity == "partition") != (partitions is not None) or (partitions is not None and partitions < 1):
            raise InputError(f"partitions, a number of 1 or more, belongs to granularity='partition', not {partitions} to {granularity!r}")
        if storage is not None and storage not in STORAGE:
            raise InputError(f"task vectors are kept as {', '.join(str(each).removeprefix('torch.') for each in STORAGE)}, not {storage}")
        if linearised and buffers:
            raise InputError("a model is linearised in its parameters: its buffers cannot be composed")
        bank = vectors if isinstance(vectors, TaskBank) else TaskBank(vectors)
        self.model = deepcopy(model).requires_grad_(False)
        self.granularity, self.partitions, self.linearised, self.seed = granularity, partitions, linearised, seed
        self.tasks = tuple(bank)
        entries = _entries(self.model, buffers)
        self.names = _chosen(self.model, entries, blocks)
        _check(bank, self.model, entries, self.names)
        for number, name in enumerate(self.names):
            stored, scale = _stored([vector[name] for vector in bank.values()], entries[name], storage)
            self.register_buffer(f"vectors_{number}", stored, persistent=False)
            self.register_buffer(f"scales_{number}", scale, persistent=False)
            self.register_buffer(f"parts_{number}", self._deal(name, entries[name].numel()), persistent=False)
        shape = {"scalar": (len(bank),), "block": (len(bank), len(self.names))}.get(
            granularity, (len(bank), len(self.names), partitions or 1)
        )
        working = torch.promote_types(entries[self.names[0]].dtype, torch.float32)
        self.coef = nn.Parameter(torch.zeros(shape, dtype=working, device=entries[self.names[0]].device))
        self.coef.__dict__["decayed"] = True  # coefficients are no biases, whatever their number of dimensions
        self.train(model.training)

    def _deal(self, name: str, size: int) -> Tensor | None:
        if self.partitions is None:
            return None
        if self.partitions > size:
            warnings.warn(f"block {name} has {size} entries and is dealt to {self.partitions} parts: some stay empty", stacklevel=3)
        dealt = torch.randint(self.partitions, (size,), generator=generator(self.seed, "partition", name))
        return dealt.to(torch.uint8 if self.partitions <= 256 else torch.int16 if self.partitions <= 2**15 else torch.int32)

    def set_partition(self, name: str, parts: Tensor) -> None:
        """Deal the entries of a block as given, in place of at random.

        Args:
            name: of the block.
            parts: integers in 0 to K - 1, of the block's shape.

        Raises:
            InputError: no partition, no such block, another shape, or a part that there is none of.
        """
        if self.partitions is None or name not in self.names:
            raise InputError(f"there is no partition of a block {name!r}")
        number = self.names.index(name)
        known = getattr(self, f"parts_{number}")
        if parts.numel() != known.numel() or int(parts.min()) < 0 or int(parts.max()) >= self.partitions:
            raise InputError(f"block {name} has {known.numel()} entries in parts 0 to {self.partitions - 1}")
        known.copy_(parts.flatten())

    def train(self, mode: bool = True) -> "ComposedModel":
        """Training or evaluation mode, but for layers with running statistics."""
        super().train(mode)
        for module in self.model.modules():
            if isinstance(module, _NormBase) and module.track_running_stats:
                module.training = False
        return self

    def _of(self, coefficients: Tensor, number: int) -> Tensor:
        return coefficients if self.granularity == "scalar" else coefficients[:, number]

    def delta(self, coef: Tensor | None = None) -> dict[str, Tensor]:
        """What is added to each block, in the working precision.

        Args:
            coef: coefficients in place of `self.coef`, of its shape.
        """
        coefficients = self.coef if coef is None else coef
        entries = _entries(self.model, True)
        found = {}
        for number, name in enumerate(self.names):
            mine, scale = self._of(coefficients, number), getattr(self, f"scales_{number}")
            if scale is not None:
                mine = mine * (scale if mine.ndim == 1 else scale[:, None])
            total = _Combination.apply(mine, getattr(self, f"vectors_{number}"), getattr(self, f"parts_{number}"))
            found[name] = total.view(entries[name].shape)
        return found

    def weights(self) -> dict[str, Tensor]:
        """The composed blocks, theta_0 + delta, in the types of theta_0."""
        entries = _entries(self.model, True)
        found = {name: entries[name].detach() + change.to(entries[name].dtype) for name, change in self.delta().items()}
        # Running statistics are no differentiable inputs of the layers that hold them.
        return {name: entry if isinstance(entries[name], nn.Parameter) else entry.detach() for name, entry in found.items()}

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """The composed model on the inputs of the model."""
        if self.linearised:
            return expanded(
                self.model,
                {name: change.to(_entries(self.model, False)[name].dtype) for name, change in self.delta().items()},
                *inputs,
                **options,
            )
        return functional_call(self.model, self.weights(), inputs, options)

    def apply_method(self, method: str, *inputs: Any, **options: Any) -> Any:
        """A method of the model under the composed weights: ``apply_method("forward_features", images)``.

        Raises:
            InputError: the model has no such method, or is linearised.
        """
        if self.linearised or not callable(getattr(self.model, method, None)):
            raise InputError(
                f"{type(self.model).__name__} has no method {method!r} that could be composed{' once linearised' if self.linearised else ''}"
            )
        applied = _Applied(self.model, lambda model, *arguments, **named: getattr(model, method)(*arguments, **named))
        return functional_call(applied, {f"model.{name}": entry for name, entry in self.weights().items()}, inputs, options)

    def embed(self, x: Tensor) -> Tensor:
        """The model's embedding (B, d) under the composed weights, for models that have `embed`."""
        return self.apply_method("embed", x)

    @torch.no_grad()
    def part(self, task: str) -> TaskVector:
        """One vector as it is scaled: its share of the sum, float32.

        Raises:
            InputError: no such task.
        """
        choose("task", task, self.tasks)
        alone = torch.zeros_like(self.coef)
        row = self.tasks.index(task)
        alone[row] = self.coef[row]
        return TaskVector(self.delta(alone))

    @torch.no_grad()
    def export(self) -> dict[str, Tensor]:
        """The composed weights as an ordinary state dict of the model.

        Raises:
            InputError: the model is linearised: its sum is no network of the same form.
        """
        if self.linearised:
            raise InputError("a linearised composition is no network of the same form: it cannot be folded")
        return {**{name: entry.clone() for name, entry in self.model.state_dict().items()}, **self._aliased(self.weights())}

    def _aliased(self, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        # A tied parameter stands in the state dict under each of its names.
        known = _entries(self.model, True)
        places = {id(known[name]): entry for name, entry in weights.items()}
        tied = self.model.named_parameters(remove_duplicate=False)
        return weights | {name: places[id(parameter)] for name, parameter in tied if id(parameter) in places}

    def fold(self) -> nn.Module:
        """An ordinary model with the composed weights, in evaluation mode.

        Raises:
            InputError: the model is linearised.
        """
        folded = deepcopy(self.model).requires_grad_(True)
        folded.load_state_dict(self.export())
        return folded.eval()

    def by_task(self) -> dict[str, Float[Tensor, "..."]]:
        """The coefficients of every vector: (), (m,) or (m, K)."""
        return dict(zip(self.tasks, self.coef.detach().clone(), strict=True))


def _entries(model: nn.Module, buffers: bool) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {name: parameter for name, parameter in model.named_parameters() if parameter.is_floating_point()}
    return found | {name: buffer for name, buffer in model.named_buffers() if buffers and buffer.is_floating_point()}


def _chosen(model: nn.Module, entries: Mapping[str, Tensor], blocks: str | Sequence[str]) -> tuple[str, ...]:
    if isinstance(blocks, str):
        choose("choice of blocks", blocks, BLOCKS)
        names = [name for name, entry in entries.items() if blocks == "all" or entry.ndim > 1]
    else:
        unknown = [name for name in blocks if name not in entries]
        if unknown:
            raise InputError(f"{type(model).__name__} has no block {some(unknown)}: it has {some(list(entries))}")
        names = [name for name in entries if name in set(blocks)]
    if not names:
        raise InputError(f"there is no block of {type(model).__name__} to compose")
    return tuple(names)


def _check(bank: TaskBank, model: nn.Module, entries: Mapping[str, Tensor], names: Sequence[str]) -> None:
    first = next(iter(bank.values()))
    state = model.state_dict()
    missing, unknown = [name for name in names if name not in first], [name for name in first if name not in state and name not in entries]
    shapes = [
        f"{name} {tuple(first[name].shape)} for {tuple(entries[name].shape)}"
        for name in names
        if name in first and first[name].shape != entries[name].shape
    ]
    found = [f"{kind}: {some(each)}" for kind, each in (("missing", missing), ("unknown", unknown), ("of another shape", shapes)) if each]
    if found:
        raise InputError(f"the task vectors are of another architecture than {type(model).__name__}; {'; '.join(found)}")


def _stored(vectors: Sequence[Tensor], like: Tensor, storage: torch.dtype | None) -> tuple[Tensor, Tensor | None]:
    wide = torch.promote_types(like.dtype, torch.float32)
    if storage != torch.int8:
        return torch.stack([vector.flatten().to(like.device, storage or wide) for vector in vectors]), None
    rows = torch.stack([vector.flatten().to(like.device, wide) for vector in vectors])
    scale = rows.abs().amax(dim=1).clamp(min=torch.finfo(wide).tiny) / 127
    return (rows / scale[:, None]).round().to(torch.int8), scale
