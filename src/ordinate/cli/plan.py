"""`ordinate plan ...`: what to buy before it is bought. One file a subcommand."""

import typer

from ordinate.cli import plan_labels

__all__ = ["app"]

app = typer.Typer(help="What to buy before it is bought: which samples, and how many.", no_args_is_help=True)


@app.callback()
def plans() -> None:
    """What to buy before it is bought: which samples, and how many."""


app.command("labels")(plan_labels.labels)
