import base64
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
import torch
from prometheus_client.parser import text_string_to_metric_families

from ordinate.ground.errors import InputError
from ordinate.retrieve.server.follow import following
from ordinate.retrieve.server.limits import Limits
from tests.retrieve.server.made import DIMS, ROWS, WIDTH, MadeEncoder, MadeIndex, base64_png, png, raw, refused, served, standing, vectors


def until(what: str, true: "object") -> None:
    """Wait until `true()`, for at most ten seconds."""
    end = time.monotonic() + 10
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end, what
        time.sleep(0.005)


def test_vectors_find_their_neighbours() -> None:
    with standing() as (server, client):
        rows = server.served.index.vectors[:3]  # type: ignore[attr-defined]
        answer = client.post("/search", json={"vectors": rows.tolist(), "k": 5}).json()
        assert [row[0]["id"] for row in answer["results"]] == ["row-0", "row-1", "row-2"]
        assert all(
            len(row) == 5 and [hit["score"] for hit in row] == sorted((hit["score"] for hit in row), reverse=True)
            for row in answer["results"]
        )
        assert answer["fingerprint"] == "first" and answer["results"][1][0]["label"] == "class-1"
        assert len(client.post("/search", json=vectors()).json()["results"][0]) == 10, "ten by default"
        assert len(client.post("/search", json={**vectors(), "k": 1000}).json()["results"][0]) == ROWS, "no more than there are"
        nested = client.post(
            "/search", json={"vectors": rows.tolist(), "k": 5, "shortlist_dim": 4, "rerank_dim": 16, "shortlist": ROWS}
        ).json()
        assert [[hit["id"] for hit in row] for row in nested["results"]] == [[hit["id"] for hit in row] for row in answer["results"]]


def test_the_address_takes_options_too_and_the_body_counts_more() -> None:
    with standing() as (_, client):
        assert len(client.post("/search?k=3", json=vectors()).json()["results"][0]) == 3
        assert len(client.post("/search?k=3", json={**vectors(), "k": 4}).json()["results"][0]) == 4


def test_a_picture_is_the_same_by_itself_and_in_base64() -> None:
    with standing() as (_, client):
        alone = client.post("/embed", content=png(), headers={"Content-Type": "image/png"}).json()
        within = client.post("/embed", json={"images": [base64_png(), base64_png(1), f"data:image/png;base64,{base64_png()}"]}).json()
        assert alone["vectors"][0] == within["vectors"][0] == within["vectors"][2] != within["vectors"][1]
        assert alone["dim"] == WIDTH and alone["fingerprint"] == "first"
        found = client.post("/search?k=3", content=png(), headers={"Content-Type": "image/png"}).json()
        by_vector = client.post("/search", json={"vectors": alone["vectors"], "k": 3, "fingerprint": alone["fingerprint"]}).json()
        assert [hit["id"] for hit in found["results"][0]] == [hit["id"] for hit in by_vector["results"][0]]


def test_an_embedding_is_shortened_to_unit_length() -> None:
    with standing() as (_, client):
        whole = torch.tensor(client.post("/embed", json={"images": [base64_png()]}).json()["vectors"])
        short = client.post("/embed", json={"images": [base64_png()], "dim": 4}).json()
        expected = torch.nn.functional.normalize(whole[:, :4], dim=1)
        assert short["dim"] == 4
        torch.testing.assert_close(torch.tensor(short["vectors"]), expected)


def test_texts_are_for_models_of_texts() -> None:
    with standing(MadeEncoder("text"), Limits(text=20)) as (_, client):
        assert len(client.post("/embed", json={"texts": ["a cat", "a dog"]}).json()["vectors"]) == 2
        refused(client.post("/search", json={"texts": ["   "]}), 422, "texts[0] is empty")
        refused(client.post("/search", json={"texts": ["a" * 21]}), 422, "texts[0] has 21 characters: 20 are taken")
        refused(client.post("/search", json={"images": [base64_png()]}), 422, "unknown keys: 'images'")
        refused(client.post("/search", content=png(), headers={"Content-Type": "image/png"}), 415, "this model embeds text, not pictures")


def test_what_is_served_is_told() -> None:
    with standing() as (_, client):
        about = client.get("/about").json()
        assert about == {
            "kind": "image", "rows": ROWS, "width": WIDTH, "dims": list(DIMS), "fingerprint": "first", "run": "first", "thumbnails": False,
        }  # fmt: skip


