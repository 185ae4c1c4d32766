"""`ordinate data list` and `ordinate data get NAME`: named datasets, where they lie, and how they come here."""

from typing import Annotated

import typer

from ordinate.cli.options import DataDir, Json, Quiet

__all__ = ["app", "get", "list_datasets"]

app = typer.Typer(name="data", help="Named datasets: built in, or downloaded with a checked hash.")


@app.command("list")
def list_datasets(data_dir: DataDir = None, as_json: Json = False) -> None:
    """The named datasets, and which of them are here."""
    from rich.table import Table
    from rich.text import Text

    from ordinate.cli.console import print_json, say, show
    from ordinate.data.catalogue import catalogue
    from ordinate.data.home import data_folder

    if as_json:
        print_json(
            [
                {
                    "name": each.name,
                    "title": each.title,
                    "status": each.status(data_dir),
                    "folder": None if each.built_in else str(each.folder(data_dir)),
                    "layout": each.layout,
                    "licence": each.licence,
                    "home": each.home,
                    "opener": each.opener,
                    "checked": "sha256" if each.downloads else "rows and columns" if each.hub else None,
                }
                for each in catalogue().values()
            ]
        )
        return
    styles = {"built in": "green", "here": "green", "incomplete": "yellow", "absent": "dim"}
    table = Table(expand=True)
    table.add_column("dataset", style="bold", no_wrap=True)
    table.add_column("what it is", overflow="fold", ratio=3)
    table.add_column("opened by", overflow="fold", ratio=2)
    table.add_column("licence", overflow="fold", ratio=2)
    table.add_column("status", no_wrap=True)
    for each in catalogue().values():
        status = each.status(data_dir)
        table.add_row(each.name, each.title, each.opener.removeprefix("ordinate.data."), each.licence, Text(status, style=styles[status]))
    show(table)
    say(f"in {data_folder(data_dir)}; what is absent comes with  ordinate data get NAME")


@app.command("get")
def get(
    name: Annotated[str, typer.Argument(help="Which dataset, as in: ordinate data list.")],
    data_dir: DataDir = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Download a dataset, check it, and put it in place; nothing happens if it is here."""
    from contextlib import nullcontext

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from ordinate.cli.console import print_json, say
    from ordinate.data.catalogue import get_dataset
    from ordinate.data.download import get as get_files

    dataset = get_dataset(name)
    progress = None
    if not (quiet or as_json or dataset.built_in) and dataset.absent(data_dir):
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[size]}"))
        progress = Progress(*columns, console=Console(stderr=True))
    with progress or nullcontext():
        task = progress.add_task(name, total=len(dataset.downloads) or None, size="") if progress else None

        def watch(done: int, files: int, size: int) -> None:
            if progress is not None and task is not None:
                progress.update(task, completed=done, total=files, size=f"{size / 1e6:,.1f} MB")

        placed = get_files(name, data_dir, watch)
    if as_json:
        folder = None if dataset.built_in else str(dataset.folder(data_dir))
        print_json({"name": name, "status": dataset.status(data_dir), "folder": folder, "placed": [str(file) for file in placed]})
    elif dataset.built_in:
        say(f"{name} is built in: there is nothing to get")
    else:
        say(f"{name} is in {dataset.folder(data_dir)}" + (f": {len(placed)} files put there" if placed else " already"))
