"""A training run as an encoder of whatever it was trained on: images, texts, sets of numbers.

`load_encoder` looks up, by the kind of input that the run's card names, who encodes such a run. A file of this room offers its kinds in `ENCODERS: dict[str, type[Encoder]]`; a kind that nobody offers cannot be embedded, and one
line says so.

An objective may have a say in what the embedding is: one with the method `represent(z) -> z'` (a map in front of a fixed classifier, say) is read back from the run and applied, and its tensor `prototypes`, the fixed directions of
the classes, becomes part of the fingerprint.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ordinate.experiment.setting import Setting
from ordinate.ground.discovery import offered
from ordinate.ground.errors import InputError
from ordinate.ground.hashes import hash_tensors
from ordinate.nn.nested_head import complete_dims
from ordinate.objectives.base import Objective, create_objective
from ordinate.retrieve.fingerprint import Fingerprint
from ordinate.tasks.training_run import FinishedRun, load_run

__all__ = ["Encoder", "Inputs", "Represents", "load_encoder"]


@runtime_checkable
class Represents(Protocol):
    """An objective that says what the embedding is."""

    prototypes: Tensor

    def represent(self, z: Float[Tensor, "batch dim"]) -> Float[Tensor, "batch width"]:
        """The embeddings, out of the model's own."""
        ...


class Inputs(ABC):
    """Many inputs, opened but not read: a name each, and a label each where they have one (of a text, the text itself).

    Attributes:
        ids: the names, none twice.
        labels: or None.
        root: the folder that ids are files in, or None.
        stamp: something that differs when the inputs have changed.
        named: whether they are a named dataset, and not files of one's own.
    """

    ids: Sequence[str]
    labels: Sequence[str] | None = None
    root: Path | None = None
    stamp: str = ""
    named: bool = False

    @abstractmethod
    def take(self, rows: range) -> Any:
        """Some of them, as the encoder's `encode` takes them."""


class Encoder(ABC):
    """A finished run's model in evaluation mode.

    Attributes:
        kind: of inputs, in the singular.
        fingerprint: of the space.
        run: the folder.
    """

    kind: ClassVar[str]

    def __init__(self, run: FinishedRun, device: str = "cpu") -> None:
        """
        Args:
            run: a finished one.
            device: where it is computed.

        Raises:
            InputError: the run's model does not embed such inputs, or its files are damaged.
        """
        self.run = run.folder
        self.card: dict[str, Any] = run.card["input"]
        self.device = device
        self.model = run.model.to(device).eval()
        self.check()
        objective = _objective(run)
        self._after = objective.to(device).eval() if isinstance(objective, nn.Module) and isinstance(objective, Represents) else None
        with torch.no_grad():
            width = self.encode(self.example()).shape[1]
        named = [*sorted(self.model.state_dict().items())]
        if self._after is not None:
            named += [(f"objective.{name}", tensor) for name, tensor in sorted(self._after.state_dict().items())]
        prototypes = hash_tensors([("prototypes", self._after.prototypes)]) if self._after is not None else None
        self.fingerprint = Fingerprint(
            width=width,
            dims=_nested_sizes(run, objective, width),
            weights=hash_tensors(named, run.card["model"], repr(sorted(self.card.items()))),
            prototypes=prototypes,
            kind=self.kind,
        )

    @abstractmethod
    def check(self) -> None:
        """Raise `InputError` unless the model embeds such inputs."""

    @abstractmethod
    def example(self) -> Any:
        """One input, whatever it holds, as `encode` takes them: it tells how wide an embedding is."""

    @abstractmethod
    def embed(self, inputs: Any) -> Float[Tensor, "batch dim"]:
        """What the model makes of some inputs, float32, on the device."""

    @abstractmethod
    def open(self, given: str, *, strict: bool = False) -> Inputs:
        """Open a named dataset, a file or a folder of inputs.

        Args:
            given: the name or path.
            strict: an input that cannot be read is an error, not a warning.

        Raises:
            InputError: no such thing, or nothing in it that can be read.
            MissingError: a named dataset is not at hand.
        """

    @abstractmethod
    def query(self, given: str) -> Any:
        """One input out of what a person types, as `encode` takes them: a picture's path, a text, ...

        Raises:
            InputError: it is not one.
        """

    def encode(self, inputs: Any) -> Float[Tensor, "batch dim"]:
        """Embeddings (B, d) float32, on the device, without gradients.

        Args:
            inputs: a sequence of B: see the kind's own class.

        Raises:
            InputError: none, or one that cannot be read; an embedding that is not finite.
        """
        with torch.no_grad():
            vectors = self.embed(inputs).float()
            return vectors if self._after is None else self._after.represent(vectors).float()


def _objective(run: FinishedRun) -> Objective | None:
    """The run's objective with the state it ended in; None where it kept none, or cannot be made of what the run's card says."""
    path = run.folder / "objective.safetensors"
    if not path.is_file():
        return None
    objective = create_objective(run.card["objective"], run.model, **run.card["options"])
    try:
        objective.load_state_dict(load_file(path))
    except (SafetensorError, RuntimeError) as error:
        raise InputError(f"{path} does not fit the run ({' '.join(str(error).split())[:200]}): restore it from a copy") from None
    return objective


def _nested_sizes(run: FinishedRun, objective: Objective | None, width: int) -> tuple[int, ...]:
    """The sizes that were asked for, or that the objective says it has, and the width; the width alone where the embedding is not nested."""
    asked = run.card["options"].get("matryoshka") or run.card["options"].get("dims")
    sizes = asked or getattr(objective, "dims", None)
    return complete_dims([int(size) for size in sizes], width) if sizes else (width,)


@cache
def _encoders() -> dict[str, type[Encoder]]:
    return offered("ordinate.tasks", "ENCODERS")


def load_encoder(run: Path, device: str = "cpu") -> Encoder:
    """The encoder of a finished run.

    Args:
        run: the folder.
        device: where it is computed.

    Raises:
        InputError: no run, one that is not finished, one of a kind that cannot be embedded, or a damaged one.
        MissingError: there is no such device.
    """
    Setting(device=device)
    finished = load_run(Path(run))
    kind = finished.card.get("input", {}).get("kind")
    if kind not in _encoders():
        raise InputError(
            f"{run} was trained on {kind or 'inputs of no kind'}, which cannot be embedded: embedded are {', '.join(sorted(_encoders()))}"
        )
    return _encoders()[kind](finished, device)
