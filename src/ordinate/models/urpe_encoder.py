"""The encoder of the URPE experiments: post-normed blocks of universal attention without absolute positions, with a bias and a factor that all layers share.

``urpe`` reads the checkpoints of the official repository (github.com/lsj2408/URPE): fairseq's names, separate maps to queries, keys and values, and tables (entries, heads) by offset or bucket.
"""

import re
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.sequence import Sequence
from ordinate.nn.blocks import MixerBlock
from ordinate.nn.mixers.urpe import UniversalAttention
from ordinate.nn.official import OfficialCheckpoint, State

__all__ = ["MODELS", "OFFICIAL", "URPEEncoder"]


class URPEEncoder(Sequence):
    """Tokens (B, L) to logits (B, L, V), every position seeing all others."""

    def __init__(
        self,
        *,
        vocabulary: int,
        dim: int = 768,
        depth: int = 3,
        heads: int = 12,
        max_length: int = 128,
        relative: bool = True,
        universal: bool = True,
        mode: str = "unique",
        buckets: int = 64,
        max_distance: int = 128,
        position: str = "none",
        share: bool = True,
        mlp_ratio: float = 4.0,
        tied: bool = True,
    ) -> None:
        """
        Args:
            vocabulary: V.
            dim: the width D.
            depth: blocks.
            heads: of attention.
            max_length: the longest sequence with an entry of its own for every offset.
            relative: there is a bias by offset inside the softmax.
            universal: there is a factor by offset after it.
            mode: how offsets share entries, see `ordinate.nn.offset_tables.OffsetTable`.
            buckets, max_distance: for the modes with buckets.
            position: absolute positions beside them: ``"none"``, ``"absolute"`` or ``"sinusoidal"``.
            share: all layers have the same tables, as in the official code; otherwise each its own.
            mlp_ratio: the feed-forward layers' inner width over D.
            tied: the logits are dot products with the embeddings.

        Raises:
            InputError: see `Sequence`.
        """
        super().__init__(
            vocabulary=vocabulary,
            dim=dim,
            depth=depth,
            heads=heads,
            mixer="urpe",
            mixer_arguments={
                "relative": relative,
                "universal": universal,
                "mode": mode,
                "buckets": buckets,
                "max_distance": max_distance,
                "clamp": mode != "unique",
            },
            causal=False,
            max_length=max_length,
            position=position,
            mlp_ratio=mlp_ratio,
            pre_norm=False,
            embedding_norm=True,
            tied=tied,
            head_transform="gelu",
        )
        for module in self.modules():  # as BERT starts; the tables keep their own start
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=0.02)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)
        if share:
            first, *others = (cast(UniversalAttention, cast(MixerBlock, block).mixer) for block in self.backbone.blocks)
            for mixer in others:
                mixer.bias_table, mixer.scale_table = first.bias_table, first.scale_table


_NAMES = (
    (r"^sentence_encoder\.embed_tokens\.", "embedding."),
    (r"^sentence_encoder\.emb_layer_norm\.", "backbone.embedding_norm."),
    (r"^sentence_encoder\.layers\.(\d+)\.self_attn\.out_proj\.", r"backbone.blocks.\1.mixer.heads.out."),
    (r"^sentence_encoder\.layers\.(\d+)\.self_attn_layer_norm\.", r"backbone.blocks.\1.norm1."),
    (r"^sentence_encoder\.layers\.(\d+)\.fc1\.", r"backbone.blocks.\1.feed_forward.expand."),
    (r"^sentence_encoder\.layers\.(\d+)\.fc2\.", r"backbone.blocks.\1.feed_forward.contract."),
    (r"^sentence_encoder\.layers\.(\d+)\.final_layer_norm\.", r"backbone.blocks.\1.norm2."),
    (r"^lm_head\.dense\.", "transform.map."),
    (r"^lm_head\.layer_norm\.", "transform.norm."),
    (r"^lm_head\.", "head."),
)
_TABLES = {"sentence_encoder.rp_bias.weight": "bias_table", "sentence_encoder.ur_rp_bias.weight": "scale_table"}


def _build(state: State, **config: Any) -> URPEEncoder:
    """Everything is read off the weights but the number of heads where there are no tables, and what the buckets mean."""
    embedding = state.get("sentence_encoder.embed_tokens.weight")
    if embedding is None:
        raise InputError("this checkpoint has no sentence_encoder.embed_tokens.weight: give one of the URPE repository")
    tables = [state[name] for name in _TABLES if name in state]
    heads = tables[0].shape[1] if tables else config.get("num_attention_heads")
    if heads is None:
        raise InputError("a checkpoint without tables does not tell how many heads it has: give num_attention_heads")
    unique = config.get("rel_pos_unique", config.get("ur_attn_unique", True))
    if unique and tables and "max_seq_len" not in config:
        config["max_seq_len"] = (len(tables[0]) + 1) // 2
    return URPEEncoder(
        vocabulary=len(embedding),
        dim=embedding.shape[1],
        depth=1 + max(int(found[1]) for name in state if (found := re.match(r"sentence_encoder\.layers\.(\d+)\.", name))),
        heads=heads,
        max_length=config.get("max_seq_len", 128),
        relative="sentence_encoder.rp_bias.weight" in state,
        universal="sentence_encoder.ur_rp_bias.weight" in state,
        mode="unique" if unique else "bucketed",
        buckets=config.get("rp_bucket", 64),
        max_distance=config.get("max_rp", 128),
        mlp_ratio=len(state["sentence_encoder.layers.0.fc1.weight"]) / embedding.shape[1],
        tied="lm_head.weight" not in state or torch.equal(state["lm_head.weight"], embedding),
    )


def _translate(state: State, module: nn.Module) -> dict[str, Tensor]:
    depth = len(cast(URPEEncoder, module).backbone.blocks)
    rest = dict(state)
    found: dict[str, Tensor] = {}
    for theirs, ours in _TABLES.items():
        if theirs in rest:
            table = rest.pop(theirs).T
            found |= {f"backbone.blocks.{block}.mixer.{ours}.table": table for block in range(depth)}
    for block in range(depth):
        for part in ("weight", "bias"):
            names = [f"sentence_encoder.layers.{block}.self_attn.{name}_proj.{part}" for name in "qkv"]
            if all(name in rest for name in names):
                found[f"backbone.blocks.{block}.mixer.heads.qkv.{part}"] = torch.cat([rest.pop(name) for name in names])
    rest.setdefault("lm_head.weight", rest["sentence_encoder.embed_tokens.weight"])
    for name, tensor in rest.items():
        for pattern, ours in _NAMES:
            if re.match(pattern, name):
                name = re.sub(pattern, ours, name)
                break
        found[name] = tensor
    return found


MODELS = {"urpe-encoder": partial(URPEEncoder)}
OFFICIAL = {"urpe": OfficialCheckpoint(_build, _translate)}
