import warnings
from inspect import unwrap

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.retrieve.nested_index import BACKENDS, NestedIndex, TorchBackend, search_flops

DIMS = (2, 4, 8, 16)


def _vectors(rows: int, dim: int = 16, seed: int = 0) -> Tensor:
    decay = torch.arange(1, dim + 1) ** -0.5
    return torch.randn(rows, dim, generator=torch.Generator().manual_seed(seed)) * decay


def _exact(queries: Tensor, database: Tensor, k: int, size: int, metric: str) -> tuple[Tensor, Tensor]:
    """By the definition, in float64."""
    a, b = queries[:, :size].double(), database[:, :size].double()
    if metric == "cosine":
        a, b = F.normalize(a, dim=1), F.normalize(b, dim=1)
    found = torch.cdist(a, b).square().sort(dim=1, stable=True)
    return found.values[:, :k], found.indices[:, :k]


@pytest.mark.parametrize("backend", ["torch", "faiss-flat"])
@pytest.mark.parametrize("metric", ["cosine", "l2"])
@pytest.mark.parametrize("size", [1, 2, 3, 8, 16])
def test_search_at_any_size_is_the_definition(backend: str, metric: str, size: int) -> None:
    if backend != "torch":
        pytest.importorskip("faiss", reason="faiss is not installed")
    database, queries = _vectors(300), _vectors(7, seed=1)
    found = NestedIndex(database, DIMS, metric, backend).search(queries, 5, size)
    distances, ids = _exact(queries, database, 5, size, metric)
    torch.testing.assert_close(found.distances.double(), distances, atol=2e-6, rtol=1e-5)
    if size > 1:  # unit prefixes of one dimension all tie
        assert torch.equal(found.ids, ids)
    assert found.distances.dtype == torch.float32 and found.ids.dtype == torch.int64


@given(st.integers(1, 700), st.integers(1, 4), st.integers(1, 80), st.sampled_from([3, 70]))
@settings(max_examples=40)
def test_the_torch_backend_finds_what_sorting_finds(rows: int, queries: int, k: int, dim: int) -> None:
    k = min(k, rows)
    backend, asked = TorchBackend(_vectors(rows, dim)), _vectors(queries, dim, seed=1)
    found = backend.search(asked, k)
    distances, ids = _exact(asked, _vectors(rows, dim), k, dim, "l2")
    torch.testing.assert_close(found.distances.double(), distances, atol=1e-5, rtol=1e-5)
    assert (found.ids == ids).double().mean() > 0.99  # rounding may swap neighbours that are nearly as far
    assert all(len(set(row)) == k for row in found.ids.tolist())


def test_the_torch_backend_merges_blocks_of_rows() -> None:
    database, queries = _vectors(9000, 64), _vectors(3, 64, seed=1)
    found = TorchBackend(database).search(queries, 50)
    _, ids = _exact(queries, database, 50, 64, "l2")
    assert (found.ids == ids).double().mean() > 0.99


def test_the_graph_finds_nearly_all_neighbours() -> None:
    pytest.importorskip("faiss", reason="faiss is not installed")
    database, queries = _vectors(500), _vectors(20, seed=1)
    found = NestedIndex(database, DIMS, backend="faiss-hnsw").search(queries, 10, 8)
    _, ids = _exact(queries, database, 10, 8, "cosine")
    assert (found.ids[:, :, None] == ids[:, None]).any(2).double().mean() > 0.95


