"""What a server answers, as documents of JSON; the OpenAPI schema is made from these."""

from pydantic import BaseModel, Field

__all__ = ["About", "Embeddings", "Health", "Neighbour", "Neighbours", "Problem"]


class Problem(BaseModel):
    """Why a request was not served."""

    error: str = Field(description="What was wrong, and what to do, in one line.")


class Neighbour(BaseModel):
    """A row of the index."""

    id: str
    label: str | None = Field(None, description="Absent where the index has none.")
    score: float = Field(description="How near it is; more is nearer.")


class Neighbours(BaseModel):
    """The neighbours of every query, nearest first."""

    results: list[list[Neighbour]]
    fingerprint: str = Field(description="Of the model that embedded the queries.")


class Embeddings(BaseModel):
    """A vector for every input."""

    vectors: list[list[float]]
    dim: int
    fingerprint: str = Field(description="Of the model. Sent along with a search, it guards against vectors of another space.")


class Health(BaseModel):
    """The server runs."""

    status: str


class About(BaseModel):
    """What is served."""

    kind: str = Field(description="Of the model's inputs.")
    rows: int = Field(description="Of the index.")
    width: int = Field(description="Dimensions of a vector.")
    dims: list[int] = Field(description="Nested sizes that the model was trained for; the last is the width.")
    fingerprint: str = Field(description="Of the model.")
    run: str = Field(description="The model's run, by its folder's name.")
    thumbnails: bool = Field(description="Whether pictures of the rows can be had.")
