import pytest
import torch

from ordinate.analyze.linear_probe import L2_GRID, LinearProbe
from ordinate.bench.base import get_bench
from ordinate.bench.rich import _member, _source, members_by_loop, probe_again
from ordinate.models.concatenated import Concat
from ordinate.models.encoding import encode_all
from ordinate.models.mlp import MLP
from ordinate.train.ensemble import Ensemble


def test_all_contenders_of_members_give_the_same_vectors() -> None:
    members, x = [_member(6, 4) for _ in range(3)], torch.randn(5, 1, 28, 28)
    torch.testing.assert_close(Ensemble(members).apply_to_each(MLP.embed, x), members_by_loop(members, x))


def test_a_grid_from_one_decomposition_is_the_probes_one_by_one() -> None:
    members, source = [_member(6, 4) for _ in range(2)], _source(60)
    features, labels = encode_all(Concat(members), source.tensors["image"]).numpy(), source.tensors["label"].numpy()
    path = LinearProbe(solver="ridge").path(features, labels, L2_GRID)
    for (weight, _), probe in zip(path, reversed(probe_again(members, source, "ridge")), strict=True):
        torch.testing.assert_close(weight, probe.weight_)


@pytest.mark.parametrize(("name", "size"), [("probe-grids", 60), ("ridge-grids", 8), ("batched-members", 4)])
def test_every_contender_is_timed(name: str, size: int) -> None:
    bench = get_bench(name)
    said: list[str] = []
    result = bench.run([size], "cpu", True, said.append)
    assert result.peer in {row.contender for row in result.rows} and all(row.seconds > 0 for row in result.rows) and said