def test_rows_that_a_backend_did_not_find_stay_last() -> None:
    class Poor(TorchBackend):
        def search(self, queries: Tensor, k: int) -> object:
            found = super().search(queries, k)
            return found._replace(ids=found.ids.masked_fill(torch.arange(k) >= 3, -1))

    found = NestedIndex(_vectors(30), DIMS, backend=Poor).adaptive(_vectors(4, seed=1), 5, shortlist=5)
    assert torch.all(found.ids[:, 3:] == -1) and torch.all(found.distances[:, 3:] == torch.inf) and torch.all(found.ids[:, :3] >= 0)


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_reranking_everything_at_the_full_size_is_exact_search(metric: str) -> None:
    index, queries = NestedIndex(_vectors(200), DIMS, metric), _vectors(6, seed=1)
    exact, adaptive = index.search(queries, 10), index.adaptive(queries, 10, shortlist=200, d_short=2, d_rerank=16)
    assert torch.equal(exact.ids, adaptive.ids)
    torch.testing.assert_close(exact.distances, adaptive.distances, atol=2e-6, rtol=1e-5)
    funnel = index.funnel(queries, [4, 8, 16], [200, 200, 200], d_short=2, k=10)
    assert torch.equal(exact.ids, funnel.ids)


def test_a_funnel_is_its_stages_by_hand() -> None:
    database, queries = _vectors(150), _vectors(5, seed=1)
    found = NestedIndex(database, DIMS).funnel(queries, [4, 8, 16], [40, 20, 10], d_short=2)
    for query, ids in zip(queries, found.ids, strict=True):
        kept = _exact(query[None], database, 40, 2, "cosine")[1][0]
        for size, length in ((4, 40), (8, 20), (16, 10)):
            kept = kept[:length]
            kept = kept[_exact(query[None], database[kept], length, size, "cosine")[1][0]]
        assert torch.equal(ids, kept)
    assert torch.all(found.distances.diff(dim=1) >= 0)


def test_adaptive_retrieval_is_better_than_its_shortlist() -> None:
    database, queries = _vectors(400), _vectors(30, seed=1)
    index = NestedIndex(database, DIMS)
    exact = index.search(queries, 10).ids
    overlap = [
        (found.ids[:, :, None] == exact[:, None]).any(2).double().mean()
        for found in (index.search(queries, 10, 4), index.adaptive(queries, 10, 60, 4))
    ]
    assert overlap[1] > overlap[0] + 0.2


def test_queries_may_be_prefixes() -> None:
    index, queries = NestedIndex(_vectors(50), DIMS), _vectors(3, seed=1)
    assert torch.equal(index.search(queries[:, :4], 5, 4).ids, index.search(queries, 5, 4).ids)
    with pytest.raises(InputError, match="between 8 and 16 wide, not 4"):
        index.search(queries[:, :4], 5, 8)
    with pytest.raises(InputError, match="between 4 and 16 wide, not 17"):
        index.search(torch.randn(2, 17), 5, 4)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_distances_are_computed_in_single_precision_whatever_is_given(dtype: torch.dtype) -> None:
    database, queries = _vectors(100).to(dtype), _vectors(5, seed=1).to(dtype)
    found = NestedIndex(database, DIMS).search(queries, 5, 2)
    expected = NestedIndex(database.float(), DIMS).search(queries.float(), 5, 2)
    assert (
        found.distances.dtype == torch.float32 and torch.equal(found.ids, expected.ids) and torch.equal(found.distances, expected.distances)
    )


def test_cosine_distances_do_not_hear_the_length_and_l2_distances_do() -> None:
    database, queries = _vectors(60), _vectors(4, seed=1)
    long = database * torch.linspace(0.5, 5, 60)[:, None]
    assert torch.equal(NestedIndex(database, DIMS).search(queries, 9, 4).ids, NestedIndex(long, DIMS).search(3 * queries, 9, 4).ids)
    assert not torch.equal(
        NestedIndex(database, DIMS, "l2").search(queries, 9, 4).ids, NestedIndex(long, DIMS, "l2").search(queries, 9, 4).ids
    )


def test_prefixes_of_zeros_warn_and_stay_zeros() -> None:
    database = _vectors(40)
    database[3, :2] = 0
    with pytest.warns(UserWarning, match="1 of 40 vectors have zeros alone in their first 2 dimensions"):
        index = NestedIndex(database, DIMS)
    found = index.search(_vectors(4, seed=1), 40, 2)
    assert torch.isfinite(found.distances).all()
    torch.testing.assert_close(found.distances[found.ids == 3], torch.ones(4))  # a unit query's distance to zero
    torch.testing.assert_close(index.distances(_vectors(4, seed=1), torch.full((4, 1), 3), 2), torch.ones(4, 1))
    zero = index.search(torch.zeros(1, 16), 3)
    assert torch.isfinite(zero.distances).all()


