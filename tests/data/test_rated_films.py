from pathlib import Path

import pytest
import torch

from ordinate.data.interactions import open_interactions
from ordinate.data.linear_sources import SourceSampler
from ordinate.data.rated_films import complete_ratings, rated_films
from ordinate.ground.errors import InputError


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Thirty people and 24 films, whose ratings are of two tastes; a third of them is missing."""
    chance = torch.Generator().manual_seed(0)
    taste, kind = torch.rand(30, 2, generator=chance), torch.rand(24, 2, generator=chance)
    ratings = (1 + 4 * (taste @ kind.T) / 2).clamp(1, 5)
    rows = ["user_id:token\titem_id:token\trating:float"]
    for person in range(30):
        rows += [f"{person}\t{film}\t{ratings[person, film]:.4f}" for film in range(24) if (person + film) % 3]
    (tmp_path / "small.inter").write_text("\n".join(rows) + "\n")
    torch.save(ratings, tmp_path / "whole.pt")
    return tmp_path


def test_missing_ratings_are_completed(small: Path) -> None:
    truth = torch.load(small / "whole.pt").double()
    found = complete_ratings(open_interactions(small), factors=3)
    unseen = (torch.arange(30)[:, None] + torch.arange(24)) % 3 == 0
    error, spread = (found - truth)[unseen].square().mean(), (truth[unseen] - truth[~unseen].mean()).square().mean()
    assert float(error / spread) < 0.4


def test_films_become_tasks(small: Path) -> None:
    problem = rated_films(small, sources=5, factors=3)
    assert problem.sources.shape == (5, 3) and problem.rank == 2 and problem.pool is not None and problem.pool.shape == (30, 3)
    torch.testing.assert_close(problem.sources.norm(dim=1), torch.ones(5).double())
    torch.testing.assert_close(problem.target, 0.9 * problem.sources[0] + 0.1 * problem.sources[1])
    torch.testing.assert_close(problem.pool.square().mean(dim=0), torch.ones(3).double())
    assert float(problem.pool.min()) >= 0 and float(problem.sources.min()) >= 0
    X, y = SourceSampler(problem, 0)(3, 10)
    assert float((y - X @ problem.sources[3]).abs().max()) < 0.06
    assert torch.equal(rated_films(small, sources=5, factors=3).sources, problem.sources)


def test_bad_input_is_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="24 films make"):
        rated_films(small, sources=25)
    with pytest.raises(InputError, match="24 films make"):
        rated_films(small, sources=5, rank=6)
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "bare.inter").write_text("user_id:token\titem_id:token\n1\t1\n2\t2\n")
    with pytest.raises(InputError, match="no ratings that differ"):
        rated_films(bare)
