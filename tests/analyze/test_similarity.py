import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import pdist
from scipy.stats import spearmanr
from torch import Tensor

from ordinate.analyze.similarity import METRICS, cknna, linear_cka, mutual_neighbours, rdm, regression_similarity, rsa, spearman
from ordinate.ground.errors import InputError

TWO = [linear_cka, lambda x, y: linear_cka(x, y, debiased=True), lambda x, y: cknna(x, y, 5), lambda x, y: mutual_neighbours(x, y, 5)]


def turned(x: Tensor) -> Tensor:
    """The same representation in other axes, larger."""
    return 3 * x @ torch.linalg.qr(torch.randn(x.shape[1], x.shape[1], dtype=x.dtype)).Q


@pytest.mark.parametrize("metric", METRICS)
def test_rdms_are_scipy_s_and_symmetric_with_a_zero_diagonal(metric: str) -> None:
    x = torch.randn(23, 7)
    square, condensed = rdm(x, metric), rdm(x, metric, condensed=True)
    np.testing.assert_allclose(condensed, pdist(x.double().numpy(), metric), atol=1e-12)
    assert torch.equal(square, square.mT) and bool((square.diagonal() == 0).all())
    torch.testing.assert_close(square[torch.ones(23, 23).triu(1).bool()], condensed, rtol=1e-12, atol=1e-14)


@settings(max_examples=30)
@given(st.lists(st.integers(0, 5), min_size=2, max_size=40), st.integers(0, 1000))
def test_spearman_is_scipy_s_with_ties(values: list[int], seed: int) -> None:
    a, b = torch.tensor(values).double(), torch.randn(len(values), generator=torch.Generator().manual_seed(seed)).double()
    if len(set(values)) == 1:
        with pytest.raises(InputError, match="numbers that differ"):
            spearman(a, b)
    else:
        assert spearman(a, b) == pytest.approx(spearmanr(a, b).statistic, abs=1e-12)


def test_distances_that_differ_by_rounding_are_ties() -> None:
    exact = torch.tensor([0.1, 0.1, 0.5, 0.5, 0.9], dtype=torch.float64)
    noisy = exact + torch.tensor([1e-16, -1e-16, 1e-16, 0.0, 0.0], dtype=torch.float64)
    other = torch.tensor([1.0, 5.0, 2.0, 4.0, 3.0])
    assert spearman(exact, other) == spearman(noisy, other)


def test_rsa_of_a_model_with_itself_is_one_and_of_features_follows_the_larger() -> None:
    f = torch.randint(0, 2, (60, 2), generator=torch.Generator().manual_seed(1)).float()
    x = torch.cat([2 * f[:, :1], f[:, 1:], 0.01 * torch.randn(60, 3)], dim=1)
    own = rdm(x, "euclidean")
    assert rsa(own, own) == pytest.approx(1.0, abs=1e-12)
    large, small = (rdm(f[:, [column]], "euclidean", condensed=True) for column in (0, 1))
    assert rsa(own, large) > rsa(own, small) + 0.2


