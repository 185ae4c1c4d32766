"""What a user of the whole would do: train a nested, stationary model, embed, index, search, serve; train a better one, and let it take over while the server is under load."""

import base64
import hashlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from PIL import Image

from ordinate.data.images import open_images
from ordinate.ground.errors import MissingError
from ordinate.retrieve.metrics import recall, relevant_counts
from tests.cli.call import ordinate

TRAIN = ("train", "mlp", "--objective", "stationary", "--data", "mnist", "--set", "num_features=31", "--matryoshka", "8,16", "--json")
EACH = 12  # pictures of a class in the gallery


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A gallery of 120 training pictures and 60 held-out ones as files, and three runs: a model, a better one against the same class directions, and one that has nothing to do with either."""
    try:
        data = open_images("mnist")
    except MissingError:
        pytest.skip("MNIST is not at hand: ordinate data get mnist")
    root = tmp_path_factory.mktemp("walk")
    for name, part, each in (("gallery", data.train, EACH), ("asked", data.test, 6)):
        raw = part.source.take(torch.arange(600))  # type: ignore[attr-defined]
        for label in range(10):
            (root / name / str(label)).mkdir(parents=True)
            for row in (raw["label"] == label).nonzero()[:each, 0].tolist():
                Image.fromarray(raw["image"][row, 0].numpy()).save(root / name / str(label) / f"{row}.png")
    for name, steps in (("first", 120), ("better", 300)):
        said = ordinate(*TRAIN, "--steps", steps, "--out", root / name)
        assert said.status == 0, said.err
    said = ordinate("train", "mlp", "--data", "mnist", "--set", "num_features=31", "--steps", 2, "--out", root / "stranger", "-q")
    assert said.status == 0, said.err
    said = ordinate("embed", root / "first", root / "gallery", "-o", root / "gallery.parquet", "-q")
    assert said.status == 0, said.err
    said = ordinate("index", root / "gallery.parquet", "--dims", "8,16,31", "-o", root / "index", "--json")
    assert said.status == 0 and said.document["rows"] == 10 * EACH, said.err
    return root


@contextmanager
def serving(place: Path, *options: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    command = [
        sys.executable,
        "-m",
        "ordinate.cli",
        "serve",
        place / "first",
        "--index",
        place / "index",
        "--port",
        "0",
        "--json",
        *options,
    ]
    started = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        assert started.stdout is not None
        told = ""
        while not told.endswith("}\n"):
            line = started.stdout.readline()
            assert line, f"the server ended with {started.wait()}"
            told += line
        yield started, json.loads(told)["url"]
    finally:
        if started.poll() is None:
            started.kill()
        started.communicate()


def pictures(place: Path) -> tuple[list[str], torch.Tensor]:
    files = sorted((place / "asked").rglob("*.png"))
    return [base64.b64encode(file.read_bytes()).decode() for file in files], torch.tensor([int(file.parent.name) for file in files])


def found(client: httpx.Client, place: Path, **options: Any) -> tuple[float, set[str]]:
    """Recall@10 of the held-out pictures, and the fingerprints of the models that embedded them."""
    images, labels = pictures(place)
    answer = client.post("/search", json={"images": images, "k": 10, **options})
    assert answer.status_code == 200, answer.text
    rows = answer.json()["results"]
    hits = torch.tensor([[int(hit["label"]) for hit in row] for row in rows]) == labels[:, None]
    return recall(hits, 10, relevant_counts(labels, torch.arange(10).repeat_interleave(EACH))), {answer.json()["fingerprint"]}


def content(folder: Path) -> dict[str, tuple[str, int]]:
    """Every file that the vectors are in, by its hash and the time that it was written."""
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and "vectors-" in str(file)]
    assert files
    return {file.name: (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_mtime_ns) for file in files}


def until(what: str, true: Any) -> None:
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_a_better_model_takes_over_while_the_server_is_under_load(place: Path) -> None:
    before = content(place / "index")
    image = next((place / "asked" / "3").glob("*.png"))
    told = ordinate("search", place / "index", image, "-k", 3, "--shortlist-dim", 8, "--out", place / "sheet.png", "--json")
    assert told.status == 0 and len(told.document["queries"][0]["neighbours"]) == 3, told.err

    with serving(place) as (started, url), httpx.Client(base_url=url, timeout=30) as client, ThreadPoolExecutor(4) as pool:
        images, _ = pictures(place)
        answers: list[tuple[int, str]] = []
        ended = threading.Event()

        def ask(mine: Sequence[str]) -> None:
            with httpx.Client(base_url=url, timeout=30) as own:
                while not ended.is_set():
                    for each in mine:
                        answer = own.post("/search", json={"images": [each], "k": 10})
                        answers.append((answer.status_code, answer.json().get("fingerprint", answer.text)))

        recall_before, first = found(client, place)
        embedded = client.post("/embed", json={"images": images[:2]}).json()
        asking = [pool.submit(ask, images[start::4]) for start in range(4)]
        until("there is load", lambda: len(answers) > 50)

        refused = ordinate("replace", place / "stranger", "--index", place / "index")
        refused.refused(2, "the model of the index was trained against a table of fixed class directions, and the new one has none")
        replaced = ordinate("replace", place / "better", "--index", place / "index", "--json")
        assert replaced.status == 0 and replaced.document["accepted"] and replaced.document["compatible"], replaced.out + replaced.err
        until("the server takes it up", lambda: client.get("/about").json()["run"] == "better")
        count = len(answers)
        until("the load goes on", lambda: len(answers) > count + 50)
        recall_after, second = found(client, place)
        # vectors that clients embedded with the old model are still welcome
        again = client.post("/search", json={"vectors": embedded["vectors"], "fingerprint": embedded["fingerprint"]})
        ended.set()
        for each in asking:
            each.result()
        print(f"recall@10 {recall_before:.3f} before, {recall_after:.3f} after; {len(answers)} requests under load")

        assert {status for status, _ in answers} == {200}, "no request failed"
        assert {name for _, name in answers} == first | second and first != second, "some were answered by either model"
        assert again.status_code == 200
        assert recall_after > recall_before > 0.3
        assert content(place / "index") == before, "nothing of the gallery was embedded or written again"
        nested, _ = found(client, place, shortlist_dim=8, shortlist=40)
        assert abs(nested - recall_after) < 0.1
        assert client.get("/thumbnail", params={"id": "3/" + next((place / "gallery" / "3").iterdir()).name}).content.startswith(b"\x89PNG")

        started.send_signal(signal.SIGKILL)
        started.wait(10)
    with serving(place) as (started, url):
        assert httpx.get(f"{url}/about").json()["run"] == "better", "after a kill, the same command serves what was recorded"
        started.send_signal(signal.SIGTERM)
        assert started.wait(20) == 0


def test_a_model_that_is_not_compatible_is_refused_with_numbers(place: Path, tmp_path: Path) -> None:
    """Half trained against the same directions: its vectors are as wide, and its table is the same; only the numbers tell."""
    run = tmp_path / "worse"
    assert ordinate(*TRAIN, "--steps", 3, "--out", run).status == 0
    card = (place / "index" / "index.json").read_bytes()
    said = ordinate("replace", run, "--index", place / "index", "--json")
    assert said.status == 1 and not said.document["accepted"] and not said.document["compatible"]
    assert said.document["cross_test"] < said.document["self_test"] - 0.05 and said.document["queries"] > 1000
    shown = ordinate("replace", run, "--index", place / "index")
    assert shown.status == 1 and "refused: not compatible: new queries are identified in the old gallery at a rate of" in " ".join(
        shown.err.split()
    )
    assert "mean cosine, same class" in shown.out and "%" in shown.out
    assert (place / "index" / "index.json").read_bytes() == card, "the index is as it was"


def test_models_that_cannot_share_an_index_are_refused_without_numbers(place: Path, tmp_path: Path) -> None:
    narrow = tmp_path / "narrow"
    words = [word if word != "num_features=31" else "num_features=15" for word in TRAIN]
    words[words.index("8,16")] = "4,8"
    assert ordinate(*words, "--steps", 2, "--out", narrow).status == 0
    ordinate("replace", narrow, "--index", place / "index").refused(2, "its vectors are 15 wide, and those of the index's model 31")
    turned = tmp_path / "turned"
    assert ordinate(*TRAIN, "--steps", 2, "--with", "turned=7", "--out", turned).status == 0
    ordinate("replace", turned, "--index", place / "index").refused(2, "table of fixed class directions, and the new one has another")
    front = tmp_path / "front"
    assert ordinate(*TRAIN, "--steps", 2, "--with", "allocation=front", "--out", front).status == 0
    ordinate("replace", front, "--index", place / "index").refused(2, "class maps must agree")
    ordinate("replace", place / "better", "--index", place / "nothing").refused(2, "is not an index")
    ordinate("replace", place / "nothing", "--index", place / "index").refused(2, "is not a training run")
    ordinate("replace", place / "better", "--index", place / "index", "--old", place / "better").refused(2, "did not make the vectors")
    ordinate("replace", place / "better", "--index", place / "index", "--old", place / "gone").refused(
        2, "is not there: name its run with --old"
    )
    ordinate("replace", place / "better", "--index", place / "index", "--data", "mnits").refused(2, "no such file or folder")
    same = ordinate("replace", place / "better", "--index", place / "index", "--data", place / "asked", "--dry-run", "--json")
    assert same.status == 0 and not same.document["accepted"] and same.document["queries"] + same.document["gallery"] == 60


@pytest.mark.parametrize(
    ("options", "status", "words"),
    [
        (("--host", "0.0.0.0"), 2, "0.0.0.0 can be reached from other machines: give a token"),
        (("--host", "::"), 2, "can be reached from other machines"),
        (("--port", 99999), 2, "Invalid value for '--port'"),
        (("--timeout", 0), 2, "the server's timeout must be positive"),
        (("--max-queue", -1), 2, "the server's queue must be positive"),
        (("--token-file", "/no/such/token"), 2, "no token can be read"),
        (("--images", "/no/such/folder"), 2, "no such folder of pictures"),
        (("--device", "abacus"), 2, "unknown device"),
    ],
)
def test_wrong_words_to_the_server(place: Path, options: tuple[object, ...], status: int, words: str) -> None:
    ordinate("serve", place / "first", "--index", place / "index", "--no-follow", *options).refused(status, words)


def test_a_server_of_another_models_run_does_not_start(place: Path) -> None:
    ordinate("serve", place / "stranger", "--index", place / "index", "--no-follow").refused(2, "lie in another space than the vectors of")
    ordinate("serve", place / "gone", "--index", place / "index", "--no-follow").refused(2, "is not a training run")
    ordinate("serve", place / "first", "--index", place / "gone").refused(2, "is not an index")
