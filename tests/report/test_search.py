import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordinate.papers import catalogue
from ordinate.report.listing import Entry, list_entries, make_entry
from ordinate.report.search import rank, words_of


@pytest.fixture(scope="module", params=["as listed", "cards alone"])
def entries(request: pytest.FixtureRequest) -> list[Entry]:
    """What people search, and the catalogue with no paper built."""
    if request.param == "as listed":
        return list_entries(own=False)
    return [make_entry(card, None) for card in catalogue().values()]


@pytest.mark.parametrize(
    ("query", "slug"),
    [
        ("shorter embeddings", "matryoshka"),
        ("attention in n log n", "nprf"),
        ("travelling salesman", "pointer-networks"),
        ("traveling salesman", "pointer-networks"),
        ("recommend items", "recformer"),
        ("molecule", "selformer"),
        ("hyperbolic", "poincare-resnet"),
        ("super-resolution", "craft"),
        ("longer context", "giraffe"),
        ("replace a model and keep the index", "stationary"),
        ("hypergraphs", "lighthgnn"),
        ("word order", "aro"),
    ],
)
def test_what_is_meant_comes_first(entries: list[Entry], query: str, slug: str) -> None:
    found = rank(entries, query)
    assert found and found[0][0].slug == slug, [(entry.slug, round(score, 2)) for entry, score in found[:4]]


@pytest.mark.parametrize("query", ["sourdough bread", "zzqx blorp", "", "the of and", "!!!", "football results"])
def test_nonsense_finds_nothing(entries: list[Entry], query: str) -> None:
    assert rank(entries, query) == []


def test_a_slug_finds_its_paper(entries: list[Entry]) -> None:
    for slug in list(catalogue())[::5]:
        found = [entry.slug for entry, _ in rank(entries, slug)]
        assert found[0] == slug, found[:3]


def test_scores_descend_and_lie_between_0_and_1(entries: list[Entry]) -> None:
    scores = [score for _, score in rank(entries, "graph representation learning")]
    assert len(scores) > 2 and scores == sorted(scores, reverse=True) and scores[-1] > 0 and scores[0] <= 1 + 1e-9


@given(st.text(max_size=60))
def test_no_text_breaks_it(query: str) -> None:
    entries = [make_entry(card, None) for card in catalogue().values()]
    assert all(0 < score <= 1 + 1e-9 for _, score in rank(entries[:6], query))


def test_endings_do_not_matter() -> None:
    assert words_of("shorter") == words_of("shortening") == words_of("shortened")
    assert words_of("travelling") == words_of("traveling")
    assert set(words_of("graph")) <= set(words_of("hypergraphs"))
    assert rank([], "graph") == []
