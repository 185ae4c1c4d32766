"""`ordinate analyze criticality`: how to initialise an activation, how deep it may be, and whether networks agree."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ordinate.cli.options import Json, Out, Quiet, Seed, place

__all__ = ["criticality", "load_activation"]


def load_activation(where: str) -> Any:
    """What ``"my.py:MyActivation"`` names: a function, a module, or a class of modules, which is made without arguments.

    Raises:
        InputError: no such file or name, or a file that cannot be run.
    """
    from importlib.util import module_from_spec, spec_from_file_location
    from inspect import isclass

    from ordinate.ground.errors import InputError, choose

    file, colon, name = where.rpartition(":")
    path = Path(file)
    if not colon or not name.isidentifier():
        raise InputError(f"an activation of your own is given as file.py:name, not {where!r}")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    spec = spec_from_file_location(f"_activation_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is not a Python file")
    module = module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise InputError(f"{path} cannot be run: {type(error).__name__}: {error}") from None
    choose(f"name in {path.name}", name, [key for key in vars(module) if not key.startswith("_")])
    thing = getattr(module, name)
    if isclass(thing):
        try:
            return thing()
        except TypeError as error:
            raise InputError(f"{name} cannot be made without arguments ({error}): give a function that makes it, or an instance") from None
    return thing


def criticality(
    activation: Annotated[str | None, typer.Option("--activation", "-a", help="By name: gelu, tanh, relu, silu, ...")] = None,
    module: Annotated[str | None, typer.Option("--module", help="Your own: my.py:MyActivation, a function or a torch module.")] = None,
    depth: Annotated[int, typer.Option("--depth", help="Layers of the network.")] = 50,
    width: Annotated[int, typer.Option("--width", help="Neurons of a layer.")] = 512,
    outputs: Annotated[int, typer.Option("--outputs", help="Outputs of the network: more of them ask for fewer layers.")] = 10,
    draws: Annotated[int, typer.Option("--draws", help="Networks to draw for each initialisation; 0 for the recursions alone.")] = 20,
    seed: Seed = 0,
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """The critical initialisation of an activation, its class, the depth that suits a width, and real networks beside the recursions."""
    from rich.table import Table

    from ordinate.analyze.criticality_study import study_criticality
    from ordinate.cli.console import print_json, say, show
    from ordinate.ground.errors import InputError
    from ordinate.ground.files import write_json
    from ordinate.nn.activations import list_activations
    from ordinate.report.criticality import save_criticality_figure

    if (activation is None) == (module is None):
        raise InputError(f"give one activation, by --activation or by --module; by name there are {', '.join(list_activations())}")
    chosen: Any = activation if module is None else load_activation(module)
    study = study_criticality(chosen, depth=depth, width=width, n_out=outputs, draws=draws, seed=seed)
    report = study.report
    folder = place(f"analyze/criticality-{report.activation.strip('<>')}", out, False)
    document = study.to_json()
    write_json(folder / "criticality.json", document)
    figures = save_criticality_figure(study, folder)
    if as_json:
        print_json(document)
        return
    facts = Table(title=f"{report.activation}: {report.kind.replace('_', ' ')}", title_justify="left", show_header=False)
    facts.add_column("what", style="dim")
    facts.add_column("value")
    values = {
        "C_b, variance of biases": report.C_b,
        "C_W, variance of weights x inputs": report.C_W,
        "K*, variance at the fixed point": "any" if report.kind == "scale_invariant" else report.K_star,
        "nu, growth of fluctuations": report.nu,
        "a1, b1": None if report.a1 is None or report.b1 is None else f"{report.a1:.6g}, {report.b1:.6g}",
        "p_perp": report.p_perp,
        "curvature at K*": report.c,
        f"best depth at width {width}": study.best_depth,
        f"residual weight for depth {depth}": study.residual,
    }
    for what, value in values.items():
        if value is not None:
            facts.add_row(what, f"{value:.8g}" if isinstance(value, float) else str(value))
    show(facts)
    flows = Table(title=f"{depth} layers of {width}: foretold{' | in networks' if draws else ''}", title_justify="left")
    for column in ("initialisation", "C_b", "C_W", "z² at the end", "cosine at the end", "gradient, decades", "what becomes of it"):
        flows.add_column(column, justify="left" if column[0] in "iw" else "right", overflow="fold")
    for each in study.initialisations:
        numbers = [float(each.mean[-1]), float(each.cosine[-1]), each.gradient]
        cells = [f"{value:.3g}" for value in numbers]
        if each.signals is not None:
            seen = (each.signals.squares[:, -1].mean(), each.signals.cosines[:, -1].mean(), each.signals.decades.mean())
            cells = [f"{cell} | {float(value):.3g}" for cell, value in zip(cells, seen, strict=True)]
        flows.add_row(each.name, f"{each.C_b:.4g}", f"{each.C_W:.4g}", *cells, each.fate)
    show(flows)
    for remark in study.remarks:
        show(remark)
    if not quiet:
        say(f"numbers and {len(figures)} figures: {folder}")