def test_answers_cannot_be_taken_for_something_else() -> None:
    with standing() as (_, client):
        for path in ("/", "/health", "/about", "/nothing"):
            headers = client.get(path).headers
            assert headers["x-content-type-options"] == "nosniff" and "default-src 'none'" in headers["content-security-policy"]
            assert "access-control-allow-origin" not in headers and headers["x-request-id"]


def test_only_requests_to_this_machine_are_answered_without_a_token() -> None:
    with standing() as (_, client):
        refused(client.get("/about", headers={"Host": "rebound.example"}), 400, "addressed to localhost")
        assert client.get("/about", headers={"Host": "localhost:99"}).status_code == 200


def test_a_full_house_is_429_at_once_and_what_is_inside_is_answered() -> None:
    encoder = MadeEncoder()
    encoder.gate.clear()
    with standing(encoder, Limits(queue=3, timeout=20)) as (server, client), ThreadPoolExecutor(3) as pool:
        inside = [pool.submit(client.post, "/embed", json={"images": [base64_png(seed)]}) for seed in range(3)]
        until("three are inside", lambda: server.queue.inside == 3)
        begun = time.monotonic()
        answer = client.post("/search", json=vectors())
        refused(answer, 429, "the server is busy: try again in")
        assert int(answer.headers["retry-after"]) >= 1 and time.monotonic() - begun < 5
        assert client.get("/health").status_code == 200 and client.get("/metrics").status_code == 200
        encoder.gate.set()
        assert [each.result().status_code for each in inside] == [200, 200, 200]
        assert client.post("/search", json=vectors()).status_code == 200
    assert max(encoder.batches) >= 2, "what waits is computed together"


def test_an_answer_that_takes_too_long_is_504_and_the_next_one_is_served() -> None:
    encoder = MadeEncoder()
    encoder.gate.clear()
    with standing(encoder, Limits(timeout=0.3)) as (server, client):
        refused(client.post("/embed", json={"images": [base64_png()]}), 504, "no answer within 0.3 s")
        refused(client.post("/search", json=vectors()), 504, "no answer within")
        assert len(server.queue) == 0 and server.queue.inside == 0, "what was given up does not wait on"
        encoder.gate.set()
        until("served again", lambda: client.post("/search", json=vectors()).status_code == 200)


def test_a_body_that_does_not_come_is_408() -> None:
    with standing(limits=Limits(timeout=0.3)) as (server, client):
        head = b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        found = raw(client, head + b'{"vectors"')
        assert found.startswith(b"HTTP/1.1 408") and b"did not come in time" in found
        assert server.queue.inside == 0


def test_a_client_that_goes_away_leaves_its_place() -> None:
    with standing(limits=Limits(timeout=20)) as (server, client):
        head = b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n"
        raw(client, head, patience=0.1)
        until("its place is free", lambda: server.queue.inside == 0)
        assert client.post("/search", json=vectors()).status_code == 200


def test_what_cannot_be_prepared_is_named() -> None:
    def prepare(given: bytes) -> bytes:
        if given == png(seed=1):
            raise InputError("truncated")
        return given

    with standing() as (server, client):
        server.swap(served(MadeEncoder(), Limits(), prepare=prepare))
        refused(client.post("/embed", json={"images": [base64_png(0), base64_png(1)]}), 422, "images[1]: truncated")
        assert client.post("/embed", json={"images": [base64_png(0)]}).status_code == 200


def test_what_the_encoder_refuses_is_422_and_what_breaks_it_is_500(caplog: pytest.LogCaptureFixture) -> None:
    encoder = MadeEncoder(broken=InputError("this picture has no colours"))
    with standing(encoder) as (_, client):
        refused(client.post("/embed", json={"images": [base64_png()]}), 422, "this picture has no colours")
        encoder.broken = RuntimeError("secret: /root/model.py")
        answer = client.post("/embed", json={"images": [base64_png()]})
        refused(answer, 500, "something went wrong in the server: its log has more under")
        assert "secret" not in answer.text and answer.headers["x-request-id"] in answer.text
    assert "secret" in caplog.text, "the log has it"


def test_an_embedding_that_is_not_finite_is_refused() -> None:
    class Infinite(MadeEncoder):
        def encode(self, inputs: object) -> torch.Tensor:
            return torch.full((1, WIDTH), torch.inf)

    with standing(Infinite()) as (_, client):
        refused(client.post("/embed", json={"images": [base64_png()]}), 422, "not finite")
        refused(client.post("/search", json={"images": [base64_png()]}), 422, "NaN or infinite")


