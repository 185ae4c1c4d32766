"""`ordinate compare ARM ARM... --task T --data D`: the machinery behind every claim, on any data."""

import shlex
from typing import Annotated

import typer

from ordinate.cli.options import Device, Json, Out, Quiet, Resume, Scale, Seed, Seeds, Steps, make_setting, place

__all__ = ["compare"]


def compare(
    arms: Annotated[list[str], typer.Argument(help="What to compare, by name: the first is compared with each of the others.")],
    task: Annotated[str, typer.Option("--task", help="What is measured.")],
    data: Annotated[
        str | None, typer.Option("--data", help="A named dataset, or a path: a folder of images (class = subfolder), a text file, ...")
    ] = None,
    strict: Annotated[bool, typer.Option("--strict", help="A corrupt file is an error, not a warning.")] = False,
    scale: Scale = "smoke",
    seeds: Seeds = None,
    seed: Seed = 0,
    device: Device = "cpu",
    steps: Steps = None,
    out: Out = None,
    resume: Resume = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train and score arms side by side under one budget, several seeds each: a table, a plot, and the raw rows as JSON."""
    from dataclasses import asdict

    from ordinate.cli.console import arm_table, figure, print_json, say, show, watching
    from ordinate.experiment.comparison import Comparison
    from ordinate.experiment.difference import paired_differences
    from ordinate.experiment.folder import claim_folder
    from ordinate.experiment.provenance import machine, revision, versions
    from ordinate.ground.errors import InputError
    from ordinate.ground.files import write_json
    from ordinate.report.figures import save_table_figures
    from ordinate.tasks.registry import get_task

    setting = make_setting(scale, seeds, seed, device, steps)
    if len(set(arms)) != len(arms):
        raise InputError(f"an arm is named twice: {', '.join(arms)}")
    chosen = get_task(task)
    measured = chosen.from_data(data, setting, strict=strict)
    comparison = Comparison(task, measured, [measured.arm(name) for name in arms])
    folder = place(f"compare/{task}", out, resume)
    identity: dict[str, object] = {"task": task, "data": data, "arms": arms, "setting": setting.to_json()}
    claim_folder(folder, "comparison-card.json", identity, resume)
    try:
        with watching(quiet or as_json) as watch:
            table = comparison.run(setting, folder=folder / "rows", resume=resume, watch=watch)
    except KeyboardInterrupt:
        again = [
            "ordinate",
            "compare",
            *arms,
            "--task",
            task,
            *(["--data", data] if data else []),
            "--scale",
            scale,
            "--out",
            str(folder),
            "--resume",
        ]
        for option, value, default in (
            ("--seeds", seeds, None),
            ("--seed", seed, 0),
            ("--device", device, "cpu"),
            ("--steps", steps, None),
        ):
            again += [option, str(value)] if value != default else []
        say(f"interrupted; finished runs are kept. Go on with: {shlex.join(again + (['--strict'] if strict else []))}")
        raise
    differences = paired_differences(table)
    document = {
        **identity,
        "machine": machine(),
        "versions": versions(),
        "revision": revision(),
        **table.to_json(),
        "differences": [asdict(each) for each in differences],
    }
    write_json(folder / "comparison.json", document)
    figures = save_table_figures(table, folder / "figures")
    if as_json:
        print_json(document)
        return
    show(arm_table(table))
    for each in differences:
        ends = "(one seed: no interval)" if each.low is None else f"[{figure(each.low)}, {figure(each.high)}]"
        show(f"{each.metric}: {each.arm} minus {each.over} = {figure(each.mean, each.unit)} {ends}")
    say(f"rows and {len(figures)} figures: {folder}")
