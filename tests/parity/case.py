"""One recorded case of a paper's official code: its JSON, its tensors, and comparison at its own tolerance."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

PARITY = Path(os.environ.get("ORDINATE_PARITY", Path(__file__).resolve().parents[3] / "shared" / "parity"))


class Case:
    """`<slug>/<name>.json` with `<slug>/<name>.safetensors` beside it (some cases are JSON alone)."""

    def __init__(self, path: Path) -> None:
        self.slug = path.parent.name
        self.name = path.stem
        self.meta: dict[str, Any] = json.loads(path.read_text())
        weights = path.with_suffix(".safetensors")
        self.tensors: dict[str, Tensor] = load_file(weights) if weights.exists() else {}

    def _under(self, prefix: str) -> dict[str, Tensor]:
        return {key.removeprefix(prefix): tensor for key, tensor in self.tensors.items() if key.startswith(prefix)}

    def state(self, prefix: str = "") -> dict[str, Tensor]:
        """The official state dict; `prefix` picks one of several (``"mrl/"``)."""
        return self._under(f"state/{prefix}")

    def inputs(self) -> dict[str, Tensor]:
        return self._under("in/")

    def input(self, name: str) -> Tensor:
        return self.tensors[f"in/{name}"]

    def outputs(self) -> dict[str, Tensor]:
        return self._under("out/")

    def output(self, name: str) -> Tensor:
        return self.tensors[f"out/{name}"]

    def tolerance(self, key: str) -> float:
        """One of the JSON's own tolerances. A case that does not state it is an error, never a default."""
        return float(self.meta["tolerance"][key])

    def close(self, actual: Tensor, name: str, *, atol: float = 0.0, rtol: float = 0.0, rel: float | None = None) -> None:
        """Assert that `actual` is output `name`: element-wise within atol + rtol |expected|, or, with `rel`, to within that fraction of the output's largest magnitude."""
        expected = self.output(name)
        assert actual.shape == expected.shape, (
            f"{self.slug}/{self.name} {name}: shape {tuple(actual.shape)}, recorded {tuple(expected.shape)}"
        )
        if rel is not None:
            atol = rel * max(float(expected.abs().max()), 1e-12)
        torch.testing.assert_close(
            actual.detach().to(expected.dtype), expected, atol=atol, rtol=rtol, msg=lambda text: f"{self.slug}/{self.name} {name}: {text}"
        )


def cases() -> list[Path]:
    """Every recorded case, or none where the folder is absent."""
    return sorted(PARITY.glob("*/*.json")) if PARITY.is_dir() else []