def test_metrics_are_prometheus_and_count() -> None:
    with standing() as (_, client):
        client.post("/search", json=vectors(3))
        client.post("/search", json={})
        client.get("/a-path-of-the-clients-own")
        answer = client.get("/metrics")
        families = {family.name: family for family in text_string_to_metric_families(answer.text)}
        requests = {
            tuple(sample.labels.values()): sample.value
            for sample in families["ordinate_requests"].samples
            if sample.name.endswith("_total")
        }
        assert requests["POST", "/search", "200"] == 1 and requests["POST", "/search", "422"] == 1 and requests["GET", "other", "404"] == 1
        assert families["ordinate_index_rows"].samples[0].value == ROWS
        assert next(sample.value for sample in families["ordinate_batch_rows"].samples if sample.name.endswith("_sum")) == 3
        assert "process_resident_memory_bytes" in families
        assert answer.headers["content-type"].startswith("text/plain")


def test_a_swap_fails_no_request_and_each_is_answered_by_one_model() -> None:
    limits = Limits(queue=200, timeout=20)
    encoder = MadeEncoder(seconds=0.002)
    with standing(encoder, limits) as (server, client), ThreadPoolExecutor(6) as pool:
        ended = threading.Event()
        seen: list[httpx.Response] = []

        def ask() -> None:
            with httpx.Client(base_url=client.base_url, timeout=20) as mine:
                while not ended.is_set():
                    seen.append(mine.post("/search", json={"images": [base64_png()]}))

        asking = [pool.submit(ask) for _ in range(6)]
        for name in ("second", "third"):
            count = len(seen)
            until("requests go on", lambda count=count: len(seen) > count + 20)
            server.swap(served(MadeEncoder(seconds=0.002), limits, index=MadeIndex(seed=len(seen)), name=name))
        count = len(seen)
        until("requests go on", lambda: len(seen) > count + 20)
        ended.set()
        for each in asking:
            each.result()
        assert {answer.status_code for answer in seen} == {200}
        assert {answer.json()["fingerprint"] for answer in seen} == {"first", "second", "third"}
        by_model: dict[str, set[str]] = {}
        for answer in seen:
            document = answer.json()
            by_model.setdefault(document["fingerprint"], set()).add(document["results"][0][0]["id"])
        assert all(len(nearest) == 1 for nearest in by_model.values()), "never one model's query in another's index"
        assert client.post("/search", json={**vectors(), "fingerprint": "first"}).status_code == 200, (
            "the first model's vectors stay welcome"
        )


def test_an_index_that_changed_is_taken_up_and_a_broken_one_is_not() -> None:
    limits = Limits()
    state = {"stamp": 0, "fails": False}

    def load() -> object:
        if state["fails"]:
            raise InputError("the run is damaged")
        return served(MadeEncoder(), limits, name=f"model-{state['stamp']}")

    watch = following(lambda: state["stamp"], load, seen=0, every=0.02)  # type: ignore[arg-type]
    with standing(limits=limits, watch=watch) as (server, client):
        state.update(stamp=1)
        until("taken up", lambda: client.get("/about").json()["fingerprint"] == "model-1")
        state.update(stamp=2, fails=True)
        until("tried", lambda: b"ordinate_model_swaps_failed_total 0.0" not in server.metrics.text())
        assert client.get("/about").json()["fingerprint"] == "model-1" and client.post("/search", json=vectors()).status_code == 200
        state.update(fails=False)
        until("tried again", lambda: client.get("/about").json()["fingerprint"] == "model-2")


def test_no_secret_of_a_request_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    token = "a-token-that-is-secret"
    with caplog.at_level("INFO", "ordinate.server"), standing(token=token) as (_, client):
        client.post("/search?k=3", json={"vectors": [[0.123456789] * WIDTH]})
        client.get("/about", headers={"Authorization": "Bearer wrong-token-of-someone"})
    lines = [record.__dict__ for record in caplog.records if record.getMessage() == "request"]
    assert [(line["fields"]["path"], line["fields"]["status"]) for line in lines] == [("/search", 200), ("/about", 401)]
    text = str([line["fields"] for line in lines])
    assert token not in text and "wrong-token" not in text and "0.123" not in text


def test_base64_of_a_data_url_needs_its_comma() -> None:
    with standing() as (_, client):
        refused(client.post("/embed", json={"images": ["data:image/png;base64"]}), 422, "images[0] is empty")
        broken = base64.b64encode(png(200, 200)).decode()[:-100]
        refused(client.post("/embed", json={"images": [broken[: len(broken) // 4 * 4 - 1]]}), 422, "is not base64")
