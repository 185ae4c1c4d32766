"""Drawn features have the means that they are drawn with, and the report finds which model is the better one."""

import pytest
import torch

from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Run
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.nn.simplex import simplex_prototypes
from ordinate.tasks.simulated_caps import Cap, SimulatedCaps, draw_cap


@pytest.mark.parametrize("rho", [0.2, 0.9, 1.0])
def test_features_have_unit_length_and_the_asked_cosine_with_their_prototype(rho: float) -> None:
    prototypes, labels = simplex_prototypes(6, torch.float64), torch.arange(60) % 6
    drawn = draw_cap(prototypes, labels, rho, generator("test"))
    torch.testing.assert_close(drawn.norm(dim=1), torch.ones(60, dtype=torch.float64))
    torch.testing.assert_close((drawn * prototypes[labels]).sum(dim=1), torch.full((60,), rho, dtype=torch.float64))


def test_both_directions_are_found() -> None:
    task = SimulatedCaps(8, 4000)
    better, worse = (task.run(Arm("caps", lambda cap=cap: cap), Run(0, Setting())).metrics for cap in (Cap(0.9, 0.6), Cap(0.5, 0.8)))
    assert (better["compatible"], worse["compatible"]) == (1.0, 0.0)
    for found in (better, worse):
        assert found["same error"] < 5e-3 and found["different error"] < 5e-3
    assert better["same pairs"] > worse["same pairs"]


def test_lengths_that_no_mean_has_are_one_line() -> None:
    for new, old in ((0.0, 0.5), (0.5, 1.1)):
        with pytest.raises(InputError, match="mean of unit features"):
            Cap(new, old)
