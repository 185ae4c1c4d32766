"""`ordinate convert FILE -o OUT`: a checkpoint in which a whole module was pickled, as plain weights."""

from pathlib import Path
from typing import Annotated

import typer

from ordinate.cli.options import Json

__all__ = ["convert"]


def convert(
    file: Annotated[Path, typer.Argument(help="A file of torch.save(module), as some official repositories publish.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .safetensors file to write.")],
    as_json: Json = False,
) -> None:
    """Read the weights out of a pickled module without running its code, and write them as safetensors."""
    from ordinate.adapt.pickled_checkpoint import convert_pickle
    from ordinate.cli.console import print_json, say
    from ordinate.ground.errors import InputError

    if out.exists():
        raise InputError(f"{out} exists already: choose another file with --out")
    state = convert_pickle(file, out)
    if as_json:
        print_json({"weights": str(out), "tensors": {name: list(entry.shape) for name, entry in state.items()}})
    else:
        say(f"{len(state):,} tensors, {sum(entry.numel() for entry in state.values()):,} numbers: {out}")
