"""Whatever is sent, the answer is one message with the right status, and the server goes on."""

import base64
import io
import json
import zipfile
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from PIL import Image

from ordinate.retrieve.server.limits import Limits
from tests.retrieve.server.made import WIDTH, base64_png, bomb, png, raw, refused, standing, vectors

TOKEN = "the-token-of-the-tests"
LIMITS = Limits(body=200_000, pixels=100_000, rows=8, results=50, timeout=5.0)
NAN = "[" + ",".join(["NaN"] + ["0"] * (WIDTH - 1)) + "]"


def packed(data: bytes, name: str = "picture.png") -> bytes:
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr(name, data)
    return written.getvalue()


def saved(kind: str, size: tuple[int, int] = (30, 20)) -> bytes:
    written = io.BytesIO()
    Image.new("RGB", size).save(written, kind)
    return written.getvalue()


@pytest.fixture(scope="module")
def client() -> Iterator[httpx.Client]:
    with standing(limits=LIMITS, token=TOKEN) as (_, client):
        yield client
        assert client.get("/health").json() == {"status": "ok"}
        assert client.post("/search", json=vectors()).status_code == 200, "after all of that the server serves"


def rows(value: Any, place: int = 0) -> dict[str, Any]:
    row: list[Any] = [0.5] * WIDTH
    row[place] = value
    return {"vectors": [row]}


JSON = {
    "empty": (b"", 400, "not JSON"),
    "cut in half": (b'{"vectors": [[0.5, ', 400, "not JSON"),
    "no quotes": (b"{vectors: 1}", 400, "not JSON"),
    "not UTF-8": (b'{"images": ["\xff\xfe"]}', 400, "not JSON"),
    "two documents": (b"{}{}", 400, "not JSON"),
    "NaN": (f'{{"vectors": [{NAN}]}}'.encode(), 400, "not JSON"),
    "infinity": (f'{{"vectors": [{NAN.replace("NaN", "-Infinity")}]}}'.encode(), 400, "not JSON"),
    "nested deeply": (b'{"vectors": ' + b"[" * 50_000, 400, "not JSON"),
    "nested and closed": (b'{"vectors": ' + b"[" * 5000 + b"]" * 5000 + b"}", 400, "not JSON"),
    "a number of many digits": (b'{"vectors": [[' + b"9" * 100_000 + b"]]}", (400, 422), ""),
    "a list": (b"[1, 2]", 422, "must be an object"),
    "a text": (b'"vectors"', 422, "must be an object"),
    "null": (b"null", 422, "must be an object"),
    "true": (b"true", 422, "must be an object"),
    "nothing in it": (b"{}", 422, "give one of images or vectors"),
    "two things at once": (json.dumps({**vectors(), "images": [base64_png()]}).encode(), 422, "give one of"),
    "unknown keys": (json.dumps({**vectors(), "topk": 3}).encode(), 422, "unknown keys: 'topk'"),
    "many unknown keys": (json.dumps({f"key-{n}" * 20: 0 for n in range(500)}).encode(), 422, "and 497 more"),
    "a dunder": (json.dumps({**vectors(), "__class__": 1}).encode(), 422, "unknown keys"),
    "vectors null": (b'{"vectors": null}', 422, "vectors must be a list"),
    "vectors a number": (b'{"vectors": 3}', 422, "vectors must be a list"),
    "no vectors": (b'{"vectors": []}', 422, "at least one"),
    "one flat vector": (json.dumps({"vectors": [0.5] * 4}).encode(), 422, "vectors[0] must be a list of 16 numbers"),
    "too narrow": (json.dumps({"vectors": [[0.5] * 15]}).encode(), 422, "vectors[0] has 15 numbers: the index holds vectors of 16"),
    "too wide": (json.dumps({"vectors": [[0.5] * 17]}).encode(), 422, "vectors[0] has 17 numbers"),
    "ragged": (json.dumps({"vectors": [[0.5] * 16, [0.5] * 3]}).encode(), 422, "vectors[1] has 3 numbers"),
    "an empty vector": (b'{"vectors": [[]]}', 422, "vectors[0] has 0 numbers"),
    "a text for a number": (json.dumps(rows("0.5", 3)).encode(), 422, "vectors[0][3] is not a number"),
    "null for a number": (json.dumps(rows(None)).encode(), 422, "vectors[0][0] is not a number"),
    "true for a number": (json.dumps(rows(True)).encode(), 422, "is not a number"),
    "a list for a number": (json.dumps(rows([1])).encode(), 422, "is not a number"),
    "beyond float32": (json.dumps(rows(1e300)).encode(), 422, "must lie between"),
    "beyond float64": (b'{"vectors": [[1e999' + b",0" * 15 + b"]]}", (400, 422), ""),
    "a whole number beyond float32": (json.dumps(rows(10**60)).encode(), 422, "must lie between"),
    "too many vectors": (json.dumps(vectors(9)).encode(), 422, "9 vectors in one request: 8 are taken"),
    "k of none": (json.dumps({**vectors(), "k": 0}).encode(), 422, "k must be a whole number between 1 and 50"),
    "k below none": (json.dumps({**vectors(), "k": -1}).encode(), 422, "k must be"),
    "k too large": (json.dumps({**vectors(), "k": 51}).encode(), 422, "k must be"),
    "k huge": (json.dumps({**vectors(), "k": 10**30}).encode(), 422, "k must be"),
    "k a text": (json.dumps({**vectors(), "k": "3"}).encode(), 422, "k must be"),
    "k a fraction": (json.dumps({**vectors(), "k": 2.5}).encode(), 422, "k must be"),
    "k true": (json.dumps({**vectors(), "k": True}).encode(), 422, "k must be"),
    "a shortlist at no size": (json.dumps({**vectors(), "shortlist_dim": 0}).encode(), 422, "between 1 and 16"),
    "a shortlist wider than the index": (json.dumps({**vectors(), "shortlist_dim": 17}).encode(), 422, "shortlist_dim must be"),
    "reranked wider than the index": (json.dumps({**vectors(), "rerank_dim": 4096}).encode(), 422, "rerank_dim must be"),
    "another model's vectors": (json.dumps({**vectors(), "fingerprint": "of another model"}).encode(), 409, "another model"),
    "a fingerprint of nothing": (json.dumps({**vectors(), "fingerprint": ""}).encode(), 422, "fingerprint must be"),
    "a fingerprint that is a number": (json.dumps({**vectors(), "fingerprint": 7}).encode(), 422, "fingerprint must be"),
    "a long fingerprint": (json.dumps({**vectors(), "fingerprint": "a" * 10_000}).encode(), 422, "fingerprint must be"),
    "texts for a model of pictures": (b'{"texts": ["a cat"]}', 422, "unknown keys: 'texts'"),
    "no base64": (b'{"images": ["not base64!"]}', 422, "images[0] is not base64"),
    "base64 of nothing": (b'{"images": [""]}', 422, "images[0] is empty"),
    "base64 of no picture": (b'{"images": ["aGVsbG8="]}', 422, "images[0] is no picture"),
    "a number for a picture": (b'{"images": [3]}', 422, "images[0] must be a picture in base64"),
    "the second is broken": (json.dumps({"images": [base64_png(), "aGVsbG8="]}).encode(), 422, "images[1] is no picture"),
    "a bomb in base64": (json.dumps({"images": [base64.b64encode(bomb()).decode()]}).encode(), 413, "images[0] has more than"),
    "huge": (json.dumps(vectors(3000)).encode(), 413, "the body is longer than the 200,000 bytes"),
}  # fmt: skip

