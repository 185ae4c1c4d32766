import pytest
import torch

from ordinate.analyze.similarity import rdm, rsa
from ordinate.bench.base import get_bench
from ordinate.bench.representations import explained_at_once, explained_by_regressions, similarity_by_scipy


def test_the_peers_compute_the_same() -> None:
    features = torch.randint(0, 2, (120, 3)).double()
    layers = [features @ torch.randn(3, 6).double() + torch.randn(120, 6).double() for _ in range(2)]
    for ours, theirs in zip(explained_at_once(layers, features), explained_by_regressions(layers, features), strict=True):
        assert ours[0].tolist() == pytest.approx(theirs[0].tolist(), abs=1e-6) and ours[1] == pytest.approx(theirs[1], abs=1e-9)
        assert ours[2].tolist() == pytest.approx(theirs[2].tolist(), abs=1e-6)
    x, y = torch.randn(30, 8).double(), torch.randn(30, 8).double()
    assert rsa(rdm(x), rdm(y)) == pytest.approx(similarity_by_scipy(x, y), abs=1e-12)


@pytest.mark.parametrize(("name", "size"), [("variance-explained", 60), ("rsa", 60), ("feature-bias-suite", 1)])
def test_every_bench_times_all_its_contenders(name: str, size: int) -> None:
    said: list[str] = []
    result = get_bench(name).run([size], "cpu", True, said.append)
    assert len(result.rows) == len(said) == 2 and result.peer in {row.contender for row in result.rows}
    assert all(row.seconds > 0 and row.size == size for row in result.rows)
