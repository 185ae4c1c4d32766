r"""Task vectors: what fine-tuning changed, as arithmetic on weights.

For pre-trained weights :math:`\theta_0` and fine-tuned ones :math:`\theta_1` of the same architecture the task vector is :math:`\tau = \theta_1 - \theta_0`, entry by entry and matched *by name*; integer entries (counters of
batches seen) are not weights and are passed over. Vectors are added, subtracted, negated, scaled and compared, and :math:`\theta_0 + \alpha \tau` is a state dict again. A bank is several vectors of one architecture by the
names of their tasks.

Sources: Ilharco et al., Editing Models with Task Arithmetic (ICLR 2023); Zhang et al., Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (NeurIPS 2024), section 2.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from ordinate.ground.errors import InputError, some
from ordinate.ground.files import atomic_path

__all__ = ["TaskBank", "TaskVector"]


class TaskVector(Mapping[str, Tensor]):
    """What was added to each floating-point entry of a state dict, by the entry's name."""

    def __init__(self, entries: Mapping[str, Tensor]) -> None:
        """
        Args:
            entries: floating tensors of any shape by name; they are not copied.

        Raises:
            InputError: no entries, or one that is not floating-point or not finite.
        """
        if not entries:
            raise InputError("a task vector needs at least one entry")
        for name, entry in entries.items():
            if not entry.is_floating_point():
                raise InputError(f"a task vector has floating-point entries, and {name} is {entry.dtype}")
            if not bool(torch.isfinite(entry).all()):
                raise InputError(f"{name} of the task vector is not finite: is it of a run that diverged, or too large for {entry.dtype}?")
        self._entries = dict(entries)

    @classmethod
    def from_checkpoints(
        cls, theta0: Mapping[str, Tensor], theta1: Mapping[str, Tensor], *, dtype: torch.dtype | None = None
    ) -> "TaskVector":
        """The difference of two state dicts, taken in float32 or better.

        Args:
            theta0: the pre-trained weights.
            theta1: the fine-tuned ones.
            dtype: of the entries; None is that of `theta0`. The published vectors are float16.

        Raises:
            InputError: entries that one of them lacks or that differ in shape: they are of different architectures; or the difference is not finite.
        """
        first, second = ({name: entry for name, entry in theta.items() if entry.is_floating_point()} for theta in (theta0, theta1))
        _check_same(first, second, "the fine-tuned weights", "the pre-trained ones")
        difference = {}
        for name, before in first.items():
            wide = torch.promote_types(before.dtype, torch.float32)
            change = second[name].detach().to(before.device, wide) - before.detach().to(wide)
            difference[name] = change.to(dtype or before.dtype)
        return cls(difference)

    def __getitem__(self, name: str) -> Tensor:
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    def blocks(self) -> dict[str, torch.Size]:
        """The entries' shapes, by name."""
        return {name: entry.shape for name, entry in self.items()}

    def _each(self, change: Callable[[Tensor], Tensor]) -> "TaskVector":
        return TaskVector({name: change(entry) for name, entry in self.items()})

    def __add__(self, other: "TaskVector") -> "TaskVector":
        _check_same(self, other, "the second task vector", "the first")
        return TaskVector({name: entry + other[name] for name, entry in self.items()})

    def __sub__(self, other: "TaskVector") -> "TaskVector":
        return self + -other

    def __neg__(self) -> "TaskVector":
        return self._each(torch.neg)

    def __mul__(self, factor: float) -> "TaskVector":
        return self._each(lambda entry: entry * factor)

    __rmul__ = __mul__

    def __pow__(self, power: float) -> "TaskVector":
        """Every element to a power."""
        return self._each(lambda entry: entry**power)

    def dot(self, other: "TaskVector") -> float:
        """The sum of products over the entries that both have.

        Raises:
            InputError: they share no entry, or one that differs in shape.
        """
        shared = [name for name in self if name in other]
        if not shared:
            raise InputError("the two task vectors share no entry")
        _check_same({name: self[name] for name in shared}, {name: other[name] for name in shared}, "the second task vector", "the first")
        return sum(float((self[name].double() * other[name].double()).sum()) for name in shared)

    def norm(self) -> float:
        """The Euclidean length."""
        return self.dot(self) ** 0.5

    def to(self, dtype: torch.dtype) -> "TaskVector":
        """The same vector in another floating-point type.

        Raises:
            InputError: an element is too large for it.
        """
        return self._each(lambda entry: entry.to(dtype))

    def apply_to(self, theta0: Mapping[str, Tensor], alpha: float = 1.0) -> dict[str, Tensor]:
        """The state dict theta_0 + alpha tau, in the types of theta_0; entries that the vector lacks are those of theta_0.

        Raises:
            InputError: the vector has entries that `theta0` lacks, or of another shape.
        """
        _check_same({name: theta0[name] for name in self if name in theta0}, self, "the task vector", "the weights")
        return {
            name: (entry.detach() + alpha * self[name].to(entry.device, torch.promote_types(entry.dtype, torch.float32))).to(entry.dtype)
            if name in self
            else entry.detach().clone()
            for name, entry in theta0.items()
        }

    def save(self, path: Path | str) -> None:
        """Write the entries to a safetensors file, whole or not at all."""
        with atomic_path(Path(path)) as temporary:
            save_file({name: entry.cpu().contiguous() for name, entry in self.items()}, temporary)

    @classmethod
    def load(cls, path: Path | str) -> "TaskVector":
        """Read what `save` wrote.

        Raises:
            InputError: no such file, or a damaged one.
        """
        path = Path(path)
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        try:
            return cls(load_file(path))
        except SafetensorError as error:
            raise InputError(f"{path} is not a whole safetensors file ({error}): restore it from a copy") from None


