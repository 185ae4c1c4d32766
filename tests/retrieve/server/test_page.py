"""The page, in a browser that is driven as a person would use it."""

import base64
import json
import re
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from ordinate.retrieve.server.page import page, page_policy
from ordinate.retrieve.server.thumbnails import Thumbnails
from tests.report.browser import CHROMIUM, Browser
from tests.retrieve.server.made import ROWS, MadeEncoder, MadeIndex, png, standing


def test_the_page_loads_nothing_from_elsewhere() -> None:
    text = page()
    assert not re.search(r"(?:src|srcset|action|data)\s*=", re.sub(r"<script>.*?</script>", "", text, flags=re.DOTALL))
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text) and "{{" not in text
    assert "url(" not in text.partition("<style>")[2].partition("</style>")[0] and "@import" not in text
    assert "innerHTML" not in text and "eval(" not in text
    policy = page_policy()
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy


def navigate(browser: Browser, client: httpx.Client, width: int = 1100, *, dark: bool = False) -> None:
    browser.call("Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=False)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}])
    browser._loaded = False
    browser.call("Page.navigate", url=str(client.base_url))
    while not browser._loaded:
        browser._receive()


def until(browser: Browser, expression: str) -> Any:
    end = time.monotonic() + 15
    while not (value := browser.evaluate(expression)):
        assert time.monotonic() < end, (expression, browser.evaluate("document.body.innerText"), browser.complaints)
        time.sleep(0.02)
    return value


def drop(browser: Browser, content: bytes, kind: str = "image/png") -> None:
    """Drop a file on the page."""
    carry = (
        "(text, type) => { const bytes = Uint8Array.from(atob(text), letter => letter.charCodeAt(0)), carried = new DataTransfer();"
        " carried.items.add(new File([bytes], 'dropped', { type }));"
        " document.getElementById('drop').dispatchEvent(new DragEvent('drop', { bubbles: true, cancelable: true, dataTransfer: carried })); }"
    )
    browser.evaluate(f"({carry})({json.dumps(base64.b64encode(content).decode())}, {json.dumps(kind)})")


class Named(MadeIndex):
    """Rows named as the pictures of a folder are, one of them hostile."""

    def search(self, *arguments: Any, **options: Any) -> Any:
        hits = super().search(*arguments, **options)
        return hits._replace(
            ids=[
                [
                    f"{int(name.removeprefix('row-')) % 6}.png" if place else "<img src=x onerror=alert(1)>.png"
                    for place, name in enumerate(row)
                ]
                for row in hits.ids
            ]
        )


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")
def test_a_dropped_picture_finds_its_neighbours(tmp_path: Path) -> None:
    for number in range(6):
        Image.new("RGB", (40, 40), (40 * number, 90, 200)).save(tmp_path / f"{number}.png")
    with standing(thumbnails=Thumbnails(str(tmp_path))) as (server, client), Browser() as browser:
        object.__setattr__(server.served, "index", Named())
        for dark in (False, True):
            for width in (390, 1100):
                navigate(browser, client, width, dark=dark)
                until(browser, "!document.getElementById('ask').hidden")
                assert browser.evaluate("document.documentElement.scrollWidth") == width
                background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
                assert (max(int(part) for part in re.findall(r"\d+", background)[:3]) < 80) == dark, (
                    "the style is let through by the policy"
                )
        assert f"{ROWS} rows of 16 dimensions" in browser.evaluate("document.body.innerText")
        drop(browser, png(60, 60))
        until(browser, "document.querySelectorAll('#found li').length === 12")
        until(browser, "[...document.querySelectorAll('#found img')].filter(image => image.naturalWidth === 192).length === 11")
        assert browser.evaluate("document.querySelector('#found .name').textContent").endswith("<img src=x onerror=alert(1)>.png"), (
            "text, never markup"
        )
        assert browser.evaluate("document.getElementById('seen').naturalWidth") == 60
        assert "12 neighbours in" in browser.evaluate("document.getElementById('took').value")
        assert browser.evaluate("document.documentElement.scrollWidth") == 1100
        browser.screenshot(tmp_path / "page.png", whole=True)

        change = (
            "(id, value) => { const field = document.getElementById(id); field.value = value; field.dispatchEvent(new Event('change')); }"
        )
        browser.evaluate(f"({change})('k', 5)")
        until(browser, "document.querySelectorAll('#found li').length === 5")
        assert browser.evaluate("[...document.querySelectorAll('#short option')].map(option => option.value)") == ["4", "8", "16"]
        browser.evaluate(f"({change})('short', 8)")
        until(browser, "document.getElementById('took').value.includes('5 neighbours')")

        drop(browser, b"no picture at all")
        until(browser, "document.getElementById('problem').textContent.includes('no picture that can be read')")
        drop(browser, png(seed=2))
        until(browser, "document.getElementById('problem').hidden")
        ours = str(client.base_url).rstrip("/")
        assert {url for url in browser.requests if not url.startswith((ours, "data:", "blob:"))} == set()
        # the picture that is missing and the one that was refused are said in the console too; nothing else is
        assert all("404" in said or "422" in said or "dropped" in said or "blob:" in said for said in browser.complaints), (
            browser.complaints
        )


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine: apt-get install chromium")
def test_a_token_is_asked_for_and_a_text_is_searched() -> None:
    token = "a-token-for-the-page"
    with standing(MadeEncoder("text"), token=token) as (_, client), Browser() as browser:
        navigate(browser, client)
        until(browser, "!document.getElementById('enter').hidden")
        enter = "token => { document.getElementById('token').value = token; document.getElementById('enter').requestSubmit(); }"
        browser.evaluate(f"({enter})('not-the-token')")
        until(browser, "document.getElementById('problem').textContent.includes('not the server')")
        browser.evaluate(f"({enter})('{token}')")
        until(browser, "!document.getElementById('ask').hidden")
        assert browser.evaluate("document.getElementById('drop').hidden && !document.getElementById('write').hidden")
        browser.evaluate("document.getElementById('text').value = 'a cat'; document.getElementById('ask').requestSubmit()")
        until(browser, "document.querySelectorAll('#found li').length === 12")
        assert browser.evaluate("document.getElementById('found').className") == "plain"
        navigate(browser, client)
        until(browser, "!document.getElementById('ask').hidden")  # the token is kept for the session
