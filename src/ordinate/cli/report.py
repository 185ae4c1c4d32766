"""`ordinate report`: one self-contained HTML gallery of all evidence."""

from pathlib import Path
from typing import Annotated

import typer

from ordinate.cli.options import Json, runs_folder

__all__ = ["report"]


def report(
    out: Annotated[Path, typer.Option("--out", "-o", help="The HTML file to write.")] = Path("ordinate-report.html"),
    as_json: Json = False,
) -> None:
    """Write one self-contained HTML file: every paper, its claims, the paper's figure beside ours, verdicts, seeds, curves."""
    from ordinate.cli.console import print_json, say
    from ordinate.ground.errors import InputError
    from ordinate.report.gallery import write_gallery
    from ordinate.report.listing import list_entries

    if out.is_dir():
        raise InputError(f"{out} is a folder: name the HTML file to write, {out / 'ordinate-report.html'} say")
    entries = list_entries(runs_folder())
    write_gallery(out, entries)
    if as_json:
        print_json({"report": str(out), "bytes": out.stat().st_size, "papers": len(entries)})
    else:
        say(f"{out} ({out.stat().st_size / 1e6:.1f} MB): open it in a browser")
