"""The interface keeps to its own description, under whatever requests can be made from it."""

from collections.abc import Iterator

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from ordinate.retrieve.server.limits import Limits
from tests.retrieve.server.made import MadeEncoder, base64_png, png, standing

PICTURES = [png(seed=seed) for seed in range(3)]
schemathesis.openapi.media_type("image/png", st.sampled_from(PICTURES), aliases=["image/jpeg", "image/webp", "image/gif", "image/bmp"])
schemathesis.openapi.format("picture-base64", st.sampled_from([base64_png(seed) for seed in range(3)]))


@pytest.fixture(scope="module", params=["image", "text"])
def client(request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    with standing(MadeEncoder(request.param), Limits(rows=3, text=40)) as (_, client):
        yield client


@pytest.fixture
def described(client: httpx.Client) -> schemathesis.BaseSchema:
    return schemathesis.openapi.from_dict(client.get("/openapi.json").json())


schema = schemathesis.pytest.from_fixture("described")


@schema.parametrize()
@settings(
    max_examples=15, phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck), derandomize=True, database=None
)
def test_every_path_keeps_to_its_description(client: httpx.Client, case: schemathesis.Case) -> None:
    case.call_and_validate(base_url=str(client.base_url))
