"""Language models of `transformers` read into ours, and ours written as theirs: GPT-2's, LLaMA's and RoBERTa's layouts.

A checkpoint of that library is a folder with `config.json` and `model.safetensors` (or several, with an index). `read_transformers` builds the `Sequence` that computes the same function; `write_transformers` writes one of
ours, if its shape has a name there, as a folder that the library opens. A layout is the two translations between configurations, and between names of weights.

- ``gpt2``: pre-normed, learned positions, GELU by its tanh formula, a tied head; its matrices lie transposed.
- ``llama``: pre-normed by the root mean square, rotary positions, SiLU gates, heads that may share keys and values, no biases.
- ``roberta``: post-normed, not causal, learned positions counted from 2, a head with a transform; the one row of its token types is added to the positions.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ordinate.ground.errors import InputError, choose, some
from ordinate.ground.files import atomic_folder, read_json, write_json
from ordinate.models.sequence import Sequence

__all__ = ["LAYOUTS", "read_transformers", "write_transformers"]

State = Mapping[str, Tensor]


class _Layout(ABC):
    """One model type of that library."""

    @abstractmethod
    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """The constructor arguments of our model."""

    @abstractmethod
    def read(self, state: dict[str, Tensor], model: Sequence) -> dict[str, Tensor]:
        """Their weights under our names; takes what it uses out of `state`."""

    @abstractmethod
    def config(self, model: Sequence) -> dict[str, Any]:
        """Their configuration of our model. Raises `InputError` where there is none."""

    @abstractmethod
    def write(self, state: State, model: Sequence) -> dict[str, Tensor]:
        """Our weights under their names."""


def _refuse(config: Mapping[str, Any], expected: Mapping[str, tuple[Any, ...]]) -> None:
    for name, values in expected.items():
        if name in config and config[name] not in values:
            raise InputError(f"{name}={config[name]!r} of this configuration is not supported: only {' or '.join(map(repr, values))}")


def _needs(model: Sequence, layout: str, expected: Mapping[str, Any]) -> None:
    """Raise `InputError` unless our model's arguments are those that the layout can say."""
    for name, value in expected.items():
        if model.arguments[name] != value:
            raise InputError(f"a model with {name}={model.arguments[name]!r} has no {layout} layout, which means {name}={value!r}")


_ACTIVATIONS = {"gelu_new": "gelu-tanh", "gelu_pytorch_tanh": "gelu-tanh", "gelu": "gelu", "relu": "relu", "silu": "silu"}
_THEIRS = {"gelu-tanh": "gelu_new", "gelu": "gelu", "relu": "relu", "silu": "silu"}


