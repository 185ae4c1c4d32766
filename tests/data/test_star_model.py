import jaxtyping
import pytest
import torch

from ordinate.data.star_model import StarModel
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator


def test_the_probabilities_of_all_assignments_sum_to_one() -> None:
    every = torch.cartesian_prod(torch.arange(10), torch.arange(10))
    assert StarModel(2).log_prob(every).exp().sum().item() == pytest.approx(1, abs=1e-12)


def test_samples_come_as_often_as_they_are_likely() -> None:
    star = StarModel(3, values=3, seed=2)
    every = torch.cartesian_prod(*[torch.arange(3)] * 3)
    drawn = star.sample(20_000, generator(0))
    assert drawn.shape == (20_000, 3)
    counts = torch.bincount(drawn @ torch.tensor([9, 3, 1]), minlength=27)
    expected = 20_000 * star.log_prob(every).exp()
    assert ((counts - expected).abs() < 5 * expected.sqrt() + 1).all()


def test_leaves_depend_on_the_head_alone() -> None:
    star = StarModel(4, values=3)
    found = star.log_prob(torch.tensor([[1, 0, 2, 1], [1, 0, 0, 1], [1, 2, 2, 1], [1, 2, 0, 1]]))
    torch.testing.assert_close(found[0] - found[1], found[2] - found[3])


def test_peaky_tables_are_surer() -> None:
    sure, soft = (StarModel(10, peakiness=peak) for peak in (4.0, 0.5))
    entropy = [-star.log_prob(star.sample(500, generator(0))).mean() for star in (sure, soft)]
    assert entropy[0] < 0.6 * entropy[1]


def test_symbols_name_the_variable_and_its_value() -> None:
    star, rows = StarModel(3, values=10), torch.tensor([[7, 0, 4]])
    assert star.symbols(rows).tolist() == [[7, 10, 24]]
    assert star.symbols(rows, "last").tolist() == [[10, 24, 7]]


def test_bad_input_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is outside the tests
    for arguments in ((1,), (3, 1), (3, 3, -1.0)):
        with pytest.raises(InputError, match="2 or more variables"):
            StarModel(*arguments)
    star = StarModel(3, values=4)
    with pytest.raises(InputError, match=r"\(count, 3\)"):
        star.log_prob(torch.zeros(2, 2, dtype=torch.int64))
    with pytest.raises(InputError, match="from 0 to 3"):
        star.log_prob(torch.full((2, 3), 4))
    with pytest.raises(InputError, match="unknown place of the head"):
        star.symbols(torch.zeros(2, 3, dtype=torch.int64), "middle")
