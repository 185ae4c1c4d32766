"""The program: its commands, and how whatever goes wrong becomes one line and an exit status."""

import errno
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import NoReturn

import typer

from ordinate.cli import analyze, bench, compare, compose, convert, data, embed, generate, papers, plan, report, reproduce, train
from ordinate.ground.errors import InputError, MissingError

__all__ = ["app", "main"]

app = typer.Typer(
    name="ordinate",
    help="Representation learning, each method checked against its own paper's claims on your machine.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command("papers")(papers.papers)
app.command("reproduce")(reproduce.reproduce)
app.command("compare")(compare.compare)
app.command("train")(train.train)
app.command("embed")(embed.embed)
app.command("generate")(generate.generate)
app.command("compose")(compose.compose)
app.command("convert")(convert.convert)
app.add_typer(analyze.app, name="analyze")
app.add_typer(plan.app, name="plan")
app.command("bench")(bench.bench)
app.add_typer(data.app, name="data")
app.command("report")(report.report)


def _version(asked: bool) -> bool:
    if asked:
        from ordinate import __version__

        typer.echo(f"ordinate {__version__}")
        raise typer.Exit
    return asked


@app.callback()
def options(version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version and exit.")) -> None:
    """What every command shares."""


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the program and exit with its status."""
    sys.exit(_run(sys.argv[1:] if arguments is None else list(arguments)))


def _warn(message: Warning | str, *_: object, **__: object) -> None:
    print(f"ordinate: {' '.join(str(message).split())}", file=sys.stderr)


def _run(arguments: Sequence[str]) -> int:
    warnings.showwarning = _warn  # one line, as errors are, without the place in the sources
    try:
        status = app(args=list(arguments), prog_name="ordinate", standalone_mode=False)
        return status if isinstance(status, int) else 0
    except (KeyboardInterrupt, typer.Abort):
        return _refuse("interrupted", 130)
    except typer.Exit as stop:
        return stop.exit_code
    except MissingError as error:
        return _refuse(str(error), 3)
    except (InputError, ValueError) as error:
        return _refuse(str(error), 2)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115 - so that the interpreter's last flush finds a file
        return 0
    except OSError as error:
        return _refuse(_of_the_system(error), 2)
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error of the argument parser, whichever package its class lives in
            return _refuse(
                f"{error.format_message()} (see ordinate {arguments[0] if arguments and not arguments[0].startswith('-') else ''} --help)",
                2,
            )
        raise


def _of_the_system(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    if error.errno == errno.ENOSPC:
        return f"{where}the disk is full: free some space and go on with --resume; what was written before is whole"
    if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
        return f"{where}cannot be written: choose another folder with --out"
    return f"{where}{error.strerror or error}"


def _refuse(message: str, status: int) -> int:
    if os.environ.get("ORDINATE_TRACEBACK"):
        traceback.print_exc()
    line = " ".join(message.split())
    print(f"ordinate: {line}", file=sys.stderr)
    return status