class _Gpt2(_Layout):
    _BLOCK: ClassVar = {
        "ln_1": "norm1",
        "attn.c_attn": "mixer.heads.qkv",
        "attn.c_proj": "mixer.heads.out",
        "ln_2": "norm2",
        "mlp.c_fc": "feed_forward.expand",
        "mlp.c_proj": "feed_forward.contract",
    }
    _MATRICES = ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj")

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        _refuse(config, {"scale_attn_by_inverse_layer_idx": (False,), "scale_attn_weights": (True,), "add_cross_attention": (False,)})
        width = config["n_embd"]
        return {
            "vocabulary": config["vocab_size"],
            "dim": width,
            "depth": config["n_layer"],
            "heads": config["n_head"],
            "max_length": config["n_positions"],
            "mlp_ratio": (config.get("n_inner") or 4 * width) / width,
            "activation": _ACTIVATIONS[choose("activation", config.get("activation_function", "gelu_new"), _ACTIVATIONS)],
            "norm_eps": config.get("layer_norm_epsilon", 1e-5),
            "tied": config.get("tie_word_embeddings", True),
        }

    def read(self, state: dict[str, Tensor], model: Sequence) -> dict[str, Tensor]:
        state = {name.removeprefix("transformer."): tensor for name, tensor in state.items()}
        state = {name: tensor for name, tensor in state.items() if not name.endswith((".attn.bias", ".attn.masked_bias"))}
        found = {"embedding.weight": state.pop("wte.weight"), "backbone.positions.table": state.pop("wpe.weight")}
        found["head.weight"] = state.pop("lm_head.weight", found["embedding.weight"])
        for part in ("weight", "bias"):
            found[f"backbone.norm.{part}"] = state.pop(f"ln_f.{part}")
        for block in range(len(model.backbone.blocks)):
            for theirs, ours in self._BLOCK.items():
                for part in ("weight", "bias"):
                    tensor = state.pop(f"h.{block}.{theirs}.{part}")
                    found[f"backbone.blocks.{block}.{ours}.{part}"] = tensor.T if part == "weight" and theirs in self._MATRICES else tensor
        return found | state

    def config(self, model: Sequence) -> dict[str, Any]:
        _needs(
            model,
            "gpt2",
            {"causal": True, "mixer": "softmax", "position": "absolute", "norm": "layer", "pre_norm": True, "embedding_norm": False}
            | {"bias": True, "head_transform": None},
        )
        given = model.arguments
        if given["mixer_arguments"]:
            raise InputError(f"a model whose mixers take {given['mixer_arguments']} has no gpt2 layout")
        return {
            "model_type": "gpt2",
            "architectures": ["GPT2LMHeadModel"],
            "vocab_size": given["vocabulary"],
            "n_embd": given["dim"],
            "n_layer": given["depth"],
            "n_head": given["heads"],
            "n_positions": given["max_length"],
            "n_inner": round(given["mlp_ratio"] * given["dim"]),
            "activation_function": _THEIRS[choose("activation of a gpt2 layout", given["activation"], _THEIRS)],
            "layer_norm_epsilon": given["norm_eps"],
            "tie_word_embeddings": given["tied"],
        } | dict.fromkeys(("embd_pdrop", "resid_pdrop", "attn_pdrop"), given["dropout"])

    def write(self, state: State, model: Sequence) -> dict[str, Tensor]:
        found = {"transformer.wte.weight": state["embedding.weight"], "transformer.wpe.weight": state["backbone.positions.table"]}
        if not model.arguments["tied"]:
            found["lm_head.weight"] = state["head.weight"]
        for part in ("weight", "bias"):
            found[f"transformer.ln_f.{part}"] = state[f"backbone.norm.{part}"]
        for block in range(len(model.backbone.blocks)):
            for theirs, ours in self._BLOCK.items():
                for part in ("weight", "bias"):
                    tensor = state[f"backbone.blocks.{block}.{ours}.{part}"]
                    found[f"transformer.h.{block}.{theirs}.{part}"] = tensor.T if part == "weight" and theirs in self._MATRICES else tensor
        return found


