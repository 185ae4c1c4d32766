"""Composition of task vectors against plain sums: a training step and its memory, and the products of low-rank vectors against `peft`.

The peer of a step is a direct reading of the formula: for every block a Python sum of n vectors, each times its coefficient, so that autograd keeps n products. It computes the same outputs and gradients.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F

from ordinate.adapt.composed_model import ComposedModel
from ordinate.adapt.lora_vectors import Factors, LowRankComposedModel, LowRankVector
from ordinate.adapt.task_vector import TaskBank, TaskVector
from ordinate.bench.base import Bench, BenchResult, Timing
from ordinate.experiment.measure import measure_peak_memory, measure_time
from ordinate.ground.errors import require
from ordinate.models.vit import VisionTransformer

__all__ = ["BENCHES", "SummedModel"]

BATCH = 8
SIDE = 32
RANK = 16


class SummedModel(nn.Module):
    """The peer: coefficients (n, m), and weights that are Python sums of n products a block."""

    def __init__(self, model: nn.Module, vectors: Sequence[Mapping[str, Tensor]]) -> None:
        super().__init__()
        self.model = deepcopy(model).requires_grad_(False)
        self.vectors = [list(vector.values()) for vector in vectors]
        self.names = list(vectors[0])
        self.coef = nn.Parameter(torch.zeros(len(vectors), len(self.names)))

    def forward(self, x: Tensor) -> Tensor:
        """Inputs to outputs of the model."""
        parameters = dict(self.model.named_parameters())
        changes = [
            sum(entry * mine[j] for entry, mine in zip(entries, self.coef, strict=True))
            for j, entries in enumerate(zip(*self.vectors, strict=True))
        ]
        weights = {name: parameters[name] + change for name, change in zip(self.names, changes, strict=True)}
        return functional_call(self.model, weights, (x,))


def _vit(device: str, quick: bool) -> nn.Module:
    torch.manual_seed(0)
    return VisionTransformer(dim=96 if quick else 192, depth=6, heads=3, image_size=SIDE, patch=8, in_chans=3, num_classes=10).to(device)


def _bank(model: nn.Module, count: int, dtype: torch.dtype = torch.float32) -> TaskBank:
    chance = torch.Generator().manual_seed(1)
    return TaskBank(
        {
            str(number): TaskVector(
                {
                    name: (0.01 * torch.randn(entry.shape, generator=chance)).to(entry.device, dtype)
                    for name, entry in model.named_parameters()
                }
            )
            for number in range(count)
        }
    )


def _train(model: nn.Module, x: Tensor, labels: Tensor) -> None:
    for parameter in model.parameters():
        parameter.grad = None
    F.cross_entropy(model(x), labels).backward()


def _step(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    for count in sizes or ((4, 21) if quick else BENCHES["composed-step"].sizes):
        model = _vit(device, quick)
        x, labels = torch.randn(BATCH, 3, SIDE, SIDE, device=device), torch.arange(BATCH, device=device)
        bank = _bank(model, count)
        contenders: dict[str, Callable[[], nn.Module]] = {
            "ordinate": partial(ComposedModel, model, bank),
            "ordinate, float16 bank": partial(ComposedModel, model, bank, storage=torch.float16),
            "ordinate, int8 bank": partial(ComposedModel, model, bank, storage=torch.int8),
            "sums": partial(SummedModel, model, list(bank.values())),
        }
        theta = sum(entry.numel() * entry.element_size() for entry in model.parameters())
        for contender, make in contenders.items():
            watch(f"{contender}, {count} vectors")
            composed = make()
            call = partial(_train, composed, x, labels)
            seconds = measure_time(call, repeats=3 if quick else 7, device=device)
            memory = None if quick else measure_peak_memory(call, device)
            held = sum(buffer.numel() * buffer.element_size() for name, buffer in composed.named_buffers() if name.startswith("vectors_"))
            kept = held or count * theta
            rows.append(Timing(contender, count, seconds, memory, extra={"bank, MB": kept / 1e6, "weights, MB": theta / 1e6}))
            del composed, call
    return BenchResult(rows, peer="ordinate", size_name="vectors", remarks=["memory is that of a step beyond model and bank"])


def _back(model: nn.Module, x: Tensor) -> None:
    model(x).square().sum().backward()


def _low_rank(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    peft = require("peft", "lora")
    rows: list[Timing] = []
    width, tokens = (256, 256) if quick else (768, 1024)
    for count in sizes or ((2, 8) if quick else BENCHES["low-rank-vectors"].sizes):
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)).to(device)
        x = torch.randn(tokens, width, device=device)
        vectors = {
            str(number): LowRankVector(
                {
                    f"{place}.weight": Factors(
                        0.1 * torch.randn(width, RANK, device=device), 0.1 * torch.randn(RANK, width, device=device), 1.0
                    )
                    for place in (0, 2)
                }
            )
            for number in range(count)
        }
        ours = LowRankComposedModel(model, vectors)
        dense = ComposedModel(model, {name: vector.dense(model.state_dict()) for name, vector in vectors.items()}, blocks="weights")
        wrapped = peft.get_peft_model(deepcopy(model), peft.LoraConfig(r=RANK, target_modules=["0", "2"]), adapter_name="0")
        for number in range(1, count):
            wrapped.add_adapter(str(number), peft.LoraConfig(r=RANK, target_modules=["0", "2"]))
        wrapped.base_model.set_adapter([str(number) for number in range(count)])
        contenders = {"ordinate, lazily": ours, "ordinate, densely": dense, "peft, adapter after adapter": wrapped}
        calls = {contender: partial(_back, model, x) for contender, model in contenders.items()}
        for contender, call in calls.items():
            watch(f"{contender}, {count} vectors")
            rows.append(
                Timing(
                    contender,
                    count,
                    measure_time(call, repeats=3 if quick else 7, device=device),
                    None if quick else measure_peak_memory(call, device),
                )
            )
    return BenchResult(
        rows,
        peer="ordinate, lazily",
        size_name="vectors",
        remarks=[f"rank {RANK}; peft runs all adapters and trains their factors, where the compositions train coefficients"],
    )


BENCHES = {
    "composed-step": Bench("A training step of coefficients on task vectors of a small ViT, against Python sums", _step, (4, 8, 21)),
    "low-rank-vectors": Bench(
        "A training step through low-rank task vectors, against dense ones and peft's adapters", _low_rank, (2, 8, 21)
    ),
}
