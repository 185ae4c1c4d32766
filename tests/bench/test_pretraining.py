import pytest
import torch

from ordinate.bench.base import get_bench
from ordinate.bench.pretraining import sklearn_steps, steps
from ordinate.data.latent_models import MixtureProblem
from ordinate.ground.seeds import generator


def test_both_mixtures_go_the_same_way_from_the_same_centres() -> None:
    problem = MixtureProblem.draw(5, 3, 2, generator(0), separation=8.0)
    x = problem.inputs(600, generator(1))
    start = problem.centres + 0.3
    ours, theirs = steps(x, start, 10), sklearn_steps(x.numpy(), start.numpy(), 10)
    torch.testing.assert_close(ours.centres_, torch.from_numpy(theirs.means_), atol=0.1, rtol=0)
    assert len(theirs.weights_) == 3 and theirs.n_iter_ == 10


@pytest.mark.parametrize(("name", "size"), [("mixture-em", 500), ("rate-study", 1)])
def test_the_benches_run(name: str, size: int) -> None:
    said: list[str] = []
    result = get_bench(name).run([size], "cpu", True, said.append)
    assert {row.size for row in result.rows} == {size} and result.peer in {row.contender for row in result.rows}
    assert all(row.seconds > 0 for row in result.rows) and len(said) == len(result.rows)
