"""`ordinate papers [QUERY]`: what there is, what each provides, its claims and the latest verdicts."""

from typing import Annotated

import typer

from ordinate.cli.options import Json, runs_folder

__all__ = ["papers"]


def papers(
    query: Annotated[str | None, typer.Argument(help="Words to rank the papers by; a slug shows that paper whole.")] = None,
    as_json: Json = False,
) -> None:
    """The 53 papers: what each provides, its claims, and the latest verdicts; QUERY searches by meaning."""
    from rich.table import Table
    from rich.text import Text

    from ordinate.cli.console import print_json, say, show, verdict_text
    from ordinate.report.listing import list_entries, to_json

    entries = list_entries(runs_folder())
    if query is not None:
        from ordinate.report.search import rank

        exact = [entry for entry in entries if entry.slug == query]
        entries = exact or [entry for entry, _ in rank(entries, query)]
    if as_json:
        print_json(to_json(entries))
        return
    if not entries:
        say(f"no paper matches {query!r}: try other words, or ordinate papers for all")
        return
    if query is not None and len(entries) == 1:
        entry = entries[0]
        show(
            Text(f"{entry.title} ({entry.year})  arXiv {entry.arxiv}\n", style="bold")
            + Text(entry.summary or entry.about, style="not bold")
        )
        for part in entry.provides:
            show(Text(f"  {part.name}: {part.where}", style="dim"))
        claims = Table(show_lines=True, expand=True)
        for column in ("claim", "the paper's figure", "ours", "verdict"):
            claims.add_column(column, overflow="fold", no_wrap=column == "verdict")
        for claim in entry.claims:
            verdict = verdict_text(claim.verdict) + Text(f"\n{claim.scale or ''}{', stale' if claim.stale else ''}", style="dim")
            claims.add_row(
                Text(claim.name, style="bold") + Text(f"\n{claim.statement}", style="not bold"),
                Text(claim.published),
                Text(claim.measured or ""),
                verdict,
            )
        show(claims)
        return
    table = Table(expand=True)
    table.add_column("paper", style="bold", no_wrap=True)
    table.add_column("room", no_wrap=True)
    table.add_column("what it is", overflow="fold")
    table.add_column("claims", no_wrap=True)
    for entry in entries:
        verdicts = [claim.verdict for claim in entry.claims]
        counts = Text(" ").join(
            verdict_text(kind)[:1] + Text(f"{verdicts.count(kind)}")
            for kind in ("holds", "fails", "inconclusive", None)
            if verdicts.count(kind)
        )
        stale = Text(" stale", style="dim") if any(claim.stale for claim in entry.claims) else Text("")
        table.add_row(entry.slug, entry.room, entry.about, counts + stale if entry.built else Text("not built yet", style="dim"))
    show(table)
