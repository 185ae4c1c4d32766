"""`python -m ordinate.report.readme [--check]`: what README.md and docs/ say of the evidence, written from the committed evidence alone.

It writes the table of papers between README's markers, `docs/papers.md`, `docs/benches.md` with its plots, and `docs/picture.svg`. The same evidence gives the same bytes; `--check` writes nothing and exits with 1
and one line if a file is not what it would write.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from ordinate.experiment.evidence import Evidence
from ordinate.ground.errors import InputError, MissingError
from ordinate.ground.files import write_text
from ordinate.report.benches import bench_files
from ordinate.report.gallery import machine_words
from ordinate.report.listing import Entry, list_entries
from ordinate.report.markdown import plain, table
from ordinate.report.picture import draw_picture
from ordinate.report.style import VERDICTS, verdict_key

__all__ = ["differing", "main", "papers_page", "papers_table", "written"]

BEGIN, END = "<!-- papers:begin -->", "<!-- papers:end -->"


def papers_table(entries: Sequence[Entry]) -> str:
    """A line a paper: what it is, where it lives, and its claims' verdicts."""
    rows = []
    for entry in entries:
        name = f"[{entry.slug}](docs/papers.md#{entry.slug})"
        title = f"[{plain(entry.title)}](https://arxiv.org/abs/{entry.arxiv}) ({entry.year})"
        rows.append([name, title, f"`{entry.room}`", _counts(entry) if entry.built else "not built yet"])
    return table(["paper", "title", "room", "claims"], rows)


def _counts(entry: Entry) -> str:
    counts = {key: sum(verdict_key(claim.verdict) == key for claim in entry.claims) for key in VERDICTS}
    return " ".join(f"{VERDICTS[key]}\N{NO-BREAK SPACE}{count}" for key, count in counts.items() if count) or "none"


def papers_page(entries: Sequence[Entry]) -> str:
    """The page of all papers: citation, claims beside what was found, parts, a snippet, and where the numbers come from."""
    parts = ["# The papers\n", "Written from the committed evidence by `python -m ordinate.report.readme`. ✓ holds · ✗ fails · ? inconclusive · – not checked.\n"]  # fmt: skip
    for entry in entries:
        cited = ". ".join(part for part in (entry.authors, entry.venue or str(entry.year)) if part)
        code = f" · [official code](https://{entry.code})" if entry.code else ""
        parts += [
            f"## {entry.slug}\n",
            f"**{plain(entry.title)}.** {plain(cited)}. [arXiv {entry.arxiv}](https://arxiv.org/abs/{entry.arxiv}){code}\n",
            f"{plain(entry.summary or entry.about)}\n",
        ]
        if not entry.built:
            parts.append("Not built yet.\n")
            continue
        rows = [
            [
                f"**{plain(claim.name)}**: {plain(claim.statement)}",
                plain(claim.published),
                plain(claim.measured or "–"),
                f"{VERDICTS[verdict_key(claim.verdict)]} {claim.verdict or 'not checked'}",
            ]
            for claim in entry.claims
        ]
        parts.append(table(["claim", "the paper", "here", "verdict"], rows))
        parts += [f"- *{plain(claim.name)}*: {plain(claim.note)}" for claim in entry.claims if claim.note and claim.verdict != "holds"]
        parts += ["", *(f"- {plain(part.name)}: `{part.where}`" for part in entry.provides)]
        parts += ["", f"```python\n{entry.snippet.strip()}\n```\n"] if entry.snippet else [""]
        if entry.outside:
            parts.append(f"Not checked here: {plain(entry.outside)}\n")
        parts += [f"{_origin(source.evidence)}\n" for source in entry.sources]
    return "\n".join(parts)


def _origin(evidence: Evidence) -> str:
    revision = evidence.revision
    seeds = ", ".join(str(seed) for seed in evidence.setting["seeds"])
    place = f"; revision `{revision['commit'][:10]}`{' with changes' if revision['dirty'] else ''}" if revision else ""
    words = f"{evidence.scale.capitalize()} scale, seeds {seeds}; {evidence.seconds:.0f} s on {machine_words(evidence.machine)}; torch {evidence.versions.get('torch', '?')}"
    return plain(words) + place + "."


def written(root: Path, entries: Sequence[Entry]) -> dict[Path, str | None]:
    """What the files should hold; None where one should not be.

    Args:
        root: of the repository.
        entries: the papers with their committed evidence.

    Raises:
        InputError: `root` is not the repository, README.md has no markers, or a bench's document is damaged.
        MissingError: a paper cannot be loaded here, so that the table would lack it.
    """
    missing = next((entry for entry in entries if entry.missing), None)
    if missing:
        raise MissingError(f"{missing.slug} cannot be loaded: {missing.missing}")
    readme, docs = root / "README.md", root / "docs"
    if not readme.is_file() or not docs.is_dir():
        raise InputError(f"{root.resolve()} has no README.md and docs/: run this in the repository's root")
    head, begin, rest = readme.read_text(encoding="utf-8").partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise InputError(f"{readme} has no {BEGIN} and {END} to write the table between")
    files: dict[Path, str | None] = dict.fromkeys(sorted((docs / "benches").glob("*.svg")))
    files[readme] = f"{head}{BEGIN}\n{papers_table(entries)}{END}{tail}"
    files[docs / "papers.md"] = papers_page(entries)
    files[docs / "picture.svg"] = draw_picture(entries)
    return files | {docs / name: text for name, text in bench_files(docs / "benches").items()}


def differing(files: dict[Path, str | None]) -> list[Path]:
    """The files that do not hold what they should."""
    return [path for path, text in files.items() if (path.read_text(encoding="utf-8") if path.is_file() else None) != text]


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the files, or check them.

    Args:
        arguments: `["--check"]` or none; those of the process by default.

    Returns:
        The exit status: 0 done, 1 a file differs, 2 bad usage, 3 something absent is needed.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given not in ([], ["--check"]):
        return _refuse(f"the only option is --check, not {' '.join(given)}", 2)
    root = Path()
    try:
        files = written(root, list_entries(own=False))
    except InputError as error:
        return _refuse(str(error), 2)
    except MissingError as error:
        return _refuse(str(error), 3)
    changed = differing(files)
    if given:
        names = ", ".join(str(path) for path in changed)
        return (
            _refuse(f"not what the committed evidence says: {names}; write them with python -m ordinate.report.readme", 1) if changed else 0
        )
    for path in changed:
        text = files[path]
        if text is None:
            path.unlink()
        else:
            write_text(path, text)
        print(path)
    return 0


def _refuse(line: str, status: int) -> int:
    print(f"readme: {line}", file=sys.stderr)
    return status


if __name__ == "__main__":
    sys.exit(main())
