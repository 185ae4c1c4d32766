"""What a network computes on the way: activations taken, or replaced, by the names of its modules.

Any `torch.nn.Module` will do: a name is one of `model.named_modules()`, such as ``"blocks.2.attention"``, and stands for that module's output; with ``":input"`` after it, for its first argument. Where a module returns several things, as
recurrent layers and those of `transformers` do, its activation is the first tensor among them.

Hooks last as long as the ``with`` that made them, and whatever happens inside it they are removed. `Activations` keeps one forward pass at a time; `collect` goes through many batches and keeps only what a reduction leaves of them.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from difflib import get_close_matches
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from ordinate.ground.errors import InputError

__all__ = ["Activations", "collect", "named_module", "replaced"]

_INPUT = ":input"


def named_module(model: nn.Module, name: str) -> tuple[nn.Module, bool]:
    """The module of a name, and whether the name means its input.

    Raises:
        InputError: no module is called so; the nearest names are told.
    """
    path, at_input = (name.removesuffix(_INPUT), True) if name.endswith(_INPUT) else (name, False)
    modules = dict(model.named_modules())
    if path not in modules:
        known = [key for key in modules if key]
        near = get_close_matches(path, known, n=3, cutoff=0.4) or known[:3]
        raise InputError(f"{type(model).__name__} has no module {path!r}; there is {', '.join(near) or 'no named module'}")
    return modules[path], at_input


def _first_tensor(value: Any, name: str) -> Tensor:
    if isinstance(value, Tensor):
        return value
    items: Iterable[Any] = value.values() if isinstance(value, Mapping) else value if isinstance(value, tuple | list) else ()
    for item in items:
        if isinstance(item, Tensor):
            return item
    raise InputError(f"module {name!r} gives no tensor but {type(value).__name__}")


def _with_first_tensor(value: Any, tensor: Tensor) -> Any:
    """`value` with its first tensor replaced."""
    if isinstance(value, Tensor):
        return tensor
    if isinstance(value, Mapping):
        key = next(key for key, item in value.items() if isinstance(item, Tensor))
        changed = type(value)(value)  # type: ignore[call-arg]
        changed[key] = tensor  # type: ignore[index]
        return changed
    place = next(place for place, item in enumerate(value) if isinstance(item, Tensor))
    items = [*value[:place], tensor, *value[place + 1 :]]
    return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)


def _hook(module: nn.Module, at_input: bool, name: str, use: Callable[[Tensor], Tensor | None]) -> RemovableHandle:
    """Call `use` with the activation at every forward pass; a tensor that it returns takes its place."""

    def at_entry(_: nn.Module, arguments: tuple[Any, ...]) -> Any:
        changed = use(_first_tensor(arguments, name))
        return None if changed is None else _with_first_tensor(arguments, changed)

    def at_exit(_: nn.Module, __: tuple[Any, ...], output: Any) -> Any:
        changed = use(_first_tensor(output, name))
        return None if changed is None else _with_first_tensor(output, changed)

    return module.register_forward_pre_hook(at_entry) if at_input else module.register_forward_hook(at_exit)


class Activations(Mapping[str, Tensor]):
    """The named activations of the last forward pass: ``with Activations(model, names) as seen: model(x); seen["blocks.1"]``.

    A module that runs several times in one pass, as a shared or recurrent one does, leaves its last activation.
    """

    def __init__(self, model: nn.Module, names: Sequence[str], *, gradients: bool = False) -> None:
        """
        Args:
            model: any module.
            names: modules, by name; ``":input"`` after one means what goes into it.
            gradients: keep the graph, so that activations can be differentiated through; otherwise they are detached.

        Raises:
            InputError: a name that the model hasn't.
        """
        self._modules = {name: named_module(model, name) for name in names}
        self._gradients = gradients
        self._seen: dict[str, Tensor] = {}
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> "Activations":
        for name, (module, at_input) in self._modules.items():
            self._hooks.append(_hook(module, at_input, name, self._keep(name)))
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks.clear()

    def _keep(self, name: str) -> Callable[[Tensor], None]:
        def keep(activation: Tensor) -> None:
            self._seen[name] = activation if self._gradients else activation.detach()

        return keep

    def clear(self) -> None:
        """Let go of what was seen."""
        self._seen.clear()

    def __getitem__(self, name: str) -> Tensor:
        if name in self._modules and name not in self._seen:
            raise InputError(f"module {name!r} has not run yet: call the model inside the `with`")
        return self._seen[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._seen)

    def __len__(self) -> int:
        return len(self._seen)


@contextmanager
def replaced(model: nn.Module, changes: Mapping[str, Callable[[Tensor], Tensor]]) -> Iterator[nn.Module]:
    """Within the ``with``, every named activation a becomes ``changes[name](a)``, and the forward pass goes on from there: patching, ablation, steering.

    Raises:
        InputError: a name that the model hasn't, or a change that alters an activation's shape.
    """

    def checked(name: str, change: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        def use(activation: Tensor) -> Tensor:
            changed = change(activation)
            if changed.shape != activation.shape:
                raise InputError(f"what replaces {name!r} must keep its shape {tuple(activation.shape)}, not {tuple(changed.shape)}")
            return changed

        return use

    with ExitStack() as stack:
        for name, change in changes.items():
            module, at_input = named_module(model, name)
            stack.callback(_hook(module, at_input, name, checked(name, change)).remove)
        yield model


@torch.no_grad()
def collect(
    model: nn.Module,
    names: Sequence[str],
    batches: Iterable[Any],
    *,
    reduce: Callable[[Tensor], Tensor] | None = None,
    forward: Callable[[nn.Module, Any], Any] | None = None,
) -> dict[str, Tensor]:
    """The named activations of many batches, one after another along their first dimension, on the CPU.

    Args:
        model: any module; it runs as it is (call ``eval()`` first where that matters).
        names: as for `Activations`.
        batches: what the model takes, a batch at a time; they are drawn lazily.
        reduce: applied to each activation as soon as it is seen, such as a mean over positions; None keeps it whole.
        forward: how a batch goes through the model; None calls it with the batch.

    Raises:
        InputError: a name that the model hasn't, or no batch at all.
    """
    kept: dict[str, list[Tensor]] = {name: [] for name in names}
    with Activations(model, names) as seen:
        for batch in batches:
            if forward is None:
                model(batch)
            else:
                forward(model, batch)
            for name, parts in kept.items():
                activation = seen[name]
                parts.append((activation if reduce is None else reduce(activation)).cpu().clone())
            seen.clear()
    if any(not parts for parts in kept.values()):
        raise InputError("there is no batch to collect activations from")
    return {name: torch.cat(parts) for name, parts in kept.items()}