class _Llama(_Layout):
    _BLOCK: ClassVar = {
        "input_layernorm": "norm1",
        "self_attn.o_proj": "mixer.heads.out",
        "post_attention_layernorm": "norm2",
        "mlp.gate_proj": "feed_forward.gate",
        "mlp.up_proj": "feed_forward.expand",
        "mlp.down_proj": "feed_forward.contract",
    }
    _RULES: ClassVar = {"linear": ("linear", "factor"), "dynamic": ("dynamic_ntk", "factor")}

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        _refuse(config, {"attention_bias": (False,), "mlp_bias": (False,), "hidden_act": ("silu",)})
        width, heads = config["hidden_size"], config["num_attention_heads"]
        rope = {**(config.get("rope_scaling") or {}), **(config.get("rope_parameters") or {})}
        position: dict[str, Any] = {"base": float(rope.get("rope_theta") or config.get("rope_theta") or 10000.0)}
        rule = rope.get("rope_type") or rope.get("type") or "default"
        if rule != "default":
            position["scaling"], argument = self._RULES[choose("rope_type", rule, self._RULES)]
            position[argument] = float(rope[argument])
        return {
            "vocabulary": config["vocab_size"],
            "dim": width,
            "depth": config["num_hidden_layers"],
            "heads": heads,
            "max_length": config["max_position_embeddings"],
            "mixer": "softmax-rotary",
            "mixer_arguments": {
                "bias": False,
                "kv_heads": config.get("num_key_value_heads") or heads,
                "head_dim": config.get("head_dim") or width // heads,
            },
            "position": "rotary",
            "position_arguments": position,
            "mlp_ratio": config["intermediate_size"] / width,
            "activation": "swiglu",
            "bias": False,
            "norm": "rms",
            "norm_eps": config.get("rms_norm_eps", 1e-6),
            "tied": config.get("tie_word_embeddings", False),
        }

    def read(self, state: dict[str, Tensor], model: Sequence) -> dict[str, Tensor]:
        state = {name.removeprefix("model."): tensor for name, tensor in state.items() if not name.endswith("rotary_emb.inv_freq")}
        found = {"embedding.weight": state.pop("embed_tokens.weight"), "backbone.norm.weight": state.pop("norm.weight")}
        found["head.weight"] = state.pop("lm_head.weight", found["embedding.weight"])
        for block in range(len(model.backbone.blocks)):
            here, theirs_here = f"backbone.blocks.{block}.", f"layers.{block}."
            found[f"{here}mixer.heads.qkv.weight"] = torch.cat([state.pop(f"{theirs_here}self_attn.{name}_proj.weight") for name in "qkv"])
            for theirs, ours in self._BLOCK.items():
                found[f"{here}{ours}.weight"] = state.pop(f"{theirs_here}{theirs}.weight")
        return found | state

    def config(self, model: Sequence) -> dict[str, Any]:
        _needs(
            model,
            "llama",
            {"causal": True, "mixer": "softmax-rotary", "position": "rotary", "norm": "rms", "pre_norm": True, "embedding_norm": False}
            | {"bias": False, "activation": "swiglu", "head_transform": None},
        )
        given = model.arguments
        inner, position = dict(given["mixer_arguments"] or {}), dict(given["position_arguments"] or {})
        if inner.get("bias", True):
            raise InputError("a model whose mixers have biases has no llama layout: it needs mixer_arguments={'bias': False}")
        rule = position.pop("scaling", "plain")
        rope: dict[str, Any] = {"rope_theta": position.pop("base", 10000.0), "rope_type": "default"}
        if rule != "plain":
            names = {ours: theirs for theirs, (ours, _) in self._RULES.items()}
            rope["rope_type"] = names[choose("rule of rotary positions of a llama layout", rule, names)]
            rope["factor"] = position.pop("factor", 1.0)
        if position.get("layout", "half") != "half":
            raise InputError("a model whose rotary pairs are interleaved has no llama layout: its pairs are halves")
        heads = given["heads"]
        return {
            "model_type": "llama",
            "architectures": ["LlamaForCausalLM"],
            "vocab_size": given["vocabulary"],
            "hidden_size": given["dim"],
            "num_hidden_layers": given["depth"],
            "num_attention_heads": heads,
            "num_key_value_heads": inner.get("kv_heads") or heads,
            "head_dim": inner.get("head_dim") or given["dim"] // heads,
            "max_position_embeddings": given["max_length"],
            "intermediate_size": round(given["mlp_ratio"] * given["dim"]),
            "hidden_act": "silu",
            "rms_norm_eps": given["norm_eps"],
            "rope_theta": rope["rope_theta"],
            "rope_parameters": rope,
            "attention_bias": False,
            "mlp_bias": False,
            "tie_word_embeddings": given["tied"],
        }

    def write(self, state: State, model: Sequence) -> dict[str, Tensor]:
        found = {"model.embed_tokens.weight": state["embedding.weight"], "model.norm.weight": state["backbone.norm.weight"]}
        if not model.arguments["tied"]:
            found["lm_head.weight"] = state["head.weight"]
        config = self.config(model)
        queries, keys = (config[name] * config["head_dim"] for name in ("num_attention_heads", "num_key_value_heads"))
        for block in range(len(model.backbone.blocks)):
            here, theirs_here = f"backbone.blocks.{block}.", f"model.layers.{block}."
            parts = state[f"{here}mixer.heads.qkv.weight"].split([queries, keys, keys])
            found |= {f"{theirs_here}self_attn.{name}_proj.weight": part for name, part in zip("qkv", parts, strict=True)}
            found |= {f"{theirs_here}{theirs}.weight": state[f"{here}{ours}.weight"] for theirs, ours in self._BLOCK.items()}
        return found