class TaskBank(Mapping[str, TaskVector]):
    """Task vectors of one architecture, by the names of their tasks."""

    def __init__(self, vectors: Mapping[str, TaskVector] | Iterable[TaskVector]) -> None:
        """
        Args:
            vectors: by name, or in an order that names them "0", "1", ...

        Raises:
            InputError: none, or vectors of different architectures.
        """
        named = vectors if isinstance(vectors, Mapping) else {str(number): vector for number, vector in enumerate(vectors)}
        if not named:
            raise InputError("a bank needs at least one task vector")
        first, *others = named
        for name in others:
            _check_same(named[first], named[name], f"task vector {name!r}", repr(first))
        self._vectors = dict(named)

    def __getitem__(self, name: str) -> TaskVector:
        return self._vectors[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._vectors)

    def __len__(self) -> int:
        return len(self._vectors)

    def without(self, *names: str) -> "TaskBank":
        """The bank without some tasks: in transfer, a target's own vector must not be among those composed.

        Raises:
            InputError: nothing would be left.
        """
        return TaskBank({name: vector for name, vector in self.items() if name not in names})

    def total(self) -> TaskVector:
        """The sum of all vectors."""
        first, *others = self.values()
        return sum(others, start=first)

    def similarity(self) -> Float[Tensor, "n n"]:
        """Cosines between all pairs (n, n), float64; 0 with a vector that is 0."""
        vectors = list(self.values())
        gram = torch.tensor([[a.dot(b) for b in vectors] for a in vectors], dtype=torch.float64)
        norms = gram.diagonal().sqrt()
        scale = norms[:, None] * norms
        return torch.where(scale > 0, gram / scale.clamp(min=torch.finfo(torch.float64).tiny), torch.zeros_like(gram))


def _check_same(first: Mapping[str, Tensor], second: Mapping[str, Tensor], what: str, other: str) -> None:
    missing, unknown = [name for name in first if name not in second], [name for name in second if name not in first]
    shapes = [
        f"{name} {tuple(second[name].shape)} for {tuple(first[name].shape)}"
        for name in first
        if name in second and first[name].shape != second[name].shape
    ]
    found = [
        f"{kind}: {some(names)}" for kind, names in (("missing", missing), ("unknown", unknown), ("of another shape", shapes)) if names
    ]
    if found:
        raise InputError(f"{what} and {other} are of different architectures; {'; '.join(found)}")
