import pytest
import torch

from ordinate.data.latent_models import CubeProblem
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.hidden_coordinate import HiddenCoordinate, fewest_errors


def test_all_coordinates_tie_whatever_the_rows() -> None:
    problem = CubeProblem(5, 2)
    for m in (1, 300):
        model = HiddenCoordinate().fit(problem.inputs(m, generator(m)))
        assert model.ties_.tolist() == [0, 1, 2, 3, 4]
    chosen = {HiddenCoordinate(random_state=seed).fit(problem.inputs(3, generator(0))).index_ for seed in range(40)}
    assert chosen == {0, 1, 2, 3, 4}


def test_its_posterior_is_the_sign_of_its_coordinate() -> None:
    model = HiddenCoordinate().fit(CubeProblem(2, 0).inputs(3, generator(0)))
    model.index_ = 1
    assert model.transform([[1.0, -1.0], [-1.0, 1.0]]).tolist() == [[1.0, 0.0], [0.0, 1.0]]
    assert model.n_parameters == 1 and model.align_to(model) is model


def test_fewest_errors_finds_the_coordinate_and_its_sign() -> None:
    problem = CubeProblem(6, 4, flips=0.2)
    x, y = problem.sample(400, generator(1))
    assert fewest_errors(x, y) == (4, False)
    assert fewest_errors(x, 1 - y) == (4, True)


def test_other_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="-1 and 1"):
        HiddenCoordinate().fit(torch.zeros(2, 3))