class _Roberta(_Layout):
    _FIRST = 2  # their positions are counted from padding's number plus one
    _BLOCK: ClassVar = {
        "attention.output.dense": "mixer.heads.out",
        "attention.output.LayerNorm": "norm1",
        "intermediate.dense": "feed_forward.expand",
        "output.dense": "feed_forward.contract",
        "output.LayerNorm": "norm2",
    }
    _HEAD: ClassVar = {"dense": "transform.map", "layer_norm": "transform.norm"}

    def arguments(self, config: Mapping[str, Any]) -> dict[str, Any]:
        _refuse(config, {"pad_token_id": (1,), "is_decoder": (False,), "position_embedding_type": ("absolute",), "type_vocab_size": (1,)})
        width = config["hidden_size"]
        return {
            "vocabulary": config["vocab_size"],
            "dim": width,
            "depth": config["num_hidden_layers"],
            "heads": config["num_attention_heads"],
            "max_length": config["max_position_embeddings"] - self._FIRST,
            "causal": False,
            "mlp_ratio": config["intermediate_size"] / width,
            "activation": _ACTIVATIONS[choose("activation", config.get("hidden_act", "gelu"), _ACTIVATIONS)],
            "norm_eps": config.get("layer_norm_eps", 1e-12),
            "pre_norm": False,
            "embedding_norm": True,
            "tied": config.get("tie_word_embeddings", True),
            "head_transform": "gelu",
        }

    def read(self, state: dict[str, Tensor], model: Sequence) -> dict[str, Tensor]:
        state = {name.removeprefix("roberta."): tensor for name, tensor in state.items() if "position_ids" not in name}
        state = {name: tensor for name, tensor in state.items() if not name.startswith("pooler.") and not name.endswith("token_type_ids")}
        places = state.pop("embeddings.position_embeddings.weight")[self._FIRST :]
        found = {"embedding.weight": state.pop("embeddings.word_embeddings.weight")}
        found["backbone.positions.table"] = places + state.pop("embeddings.token_type_embeddings.weight")[0]
        if "lm_head.dense.weight" not in state:
            raise InputError("this RoBERTa checkpoint has no lm_head: give one of a masked language model (RobertaForMaskedLM)")
        decoder = state.pop("lm_head.decoder.weight", None)
        found["head.weight"] = found["embedding.weight"] if decoder is None else decoder
        own, theirs_bias = state.pop("lm_head.bias", None), state.pop("lm_head.decoder.bias", None)
        found["head.bias"] = cast(Tensor, theirs_bias if own is None else own)
        for part in ("weight", "bias"):
            found[f"backbone.embedding_norm.{part}"] = state.pop(f"embeddings.LayerNorm.{part}")
            for theirs, ours in self._HEAD.items():
                found[f"{ours}.{part}"] = state.pop(f"lm_head.{theirs}.{part}")
        for block in range(len(model.backbone.blocks)):
            here, theirs_here = f"backbone.blocks.{block}.", f"encoder.layer.{block}."
            for part in ("weight", "bias"):
                names = [f"{theirs_here}attention.self.{name}.{part}" for name in ("query", "key", "value")]
                found[f"{here}mixer.heads.qkv.{part}"] = torch.cat([state.pop(name) for name in names])
                for theirs, ours in self._BLOCK.items():
                    found[f"{here}{ours}.{part}"] = state.pop(f"{theirs_here}{theirs}.{part}")
        return found | state

    def config(self, model: Sequence) -> dict[str, Any]:
        _needs(
            model,
            "roberta",
            {"causal": False, "mixer": "softmax", "position": "absolute", "norm": "layer", "pre_norm": False, "embedding_norm": True}
            | {"bias": True, "head_transform": "gelu"},
        )
        given = model.arguments
        if given["mixer_arguments"]:
            raise InputError(f"a model whose mixers take {given['mixer_arguments']} has no roberta layout")
        return {
            "model_type": "roberta",
            "architectures": ["RobertaForMaskedLM"],
            "vocab_size": given["vocabulary"],
            "hidden_size": given["dim"],
            "num_hidden_layers": given["depth"],
            "num_attention_heads": given["heads"],
            "max_position_embeddings": given["max_length"] + self._FIRST,
            "intermediate_size": round(given["mlp_ratio"] * given["dim"]),
            "hidden_act": _THEIRS[choose("activation of a roberta layout", given["activation"], _THEIRS)],
            "layer_norm_eps": given["norm_eps"],
            "type_vocab_size": 1,
            "pad_token_id": 1,
            "tie_word_embeddings": given["tied"],
        } | dict.fromkeys(("hidden_dropout_prob", "attention_probs_dropout_prob"), given["dropout"])

    def write(self, state: State, model: Sequence) -> dict[str, Tensor]:
        table = state["backbone.positions.table"]
        found = {
            "roberta.embeddings.word_embeddings.weight": state["embedding.weight"],
            "roberta.embeddings.position_embeddings.weight": torch.cat([table.new_zeros(self._FIRST, table.shape[1]), table]),
            "roberta.embeddings.token_type_embeddings.weight": table.new_zeros(1, table.shape[1]),
            "lm_head.bias": state["head.bias"],
        }
        if not model.arguments["tied"]:
            found["lm_head.decoder.weight"] = state["head.weight"]
        for part in ("weight", "bias"):
            found[f"roberta.embeddings.LayerNorm.{part}"] = state[f"backbone.embedding_norm.{part}"]
            found |= {f"lm_head.{theirs}.{part}": state[f"{ours}.{part}"] for theirs, ours in self._HEAD.items()}
        for block in range(len(model.backbone.blocks)):
            here, theirs_here = f"backbone.blocks.{block}.", f"roberta.encoder.layer.{block}."
            for part in ("weight", "bias"):
                for name, tensor in zip(("query", "key", "value"), state[f"{here}mixer.heads.qkv.{part}"].chunk(3), strict=True):
                    found[f"{theirs_here}attention.self.{name}.{part}"] = tensor
                found |= {f"{theirs_here}{theirs}.{part}": state[f"{here}{ours}.{part}"] for theirs, ours in self._BLOCK.items()}
        return found


