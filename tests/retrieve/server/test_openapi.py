"""The interface keeps to its own description, under whatever requests can be made from it: those that fit it, and those that do not."""

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode

from ordinate.retrieve.server.limits import Limits
from tests.retrieve.server.made import MadeEncoder, base64_png, png, standing

PATHS = ["/", "/health", "/about", "/metrics", "/thumbnail", "/embed", "/search"]
schemathesis.openapi.media_type(
    "image/png", st.sampled_from([png(seed=seed) for seed in range(3)]), aliases=["image/jpeg", "image/webp", "image/gif", "image/bmp"]
)
schemathesis.openapi.format("picture-base64", st.sampled_from([base64_png(seed) for seed in range(3)]))


@pytest.fixture(scope="module", params=["image", "text"])
def client(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    with standing(MadeEncoder(request.param), Limits(rows=3, text=40)) as (_, client):
        yield client


def test_the_description_names_every_path(client: httpx.Client) -> None:
    assert sorted(client.get("/openapi.json").json()["paths"]) == sorted(PATHS)


FITTING, WRONG = GenerationMode.POSITIVE, GenerationMode.NEGATIVE
# to the other paths nothing is given that could be wrong
CASES = [(path, FITTING) for path in PATHS] + [(path, WRONG) for path in ("/embed", "/search", "/thumbnail")]


@pytest.mark.parametrize(("path", "mode"), CASES, ids=lambda value: value if isinstance(value, str) else value.name.lower())
def test_every_path_keeps_to_its_description(client: httpx.Client, path: str, mode: GenerationMode) -> None:
    method = "POST" if path in ("/embed", "/search") else "GET"
    operation = schemathesis.openapi.from_dict(client.get("/openapi.json").json())[path][method]
    examples = 25 if method == "POST" else 5

    @settings(max_examples=examples, phases=[Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True, database=None)
    @given(case=operation.as_strategy(generation_mode=mode))
    def keeps(case: schemathesis.Case) -> None:
        case.call_and_validate(base_url=str(client.base_url))

    keeps()
