import pytest
import torch

from ordinate.analyze.transfer_risk import excess_risk, representation_risk
from ordinate.ground.errors import InputError


def test_risks_are_means_over_inputs() -> None:
    root = torch.randn(4, 4).double()
    covariance = root @ root.mT
    X = torch.randn(200_000, 4).double() @ root.mT
    found, true, B = torch.randn(4).double(), torch.randn(4).double(), torch.randn(4, 2).double()
    assert excess_risk(found, true, covariance) == pytest.approx(float((X @ (found - true)).square().mean()), rel=0.03)
    best = torch.linalg.lstsq(X @ B, (X @ true)[:, None]).solution[:, 0]
    assert representation_risk(B, true, covariance) == pytest.approx(float((X @ (B @ best - true)).square().mean()), rel=0.03)


def test_white_inputs_leave_what_is_outside_the_space() -> None:
    B, true = torch.eye(5, 2), torch.tensor([3.0, 1.0, 0.0, 2.0, 0.0])
    assert representation_risk(B, true) == pytest.approx(4.0)
    assert representation_risk(B @ torch.tensor([[2.0, 1.0], [0.0, 1.0]]), true) == pytest.approx(4.0)
    assert excess_risk(true, true) == 0.0 and excess_risk(true, torch.zeros(5)) == pytest.approx(14.0)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="coefficients"):
        excess_risk(torch.zeros(3), torch.zeros(4))
    with pytest.raises(InputError, match="coefficients"):
        representation_risk(torch.zeros(3, 2), torch.zeros(4))
