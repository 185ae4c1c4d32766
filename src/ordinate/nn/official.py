"""How a checkpoint of a paper's own repository becomes one of our modules.

Models and objectives offer their readers in `OFFICIAL: dict[str, OfficialCheckpoint]`; `ordinate.models.registry.load_official` finds them by name.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

__all__ = ["OfficialCheckpoint", "State"]

State = Mapping[str, Tensor]


@dataclass(frozen=True)
class OfficialCheckpoint:
    """How a checkpoint of a paper's own repository becomes one of our modules.

    Attributes:
        build: `build(state, **config)` -> our module, not yet loaded. `config` are the official constructor's arguments, by the official names; what is not given is read off the state's shapes where it can be.
        translate: `translate(state, module)` -> the state under our keys. Keys that the official code saves and nothing reads may be dropped; unknown ones are kept, so that they are reported.
        unwrap: keys under which the released files nest their state, tried in this order.
    """

    build: Callable[..., nn.Module]
    translate: Callable[[State, nn.Module], dict[str, Tensor]]
    unwrap: tuple[str, ...] = ("model", "module", "model_ema", "state_dict")