FILES = {
    "nothing": (b"", "image/png", 422, "the picture is empty"),
    "a text": (b"I am no picture", "image/png", 422, "the picture is no picture that can be read"),
    "half a header": (png()[:20], "image/png", 422, "no picture that can be read"),
    "truncated": (png(200, 150)[:2000], "image/png", (200, 422), ""),
    "a bomb": (bomb(), "image/png", 413, "more than the 100,000 pixels"),
    "a smaller bomb": (bomb(400, 300), "image/png", 413, "400 x 300 pixels, more than the 100,000 that are taken"),
    "a wide bomb": (bomb(100_001, 1), "image/png", 413, "more than the 100,000"),
    "no pixels": (bomb(0, 0), "image/png", 422, "no picture"),
    "a zip": (packed(png()), "image/png", 422, "no picture"),
    "a zip bomb": (packed(bytes(50_000_000)), "image/png", 422, "no picture"),
    "a zip, said to be one": (packed(png()), "application/zip", 415, "send application/json or one of image/png"),
    "a format that is not taken": (saved("TIFF"), "image/png", 422, "PNG, JPEG, WEBP, GIF, BMP are"),
    "postscript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "image/png", 422, "no picture"),
    "an SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>", "image/svg+xml", 415, "not 'image/svg+xml'"),
    "a form": (b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--x--", "multipart/form-data; boundary=x", 415, "not 'multipart/form-data'"),
    "text": (b"a cat", "text/plain", 415, "not 'text/plain'"),
    "a long media type": (b"x", "a" * 3000, 415, "not 'aaa"),
    "a picture that is too large a file": (png(300, 300), "image/png", 413, "longer than the 200,000 bytes"),
}  # fmt: skip


def check(answer: httpx.Response, status: Any, words: str) -> None:
    if isinstance(status, tuple):
        assert answer.status_code in status
        if answer.status_code >= 400:
            refused(answer, answer.status_code, words)
    else:
        refused(answer, status, words)


