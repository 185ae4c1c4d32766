"""Token mixers, one file each. `create_mixer("nprf", dim=64, causal=True)`.

A file offers its mixers in `MIXERS: dict[str, type[TokenMixer]]`, under the names that the command line and the models use.
Every constructor takes `(dim, *, heads, causal, max_length)`, ignoring none silently, plus its own arguments with the paper's defaults.
"""

from functools import cache
from typing import Any

from ordinate.ground.discovery import offered
from ordinate.ground.errors import choose
from ordinate.nn.mixers.base import MixerSpec, TokenMixer

__all__ = ["MixerSpec", "TokenMixer", "create_mixer", "list_mixers", "mixer_class"]


@cache
def _mixers() -> dict[str, type[TokenMixer]]:
    return offered("ordinate.nn.mixers", "MIXERS")


def list_mixers() -> list[str]:
    """The names of the token mixers there are, sorted."""
    return sorted(_mixers())


def mixer_class(name: str) -> type[TokenMixer]:
    """The class of the mixer called `name`.

    Raises:
        InputError: there is none of that name.
    """
    return _mixers()[choose("mixer", name, _mixers())]


def create_mixer(name: str, dim: int, **arguments: Any) -> TokenMixer:
    """Build the mixer called `name` for width `dim`.

    Args:
        name: one of `list_mixers()`.
        dim: the width D.
        arguments: `causal`, `heads`, `max_length` where the mixer has them, and whatever else its own constructor takes.

    Raises:
        InputError: there is none of that name.
    """
    return mixer_class(name)(dim, **arguments)
