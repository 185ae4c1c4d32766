"""`ordinate plan ...`: how much data to get, before getting it. One file a subcommand."""

import typer

from ordinate.cli import plan_labels

__all__ = ["app"]

app = typer.Typer(help="How much data to get, before getting it.", no_args_is_help=True)


@app.callback()
def plans() -> None:
    """How much data to get, before getting it."""


app.command("labels")(plan_labels.labels)
