import json
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ordinate.bench.base import BenchResult, Timing
from ordinate.experiment.provenance import machine, versions
from ordinate.ground.errors import InputError, MissingError
from ordinate.papers import catalogue
from ordinate.report import readme
from ordinate.report.benches import bench_files
from ordinate.report.markdown import plain, table
from ordinate.report.picture import draw_picture
from tests.report.made import HOSTILE_SLUG, entries

SOUND = tuple(entry for entry in entries() if entry.slug != HOSTILE_SLUG)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "docs").mkdir()
    (tmp_path / "README.md").write_text(f"# Above\n\n{readme.BEGIN}\nold\n{readme.END}\n\nBelow\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(readme, "list_entries", lambda own: SOUND)
    return tmp_path


def record_bench(folder: Path, name: str = "mixers", sizes: tuple[int | None, ...] = (256, 512, 1024)) -> Path:
    rows = [
        Timing(contender, size, 1e-6 * (size or 1) ** power, 1000 * (size or 1), {} if size else {"recall": 0.5})
        for size in sizes
        for contender, power in (("softmax", 2.0), ("nprf", 1.1))
    ]
    result = BenchResult(rows, "softmax", "length" if sizes[0] else "", {"nprf": (1.1, 1.0, 1.2)} if sizes[0] else {}, ("nprf | ahead",))
    document = {"bench": name, "title": "Mixers", "machine": machine(), "versions": versions(), "revision": None, **asdict(result)}
    path = folder / f"{name}.json"
    folder.mkdir(exist_ok=True)
    path.write_text(json.dumps(document))
    return path


def test_what_is_written_is_what_is_checked(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert readme.main(["--check"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert readme.main([]) == 0
    assert capsys.readouterr().out.split() == ["README.md", "docs/papers.md", "docs/picture.svg", "docs/benches.md"]
    assert readme.main(["--check"]) == 0 and readme.main([]) == 0
    assert capsys.readouterr().out == ""
    text = (root / "README.md").read_text()
    assert text.startswith("# Above\n") and text.endswith("\n\nBelow\n") and "old" not in text


@pytest.mark.parametrize("name", ["README.md", "docs/papers.md", "docs/picture.svg", "docs/benches.md"])
def test_a_change_by_hand_is_found(root: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    readme.main([])
    path = root / name
    path.write_text(path.read_text().replace("pointer-networks", "pointless-networks").replace("Benches", "Benchmarks"))
    capsys.readouterr()
    assert readme.main(["--check"]) == 1
    assert capsys.readouterr().err.splitlines() == [
        f"readme: not what the committed evidence says: {name}; write them with python -m ordinate.report.readme"
    ]


def test_other_evidence_is_found(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme.main([])
    monkeypatch.setattr(readme, "list_entries", lambda own: SOUND[:-1])
    assert readme.main(["--check"]) == 1


def test_the_table_has_a_line_a_paper_with_its_verdicts(root: Path) -> None:
    readme.main([])
    lines = [line for line in (root / "README.md").read_text().splitlines() if line.startswith("| [")]
    assert [line.split("]")[0].removeprefix("| [") for line in lines] == [entry.slug for entry in SOUND]
    (line,) = [line for line in lines if line.startswith("| [pointer-networks]")]
    assert line.endswith("| ✓\N{NO-BREAK SPACE}2 ✗\N{NO-BREAK SPACE}1 ?\N{NO-BREAK SPACE}1 |")
    assert sum(line.endswith("| not built yet |") for line in lines) == 49


def test_every_link_of_the_table_has_its_heading(root: Path) -> None:
    readme.main([])
    headings = {line.removeprefix("## ") for line in (root / "docs" / "papers.md").read_text().splitlines() if line.startswith("## ")}
    assert headings == {entry.slug for entry in SOUND}


def test_benches_are_tables_and_plots(root: Path) -> None:
    record_bench(root / "docs" / "benches")
    record_bench(root / "docs" / "benches", "flat", (None,))
    readme.main([])
    page = (root / "docs" / "benches.md").read_text()
    assert "| ms by length | softmax | nprf |" in page and "length\\^1.10 [1.00, 1.20]" in page and "nprf \\| ahead" in page
    assert "| contender | size | ms | recall |" in page
    for name in ("mixers-time", "mixers-memory"):
        assert f"(benches/{name}.svg)" in page
        assert (
            len(list(ElementTree.parse(root / "docs" / "benches" / f"{name}.svg").getroot().iter("{http://www.w3.org/2000/svg}circle")))
            == 8
        )
    (root / "docs" / "benches" / "mixers.json").unlink()
    assert readme.main(["--check"]) == 1
    readme.main([])
    assert not list((root / "docs" / "benches").glob("*.svg")) and readme.main(["--check"]) == 0


def test_a_damaged_bench_is_one_line(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = record_bench(root / "docs" / "benches")
    whole = path.read_text()
    for damage in (whole[:100], "[]", "{}", whole.replace('"seconds"', '"second"')):
        path.write_text(damage)
        assert readme.main([]) == 2
        assert capsys.readouterr().err.count("\n") == 1


def test_without_benches_the_page_says_so(tmp_path: Path) -> None:
    files = bench_files(tmp_path / "none")
    assert list(files) == ["benches.md"] and "None is recorded yet." in files["benches.md"]


def test_another_folder_or_option_is_refused(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert readme.main(["--chek"]) == 2
    (root / "README.md").write_text("no markers")
    assert readme.main([]) == 2
    (root / "README.md").unlink()
    assert readme.main([]) == 2
    assert capsys.readouterr().err.count("\n") == 3


def test_a_paper_that_cannot_be_loaded_is_not_left_out_silently(tmp_path: Path) -> None:
    with pytest.raises(MissingError, match=HOSTILE_SLUG):
        readme.written(tmp_path, entries())
    with pytest.raises(InputError, match="root"):
        readme.written(tmp_path, SOUND)


def test_the_picture_shows_every_checked_claim_and_a_comparison() -> None:
    root = ElementTree.fromstring(draw_picture(SOUND))
    squares = [found for found in root.iter("{http://www.w3.org/2000/svg}rect") if found.get("width") == "12"]
    assert len(squares) == 3 + 3 * 4 + 1, "the legend, each paper's checked claims and that of the comparison"
    text = " ".join(root.itertext())
    assert "12 claims of 3 papers" in text and "matryoshka: Good is better than poor." in text
    ElementTree.fromstring(draw_picture(entries()))
    assert "0 claims of 0 papers" in draw_picture([])


def test_the_picture_is_drawn_for_all_papers_checked() -> None:
    from dataclasses import replace

    built = next(entry for entry in SOUND if entry.slug == "matryoshka")
    every = [replace(built, slug=slug) for slug in catalogue()]
    root = ElementTree.fromstring(draw_picture(every))
    height = int(root.get("height", ""))
    squares = [found for found in root.iter("{http://www.w3.org/2000/svg}rect") if found.get("width") == "12"]
    assert len(squares) == 3 + 4 * 53 + 1
    assert all(0 <= float(found.get("x", "")) <= 948 and 0 <= float(found.get("y", "")) <= height - 12 for found in squares)


def test_markdown_shows_text_as_it_stands() -> None:
    assert plain("a|b  <c>\n$x$ *y* `z` [l](u)") == "a\\|b \\<c\\> \\$x\\$ \\*y\\* \\`z\\` \\[l\\](u)"
    assert table(["a", "b"], [["1", "2"]], right=[1]) == "| a | b |\n| --- | ---: |\n| 1 | 2 |\n"