@pytest.mark.parametrize("block", [1, 7, 100])
def test_the_size_of_a_block_changes_nothing(block: int) -> None:
    x, y = torch.randn(31, 5), torch.randn(31, 40)
    y[:, :5] += x
    for metric in METRICS:
        torch.testing.assert_close(rdm(x, metric, block=block), rdm(x, metric), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(rdm(x, metric, condensed=True, block=block), rdm(x, metric, condensed=True), rtol=1e-12, atol=1e-12)
    for function in (linear_cka, cknna, mutual_neighbours):
        assert function(x, y, block=block) == pytest.approx(function(x, y), abs=1e-12)
    assert linear_cka(x, y, debiased=True, block=block) == pytest.approx(linear_cka(x, y, debiased=True), abs=1e-12)
    assert regression_similarity(x, y, block=block) == pytest.approx(regression_similarity(x, y), abs=1e-9)


@pytest.mark.parametrize("measure", TWO)
def test_a_representation_is_itself_in_other_axes(measure) -> None:
    x = torch.randn(50, 6, dtype=torch.float64)
    x = x - x.mean(dim=0)
    assert measure(x, x) == pytest.approx(1.0, abs=1e-12)
    assert measure(x, turned(x)) == pytest.approx(1.0, abs=1e-9)
    assert measure(x, torch.randn(50, 6)) < 0.7


def test_cka_is_its_definition_by_gram_matrices() -> None:
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.randn(20, 30, dtype=torch.float64)
    centre = torch.eye(20, dtype=torch.float64) - 1 / 20
    K, L = centre @ x @ x.mT @ centre, centre @ y @ y.mT @ centre
    assert linear_cka(x, y) == pytest.approx(float((K * L).sum() / (K.norm() * L.norm())), abs=1e-12)


def test_debiased_cka_is_its_definition_and_unrelated_units_have_none() -> None:
    x, y = torch.randn(20, 4, dtype=torch.float64), torch.randn(20, 30, dtype=torch.float64)

    def hsic(K: Tensor, L: Tensor) -> float:
        n = len(K)
        K, L = K - K.diagonal().diag(), L - L.diagonal().diag()
        return float((K * L).sum() + K.sum() * L.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (K @ L).sum())

    K, L = x @ x.mT, y @ y.mT
    assert linear_cka(x, y, debiased=True) == pytest.approx(hsic(K, L) / (hsic(K, K) * hsic(L, L)) ** 0.5, abs=1e-10)
    many = [torch.randn(60, 300, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1)]
    assert linear_cka(*many) > 0.7 and abs(linear_cka(*many, debiased=True)) < 0.05


def test_cknna_is_its_definition() -> None:
    x, y, k = torch.randn(12, 3, dtype=torch.float64), torch.randn(12, 4, dtype=torch.float64), 4
    K, L = x @ x.mT, y @ y.mT

    def near(G: Tensor) -> list[set[int]]:
        return [
            {int(j) for j in G[i].argsort(descending=True) if j != i and len([m for m in range(12) if m != i and G[i, m] > G[i, j]]) < k}
            for i in range(12)
        ]

    def align(A: Tensor, B: Tensor) -> float:
        both = zip(near(A), near(B), strict=True)
        return sum(float((A[i, j] - A[i].mean()) * (B[i, j] - B[i].mean())) for i, (one, other) in enumerate(both) for j in one & other)

    assert cknna(x, y, k, normalise=False) == pytest.approx(align(K, L) / (align(K, K) * align(L, L)) ** 0.5, abs=1e-12)
    shared = sum(len(one & other) for one, other in zip(near(K), near(L), strict=True)) / (12 * k)
    assert mutual_neighbours(x, y, k, normalise=False) == pytest.approx(shared)
    assert mutual_neighbours(x, y, 11) == 1.0


def test_regression_has_two_directions() -> None:
    x = torch.randn(400, 6, dtype=torch.float64)
    y = x[:, :2] @ torch.randn(2, 5, dtype=torch.float64)
    to, back = regression_similarity(x, y)
    assert to == pytest.approx(1.0, abs=1e-9) and back == pytest.approx(1 / 3, abs=0.05)


def test_held_out_regression_is_not_fooled_by_many_units() -> None:
    x, y = torch.randn(60, 50), torch.randn(60, 3)
    assert regression_similarity(x, y)[0] > 0.7
    assert regression_similarity(x, y, held_out=(torch.randn(60, 50), torch.randn(60, 3)))[0] < 0


@pytest.mark.parametrize("measure", [*TWO, regression_similarity])
def test_what_cannot_be_compared_is_refused(measure) -> None:
    x = torch.randn(20, 3)
    with pytest.raises(InputError, match="there are 20 and 19"):
        measure(x, x[:19])
    with pytest.raises(InputError, match="pool it first"):
        measure(x, torch.randn(20, 3, 2))
    with pytest.raises(InputError, match="not finite in 1 of 20"):
        measure(x, x.clone().index_fill_(0, torch.tensor(4), torch.nan))
    with pytest.raises(InputError, match="at least"):
        measure(x[:1], x[:1])
    if measure not in TWO[3:]:
        with pytest.raises(InputError, match="the same for all"):
            measure(x, torch.full((20, 3), 0.3))


def test_rdms_refuse_what_has_no_distance() -> None:
    x = torch.randn(6, 4)
    x[2] = 1.0
    with pytest.raises(InputError, match=r"the first is row 2.*use euclidean"):
        rdm(x)
    with pytest.raises(InputError, match="unknown metric"):
        rdm(x, "manhattan")
    with pytest.raises(InputError, match="at least one row"):
        rdm(torch.randn(6, 4), block=0)
    with pytest.raises(InputError, match="15 and 10 pairs"):
        rsa(rdm(torch.randn(6, 4)), rdm(torch.randn(5, 4)))
    with pytest.raises(InputError, match="square"):
        rsa(torch.randn(3, 4), torch.randn(3, 4))
    with pytest.raises(InputError, match="1 to 5 neighbours"):
        cknna(x, x, 6)
