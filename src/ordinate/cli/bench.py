"""`ordinate bench [NAME]`: time and memory against peers, side by side in one run."""

from typing import Annotated

import typer

from ordinate.cli.options import Device, Json, Out, Quiet, place

__all__ = ["bench", "parse_sizes"]


def parse_sizes(text: str) -> list[int]:
    """``"256..16384"`` (doubling) or ``"100,200,300"`` to numbers.

    Raises:
        InputError: neither of the two, or not positive and ascending.
    """
    from ordinate.ground.errors import InputError

    try:
        if ".." in text:
            low, high = (int(part) for part in text.split(".."))
            sizes = [low << power for power in range(64) if low > 0 and low << power <= high]
        else:
            sizes = [int(part) for part in text.split(",")]
    except ValueError:
        raise InputError(f"sizes are given as 256..16384 (doubling) or 100,200,300, not {text!r}") from None
    if not sizes or sizes[0] < 1 or sizes != sorted(set(sizes)):
        raise InputError(f"sizes must be positive and ascending, not {text!r}")
    return sizes


def bench(
    name: Annotated[str | None, typer.Argument(help="Which bench; without it, they are listed.")] = None,
    sizes: Annotated[str | None, typer.Option("--lengths", "--sizes", help="256..16384 (doubling), or 100,200,300.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Fewer repeats and sizes: seconds instead of minutes.")] = False,
    device: Device = "cpu",
    out: Out = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time and memory against peers, side by side in one run."""
    from dataclasses import asdict

    from rich.table import Table

    from ordinate.bench.base import get_bench, list_benches
    from ordinate.cli.console import print_json, say, show
    from ordinate.experiment.provenance import machine, revision, versions
    from ordinate.experiment.setting import Setting
    from ordinate.ground.files import write_json
    from ordinate.report.axis import number
    from ordinate.report.figures import save_bench_figures

    if name is None:
        titles = {bench: get_bench(bench).title for bench in list_benches()}
        if as_json:
            print_json(titles)
            return
        for bench, title in titles.items():
            show(f"{bench:20} {title}")
        return
    chosen = get_bench(name)
    wanted = parse_sizes(sizes) if sizes else None
    Setting(device=device)
    folder = place(f"bench/{name}", out, False)
    result = chosen.run(wanted, device, quick, (lambda text: None) if quiet or as_json else say)
    document = {
        "bench": name,
        "title": chosen.title,
        "machine": machine(),
        "versions": versions(),
        "revision": revision(),
        **asdict(result),
    }
    write_json(folder / "bench.json", document)
    figures = save_bench_figures(result, folder / "figures", chosen.title)
    if as_json:
        print_json(document)
        return
    extra = list(dict.fromkeys(key for row in result.rows for key in row.extra))
    table = Table(title=chosen.title, title_justify="left")
    for column in ("contender", *([result.size_name] if result.size_name else []), "ms", f"times {result.peer}", "peak MiB", *extra):
        table.add_column(column, justify="left" if column == "contender" else "right")
    peers = {row.size: row.seconds for row in result.rows if row.contender == result.peer}
    for row in result.rows:
        size = [f"{row.size:,}" if row.size is not None else ""] if result.size_name else []
        share = f"{row.seconds / peers[row.size]:.2f}" if row.size in peers else ""
        memory = f"{row.memory_bytes / 2**20:,.1f}" if row.memory_bytes is not None else "–"
        more = [number(value, 4) if isinstance(value, float | int) else str(value) for value in (row.extra.get(key, "") for key in extra)]
        table.add_row(row.contender, *size, number(row.seconds * 1e3), share, memory, *more)
    show(table)
    for contender, (slope, low, high) in result.exponents.items():
        show(f"{contender}: time grows as {result.size_name}^{slope:.2f} [{low:.2f}, {high:.2f}]")
    for remark in result.remarks:
        show(remark)
    say(f"rows and {len(figures)} figures: {folder}")