def test_a_smaller_rerank_warns() -> None:
    index, queries = NestedIndex(_vectors(50), DIMS), _vectors(3, seed=1)
    with pytest.warns(UserWarning, match="sorts a good order by a worse one"):
        index.adaptive(queries, 5, 20, d_short=8, d_rerank=4)
    with pytest.warns(UserWarning, match="worse one"):
        index.funnel(queries, [8, 4], [20, 10], 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        index.adaptive(queries, 5, 20, d_short=4, d_rerank=4)


def test_the_papers_multiply_adds() -> None:
    assert search_flops(1_281_167, 2048) == 2_623_830_016
    assert search_flops(1_281_167, 16, [(200, 2048)]) == 20_498_672 + 409_600
    index = NestedIndex(_vectors(100), DIMS)
    assert index.flops_per_query() == 1600
    assert index.flops_per_query(2, [(40, 4), (20, 8), (10, 16)]) == 200 + 160 + 160 + 160


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda index, q: index.search(q, 0), "k must be between 1 and the 30 rows"),
        (lambda index, q: index.search(q, 31), "k must be between 1 and the 30 rows"),
        (lambda index, q: index.search(q, 5, 17), "between 1 and 16, not 17"),
        (lambda index, q: index.search(q, 5, 0), "between 1 and 16, not 0"),
        (lambda index, q: index.adaptive(q, 10, shortlist=5), "shortlist of 5 cannot give the 10 nearest"),
        (lambda index, q: index.adaptive(q, 10, shortlist=31), "k must be between 1 and the 30 rows"),
        (lambda index, q: index.funnel(q, [4, 8], [20], 2), "as many lengths as sizes"),
        (lambda index, q: index.funnel(q, [], [], 2), "at least one"),
        (lambda index, q: index.funnel(q, [4, 8], [10, 20], 2), "must not ascend"),
        (lambda index, q: index.funnel(q, [4, 8], [20, 10], 2, k=11), "last length 10, not 11"),
        (lambda index, q: index.funnel(q, [4, 8], [20, 0], 2), "last length 0"),
        (lambda index, q: index.search(q * torch.nan, 5), "2 of 2 rows hold NaN"),
    ],
)
def test_wrong_searches_are_one_clear_line(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call(NestedIndex(_vectors(30), DIMS), _vectors(2, seed=1))


@pytest.mark.parametrize(
    ("database", "dims", "options", "message"),
    [
        (
            torch.tensor([[1.0, 2.0], [torch.nan, 1.0], [torch.inf, 1.0]]),
            [1, 2],
            {},
            "2 of 3 rows hold NaN or infinite values, the first is row 1",
        ),
        (torch.zeros(0, 2), [1, 2], {}, "at least one row"),
        (torch.ones(2, 2), [1], {}, "own width 2, not 1"),
        (torch.ones(2, 2), [2, 1], {}, "ascend"),
        (torch.ones(2, 2), [1, 2], {"metric": "euclid"}, "unknown metric"),
        (torch.ones(2, 2), [1, 2], {"backend": "fais-flat"}, "did you mean faiss-flat"),
    ],
)
def test_wrong_databases_are_one_clear_line(database: Tensor, dims: list[int], options: dict[str, str], message: str) -> None:
    with pytest.raises(InputError, match=message):  # unwrapped: as a caller without a type checker
        unwrap(NestedIndex.__init__)(NestedIndex.__new__(NestedIndex), database, dims, **options)


def test_whole_numbers_are_not_embeddings() -> None:
    with pytest.raises(InputError, match="floating-point matrix"):
        unwrap(NestedIndex.__init__)(NestedIndex.__new__(NestedIndex), torch.ones(2, 2, dtype=torch.int64), [1, 2])


def test_the_backends_have_names() -> None:
    assert set(BACKENDS) == {"torch", "faiss-flat", "faiss-hnsw"}
