"""`ordinate analyze ...`: what can be found out about a network, an activation, a run. One file a subcommand."""

import typer

from ordinate.cli import analyze_circuit, analyze_criticality, analyze_features, analyze_incontext, analyze_probe

__all__ = ["app"]

app = typer.Typer(help="What can be found out about a network, an activation, a run.", no_args_is_help=True)


@app.callback()
def analyses() -> None:
    """What can be found out about a network, an activation, a run."""


app.command("circuit")(analyze_circuit.circuit)
app.command("criticality")(analyze_criticality.criticality)
app.command("features")(analyze_features.features)
app.command("incontext")(analyze_incontext.incontext)
app.command("probe")(analyze_probe.probe)
