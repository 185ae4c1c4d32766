"""`ordinate train MODEL --objective O --data D`: one model, trained and kept in a run folder."""

import shlex
import sys
from typing import Annotated

import typer

from ordinate.cli.options import Device, Json, Out, Quiet, Resume, Scale, Seed, Steps, make_setting, place

__all__ = ["train"]


def train(
    model: Annotated[str, typer.Argument(help="A registered model.")],
    objective: Annotated[str, typer.Option("--objective", help="What it is trained to do.")] = "classification",
    data: Annotated[
        str | None, typer.Option("--data", help="A named dataset, or a path: a folder of images (class = subfolder), a text file, ...")
    ] = None,
    matryoshka: Annotated[
        str | None, typer.Option("--matryoshka", help="Make every prefix of these sizes an embedding of its own: 8,16,32,64.")
    ] = None,
    arguments: Annotated[
        list[str] | None, typer.Option("--set", help="An argument of the model, name=value; may be given several times.")
    ] = None,
    options: Annotated[
        list[str] | None, typer.Option("--with", help="An option of the objective, name=value; may be given several times.")
    ] = None,
    parameters: Annotated[
        int | None, typer.Option("--parameters", help="Size the model to this many parameters, not its published size.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option("--batch-size", help="Rows a step.")] = None,
    lr: Annotated[float | None, typer.Option("--lr", help="The peak learning rate.")] = None,
    optimizer: Annotated[str | None, typer.Option("--optimizer", help="adamw, sgd or lbfgs.")] = None,
    schedule: Annotated[str | None, typer.Option("--schedule", help="cosine, wsd, triangular or constant.")] = None,
    weight_decay: Annotated[float | None, typer.Option("--weight-decay")] = None,
    clip: Annotated[float | None, typer.Option("--clip", help="The largest norm of the gradient.")] = None,
    ema: Annotated[float | None, typer.Option("--ema", help="Average the weights with this decay.")] = None,
    accumulate: Annotated[int | None, typer.Option("--accumulate", help="Cut each batch into this many pieces.")] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="32-true, bf16-mixed, 16-mixed or 64-true.")] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes that prepare batches ahead; changes nothing but the speed.")
    ] = 0,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Write TensorBoard's event files too.")] = False,
    strict: Annotated[bool, typer.Option("--strict", help="A corrupt file is an error, not a warning.")] = False,
    scale: Scale = "smoke",
    seed: Seed = 0,
    device: Device = "cpu",
    steps: Steps = None,
    out: Out = None,
    resume: Resume = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train one model and keep it: a run folder with config, checkpoints, metrics and the finished model."""
    from ordinate.cli.console import figure, print_json, say, show
    from ordinate.ground.errors import InputError
    from ordinate.tasks.training_run import Request, parse_assignments, train_run
    from ordinate.train.fit import first_process

    setting = make_setting(scale, 1, seed, device, steps)
    given = {
        "lr": lr,
        "optimizer": optimizer,
        "schedule": schedule,
        "weight_decay": weight_decay,
        "clip": clip,
        "ema": ema,
        "accumulate": accumulate,
        "precision": precision,
    }
    recipe = {name: value for name, value in given.items() if value is not None}
    with_options = parse_assignments(options or ())
    if matryoshka is not None:
        try:
            with_options["matryoshka"] = [int(part) for part in matryoshka.split(",")]
        except ValueError:
            raise InputError(f"--matryoshka takes sizes with commas between them, 8,16,32,64, not {matryoshka!r}") from None
    request = Request(
        model=model,
        objective=objective,
        data=data,
        arguments=parse_assignments(arguments or ()),
        options=with_options,
        recipe=recipe,
        batch_size=batch_size,
        parameters=parameters,
        strict=strict,
    )
    folder = place(f"train/{model}", out, resume)
    try:
        result = train_run(
            request,
            setting,
            folder,
            resume=resume,
            progress=not (quiet or as_json) and sys.stderr.isatty(),
            tensorboard=tensorboard,
            workers=workers,
        )
    except KeyboardInterrupt:
        words = [word for word in sys.argv[1:] if word != "--resume"]
        if out is None:
            words += ["--out", str(folder)]
        say(f"interrupted after the step at hand, which is kept. Go on with: {shlex.join(['ordinate', *words, '--resume'])}")
        raise
    if not first_process():
        return
    if as_json:
        print_json({"run": str(folder), **result})
        return
    for name, value in result.items():
        show(f"{name}: {figure(value)}")
    say(f"the run: {folder}")
