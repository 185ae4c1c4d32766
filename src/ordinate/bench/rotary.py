"""Turning queries and keys by rotary positions: ours, with tables of half the width that all layers share, against the way of `transformers`, which keeps both halves and rotates a copy."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from ordinate.bench.base import Bench, BenchResult, Timing, fitted_exponents
from ordinate.experiment.measure import measure_time
from ordinate.ground.errors import require
from ordinate.nn.rotary import Rotary

__all__ = ["BENCHES"]

HEADS, WIDTH, LAYERS = 8, 64, 4


def _ours(q: Tensor, k: Tensor) -> None:
    rule, length = Rotary(WIDTH), q.shape[2]
    turns = rule.turns(torch.arange(length, device=q.device), length)
    for _ in range(LAYERS):
        rule(q, turns)
        rule(k, turns, keys=True)


def _theirs(embedding: Any, turn: Callable[..., Any], q: Tensor, k: Tensor) -> None:
    cos, sin = embedding(q, torch.arange(q.shape[2], device=q.device)[None])
    for _ in range(LAYERS):
        turn(q, k, cos, sin)


def _rotary(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    llama = require("transformers.models.llama.modeling_llama", "language")
    config = require("transformers", "language").LlamaConfig(
        hidden_size=HEADS * WIDTH, num_attention_heads=HEADS, max_position_embeddings=1 << 16
    )
    embedding = llama.LlamaRotaryEmbedding(config).to(device)
    rows = []
    for length in sizes or ((256,) if quick else BENCHES["rotary"].sizes):
        q, k = (torch.randn(1, HEADS, length, WIDTH, device=device) for _ in range(2))
        calls = {"ordinate": partial(_ours, q, k), "transformers": partial(_theirs, embedding, llama.apply_rotary_pos_emb, q, k)}
        for name, call in calls.items():
            watch(f"{name}, {length} positions")
            with torch.no_grad():
                rows.append(Timing(name, length, measure_time(call, repeats=3 if quick else 15, warmup=2, device=device)))
    remarks = (f"{LAYERS} layers of {HEADS} heads of {WIDTH} dimensions, tables once a pass",)
    return BenchResult(rows, peer="transformers", size_name="length", exponents=fitted_exponents(rows), remarks=remarks)


BENCHES = {"rotary": Bench("Rotary positions against transformers'", _rotary, (1024, 2048, 4096, 8192))}
