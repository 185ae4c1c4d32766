import re
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from ordinate.papers import catalogue
from ordinate.report.gallery import write_gallery
from tests.report.browser import CHROMIUM, Browser
from tests.report.made import FULL, HOSTILE, HOSTILE_SLUG, STALE, entries

VOID = {"meta", "link", "input", "img", "br", "hr"}
LOADERS = {"src", "srcset", "data", "poster", "background", "action", "formaction", "xlink:href"}


class Page(HTMLParser):
    """Checks that elements are closed in order, and gathers them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        assert len(dict(attributes)) == len(attributes), f"<{tag}> has an attribute twice: {attributes}"
        self.found.append((tag, dict(attributes)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, f"</{tag}> at {self.getpos()}"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.text.append(data)

    def of(self, tag: str, **attributes: str) -> list[dict[str, str | None]]:
        return [
            found for name, found in self.found if name == tag and all((found.get(key) or "") == value for key, value in attributes.items())
        ]


@pytest.fixture(scope="module")
def gallery(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("gallery") / "report.html"
    write_gallery(path, entries())
    return path


@pytest.fixture(scope="module")
def page(gallery: Path) -> Page:
    return Page(gallery.read_text(encoding="utf-8"))


def test_every_paper_is_there_with_a_line_in_the_contents(page: Page) -> None:
    assert [found["id"] for found in page.of("article")] == list(catalogue())
    linked = {found["href"] for found in page.of("a")}
    assert {f"#{slug}" for slug in catalogue()} <= linked
    text = "".join(page.text)
    assert all(card.title in text for slug, card in catalogue().items() if slug not in (*FULL, HOSTILE_SLUG))


def test_identifiers_are_unique(page: Page) -> None:
    ids = [found["id"] for _, found in page.found if "id" in found]
    assert len(set(ids)) == len(ids)


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    for tag, attributes in page.found:
        assert not LOADERS & attributes.keys() - {"data"}, (tag, attributes)
        assert tag not in ("iframe", "object", "embed", "base", "image", "use", "video", "audio"), tag
        if tag == "link":
            assert (attributes["href"] or "").startswith("data:")
        if tag == "a":
            assert re.match(r"#|https://arxiv\.org/abs/|https://", attributes["href"] or ""), attributes
    styles = Path(__file__).parents[2] / "src/ordinate/report/templates/gallery.css"
    assert "url(" not in styles.read_text() and "@import" not in styles.read_text()


def test_what_is_hostile_is_only_ever_text(page: Page) -> None:
    assert len(page.of("script")) == 2 and not page.of("img")
    assert not [attributes for _, attributes in page.found if any(name.startswith("on") for name in attributes)]
    assert "".join(page.text).count(HOSTILE) >= 20


def test_a_claim_shows_both_figures_its_verdict_its_seeds_and_its_note(page: Page) -> None:
    text = re.sub(r"\s+", " ", " ".join(page.text))
    for part in (
        "Good is better than poor.",
        "by 39 (Table 1)",
        "It is not.",
        "score of good: 91",
        "≥ 30 %",
        "2 arms, 3 seeds, full scale",
    ):
        assert part in text, part
    strips = [found.get("aria-label") or "" for found in page.of("svg", **{"class": "strip"})]
    assert any("by seed: 40, 40, 42" in said and "95 % interval" in said for said in strips)
    assert page.of("svg", **{"class": "chart"})


def test_stale_checks_and_older_ones_are_marked(page: Page) -> None:
    stale = {(found["id"] or "").partition("--")[0] for found in page.of("li") if "data-stale" in found}
    assert stale == {STALE, HOSTILE_SLUG}
    text = re.sub(r"\s+", " ", " ".join(page.text))
    assert "1 module has changed since" in text and "9 modules have changed since" in text and "and more" in text
    assert "smoke scale, your run" in text and "holds full, committed" in text


def test_the_same_entries_give_the_same_bytes_and_a_failed_write_keeps_the_old_file(
    gallery: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = tmp_path / "again.html"
    write_gallery(again, entries())
    assert again.read_bytes() == gallery.read_bytes()
    monkeypatch.setattr("ordinate.ground.files._flush", lambda path: (_ for _ in ()).throw(OSError("no space")))
    with pytest.raises(OSError, match="no space"):
        write_gallery(again, entries()[:1])
    assert again.read_bytes() == gallery.read_bytes()


def test_a_gallery_without_evidence_is_whole(tmp_path: Path) -> None:
    from ordinate.report.listing import make_entry

    write_gallery(tmp_path / "bare.html", [make_entry(card, None) for card in catalogue().values()])
    assert len(Page((tmp_path / "bare.html").read_text(encoding="utf-8")).of("article")) == 53


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")
def test_a_browser_shows_it_without_complaint_and_within_the_width(gallery: Path) -> None:
    with Browser() as browser:
        for dark in (False, True):
            for width, phone in ((390, True), (1280, False)):
                browser.open(gallery, width, dark=dark, phone=phone)
                browser.evaluate("document.querySelectorAll('details').forEach(each => { each.open = true; })")
                assert browser.evaluate("document.documentElement.scrollWidth") == width, (width, dark)
                background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
                assert (max(int(part) for part in re.findall(r"\d+", background)[:3]) < 80) == dark
        browser.evaluate("document.getElementById('theme').click()")
        assert browser.evaluate("document.documentElement.dataset.theme") == "light"
        kept = None
        for _ in range(20):  # a browser writes down what a page stores when it finds the time
            browser.open(gallery, 1280, dark=True)
            kept = browser.evaluate("document.documentElement.dataset.theme")
            if kept == "light":
                break
            time.sleep(0.2)
        assert kept == "light", "the choice is kept"

        visible = "[...document.querySelectorAll('article')].filter(paper => !paper.hidden).map(paper => paper.id)"
        type_in = (
            "(text => { const field = document.getElementById('words'); field.value = text; field.dispatchEvent(new Event('input')); })"
        )
        browser.evaluate(f"{type_in}('recursive gated')")
        assert browser.evaluate(visible) == []
        assert browser.evaluate("!document.getElementById('none').hidden")
        browser.evaluate("document.getElementById('clear').click()")
        assert len(browser.evaluate(visible)) == 53
        browser.evaluate("document.querySelector('.chip.fails').click()")
        assert browser.evaluate(visible) == ["matryoshka", "pointer-networks"], "the one seed of nprf decides nothing"
        assert browser.evaluate(
            "[...document.querySelectorAll('article:not([hidden]) .claim:not([hidden])')].every(claim => claim.dataset.verdict === 'fails')"
        )
        browser.evaluate(f"{type_in}('MATRYOSHKA better')")
        assert browser.evaluate(visible) == ["matryoshka"]
        assert browser.complaints == []
        assert [url for url in browser.requests if not url.startswith(("file:", "data:"))] == []
