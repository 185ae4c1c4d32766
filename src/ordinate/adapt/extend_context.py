"""A model whose positions go further than those it was trained at.

The weights are left; what changes is how rotary positions are stretched (`ordinate.nn.rotary_scaling`), and how long a sequence may be. A checkpoint of `transformers` is read (`ordinate.models.transformers_layouts`), extended and written
again; or the frequencies of a LLaMA there are changed in place.

Source: Pal et al., Giraffe: Adventures in Expanding Context Lengths in LLMs (2023).
"""

from typing import Any

import torch
from torch import nn

from ordinate.ground.errors import InputError
from ordinate.models.sequence import Sequence
from ordinate.nn.rotary import create_rotary

__all__ = ["extend_context", "patch_llama"]


def extend_context(model: Sequence, scaling: str = "plain", *, max_length: int | None = None, **arguments: Any) -> Sequence:
    """A copy of the model with other rotary positions.

    Args:
        model: with ``position="rotary"``.
        scaling: the rule, see `ordinate.nn.rotary.create_rotary`.
        max_length: how long sequences may be; as it was by default.
        arguments: of the rule. The base and the layout of the pairs stay as they were unless they are given.

    Raises:
        InputError: a model without rotary positions, an unknown rule, or one without what it needs.
    """
    if model.arguments.get("position") != "rotary":
        raise InputError(f"this model's positions are {model.arguments.get('position')}: only rotary positions can be stretched")
    before = model.arguments["position_arguments"] or {}
    kept = {name: before[name] for name in ("base", "layout") if name in before}
    if scaling == "xpos":
        kept.setdefault("layout", "half")  # the pairs of the model, not those of the rule's authors
    given = {**model.arguments, "position_arguments": {"scaling": scaling, **kept, **arguments}}
    extended = Sequence(**{**given, "max_length": max_length or model.max_length})
    state = model.state_dict()
    own = extended.state_dict()
    extended.load_state_dict({name: state.get(name, tensor) for name, tensor in own.items()})
    return extended.to(next(model.parameters())).train(model.training)


def patch_llama(model: nn.Module, scaling: str, **arguments: Any) -> nn.Module:
    """Change the rotary frequencies of a LLaMA of `transformers`, in place.

    Args:
        model: has a `rotary_emb` with `inv_freq`, as `LlamaForCausalLM` and its relatives have.
        scaling: a rule whose turns are those of its frequencies alone and do not depend on the length: plain, scaled, linear, power, truncated or ntk.
        arguments: of the rule; the base is the model's by default.

    Returns:
        The model.

    Raises:
        InputError: a model without such positions, or a rule that needs more than frequencies.
    """
    found = [module for module in model.modules() if isinstance(getattr(module, "inv_freq", None), torch.Tensor)]
    if not found:
        raise InputError(f"{type(model).__name__} has no rotary positions with frequencies (inv_freq) to change")
    for module in found:
        inverse: torch.Tensor = module.inv_freq  # type: ignore[assignment]
        base = float(inverse[-1] ** (-len(inverse) / (len(inverse) - 1))) if len(inverse) > 1 else 10000.0
        rule = create_rotary(2 * len(inverse), scaling, **{"base": base, **arguments})
        if rule.by_length or scaling == "randomised":
            raise InputError(f"{scaling} is more than a change of frequencies: read the model with read_transformers and extend that")
        inverse.copy_(rule.frequencies(1, inverse.device))
    return model