LAYOUTS: dict[str, _Layout] = {"gpt2": _Gpt2(), "llama": _Llama(), "roberta": _Roberta()}
"""What is read and written, by the library's `model_type`."""


def read_transformers(folder: Path | str) -> Sequence:
    """Our model with the weights of a checkpoint of `transformers`, in evaluation mode.

    Args:
        folder: has `config.json`, and `model.safetensors` or the parts that `model.safetensors.index.json` lists.

    Raises:
        InputError: no such folder, another layout, an option that ours has not, or weights that do not fit.
    """
    folder = Path(folder).expanduser()
    if not (folder / "config.json").is_file():
        raise InputError(f"{folder} has no config.json: give a folder that transformers' save_pretrained has written")
    config = read_json(folder / "config.json")
    layout = LAYOUTS[choose("model_type", str(config.get("model_type")), LAYOUTS)]
    try:
        model = Sequence(**layout.arguments(config))
        translated = layout.read(_weights(folder), model)
    except KeyError as error:
        raise InputError(f"{folder} lacks {error.args[0]}, which a {config['model_type']} checkpoint has") from None
    expected = model.state_dict()
    strange = sorted(set(translated) - set(expected))
    if strange:
        raise InputError(f"{folder} holds weights that a {config['model_type']} model does not have: {some(strange)}")
    wrong = [name for name, tensor in translated.items() if tensor.shape != expected[name].shape]
    if wrong:
        name = wrong[0]
        raise InputError(f"{folder}: {name} has shape {tuple(translated[name].shape)}, and config.json says {tuple(expected[name].shape)}")
    model.load_state_dict(translated)
    return model.eval()


def _weights(folder: Path) -> dict[str, Tensor]:
    index = folder / "model.safetensors.index.json"
    files = sorted(set(read_json(index)["weight_map"].values())) if index.is_file() else ["model.safetensors"]
    found: dict[str, Tensor] = {}
    for name in files:
        if not (folder / name).is_file():
            raise InputError(f"{folder} has no {name}: give a folder with safetensors (save_pretrained writes them)")
        found |= load_file(folder / name)
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in found.items()}


def write_transformers(model: Sequence, folder: Path | str, layout: str | None = None) -> None:
    """Write `model` as the new folder `folder`, which `transformers` opens; whole or not at all.

    Args:
        model: one whose shape has a name there.
        folder: must not exist.
        layout: one of `LAYOUTS`; by default the one that fits.

    Raises:
        InputError: the folder exists, or the model has no such layout; the message says why.
    """
    folder = Path(folder)
    if folder.exists():
        raise InputError(f"{folder} exists already: choose another folder, or remove it first")
    name = layout or _fitting(model)
    chosen = LAYOUTS[choose("layout", name, LAYOUTS)]
    config = chosen.config(model)
    state = {key: tensor.detach().cpu().contiguous() for key, tensor in chosen.write(model.state_dict(), model).items()}
    with atomic_folder(folder) as temporary:
        write_json(temporary / "config.json", config)
        save_file(state, temporary / "model.safetensors", metadata={"format": "pt"})


def _fitting(model: Sequence) -> str:
    reasons = []
    for name, layout in LAYOUTS.items():
        try:
            layout.config(model)
        except InputError as error:
            reasons.append(str(error))
        else:
            return name
    raise InputError(f"this model has none of the layouts {', '.join(LAYOUTS)}: {'; '.join(reasons)}")