@pytest.mark.parametrize("name", JSON)
def test_json(client: httpx.Client, name: str) -> None:
    body, status, words = JSON[name]
    check(client.post("/search", content=body, headers={"Content-Type": "application/json"}), status, words)


@pytest.mark.parametrize("path", ["/search", "/embed"])
@pytest.mark.parametrize("name", FILES)
def test_files(client: httpx.Client, name: str, path: str) -> None:
    body, media, status, words = FILES[name]
    check(client.post(path, content=body, headers={"Content-Type": media}), status, words)


def test_there_are_more_than_fifty() -> None:
    assert len(JSON) + len(FILES) >= 50


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("POST", "/search?k=abc", 422, "k: "),
        ("POST", "/search?k=0", 422, "k: "),
        ("POST", "/search?k=51", 422, "k must be a whole number between 1 and 50"),
        ("POST", "/search?shortlist_dim=99", 422, "shortlist_dim must be"),
        ("POST", "/embed?dim=17", 422, "dim must be a whole number between 1 and 16"),
        ("POST", "/embed?dim=-3", 422, "dim: "),
        ("GET", "/search", 405, "/search is not asked by GET"),
        ("DELETE", "/embed", 405, "is not asked by DELETE"),
        ("POST", "/health", 405, "is not asked by POST"),
        ("GET", "/docs", 404, "there is nothing at /docs"),
        ("GET", "/../../etc/passwd", 404, "there is nothing at"),
        ("GET", "/%2e%2e/%2e%2e/etc/passwd", 404, "there is nothing at"),
        ("GET", "/thumbnail?id=../../etc/passwd", 404, "without pictures"),
        ("GET", "/thumbnail", 422, "id: "),
        ("GET", "/thumbnail?id=" + "a" * 5000, 422, "id: "),
        ("GET", "/" + "a" * 3000, 404, "there is nothing at"),
    ],
)
def test_addresses(client: httpx.Client, method: str, path: str, status: int, words: str) -> None:
    body = json.dumps(vectors()).encode() if method == "POST" else b""
    answer = client.request(method, path, content=body, headers={"Content-Type": "application/json"} if body else {})
    refused(answer, status, words)
    assert "/etc" not in answer.text or path in ("/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd")


@pytest.mark.parametrize("given", [None, "Bearer", f"Bearer {TOKEN}x", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", TOKEN])
@pytest.mark.parametrize("path", ["/search", "/about", "/metrics", "/openapi.json", "/thumbnail?id=x", "/nothing"])
def test_without_the_token_nothing_is_told(client: httpx.Client, path: str, given: str | None) -> None:
    headers = {} if given is None else {"Authorization": given}
    with httpx.Client(base_url=client.base_url) as stranger:
        answer = stranger.request("POST" if path == "/search" else "GET", path, headers=headers)
    refused(answer, 401, "token")
    assert answer.headers["www-authenticate"] == "Bearer" and TOKEN not in answer.text


def test_the_token_is_looked_at_before_the_body(client: httpx.Client) -> None:
    found = raw(client, b"POST /search HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 190000\r\n\r\n{")
    assert b" 401 " in found.splitlines()[0]


def test_a_body_announced_too_long_is_refused_before_it_comes(client: httpx.Client) -> None:
    head = f"POST /search HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nContent-Type: application/json\r\n"
    found = raw(client, f"{head}Content-Length: 999999999999\r\n\r\n".encode())
    assert b" 413 " in found.splitlines()[0]


def test_a_chunked_body_is_refused_as_soon_as_it_is_too_long(client: httpx.Client) -> None:
    sent = 0

    def pieces() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(40):
            sent += 1
            yield b" " * 10_000

    refused(client.post("/search", content=pieces(), headers={"Content-Type": "application/json"}), 413, "longer than the 200,000")
    assert sent
    head = f"POST /search HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {TOKEN}\r\nTransfer-Encoding: chunked\r\n\r\n"
    endless = head.encode() + b"".join(b"7530\r\n" + b" " * 30_000 + b"\r\n" for _ in range(8))  # and no end
    assert b" 413 " in raw(client, endless).splitlines()[0]


@pytest.mark.parametrize(
    "data",
    [
        b"\x00\x01\x02\x03\r\n\r\n",
        b"GET / HTTX/1.1\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /search HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
        b"POST /search HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X-Long: " + b"a" * 200_000 + b"\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(100),
    ],
    ids=["bytes", "version", "bare", "negative-length", "two-lengths", "long-header", "http2", "tls"],
)
def test_what_is_no_http(client: httpx.Client, data: bytes) -> None:
    found = raw(client, data, patience=0.5)
    assert found == b"" or found.startswith(b"HTTP/1.1 4"), found
    assert b"Traceback" not in found
