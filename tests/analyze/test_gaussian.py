import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.analyze.closed_forms import CLOSED_FORMS
from ordinate.analyze.gaussian import gauss_avg, gauss_nodes, joint_avg, pair_nodes
from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation

VARIANCES = st.floats(1e-4, 1e3)


@given(VARIANCES)
@settings(max_examples=25)
def test_moments_of_a_gaussian(variance: float) -> None:
    for power, moment in ((0, 1), (1, 0), (2, 1), (4, 3), (6, 15), (8, 105)):
        found = float(gauss_avg(lambda z, power=power: z**power, variance)) / variance ** (power / 2)
        assert found == pytest.approx(moment, rel=1e-11, abs=1e-11)


@given(VARIANCES, st.floats(-3, 3))
@settings(max_examples=25)
def test_kinks_wherever_they_are_cost_no_digits(variance: float, kink: float) -> None:
    deviation = math.sqrt(variance)
    at = kink / deviation
    density = math.exp(-at * at / 2) / math.sqrt(2 * math.pi)
    above = 0.5 * math.erfc(at / math.sqrt(2))
    expected = deviation * density - kink * above  # <max(z - kink, 0)>
    assert float(gauss_avg(lambda z: torch.relu(z - kink), variance, (kink,))) == pytest.approx(expected, rel=1e-10, abs=1e-13)


def test_a_variance_of_zero_is_the_value_at_zero() -> None:
    assert float(gauss_avg(torch.cos, 0.0)) == pytest.approx(1.0)
    z, weights = gauss_nodes(torch.tensor([0.0, 2.0], dtype=torch.float64), (1.0,))
    assert z.shape == weights.shape and not z[0].any()


@pytest.mark.parametrize("name", sorted(CLOSED_FORMS))
@pytest.mark.parametrize(
    "entries", [(1.0, 2.0, 0.3), (3.0, 0.7, -1.2), (1.0, 1.0, 0.99999), (0.01, 5.0, 0.2), (2.0, 2.0, 2.0), (2.0, 2.0, -2.0)]
)
def test_closed_forms_are_what_quadrature_gives(name: str, entries: tuple[float, float, float]) -> None:
    act = Activation.of(name)
    k_aa, k_bb, k_ab = (torch.tensor(entry, dtype=torch.float64) for entry in entries)
    values, slopes = CLOSED_FORMS[name](k_aa, k_bb, k_ab)
    z_a, z_b, weights = pair_nodes(torch.stack([torch.stack([k_aa, k_ab]), torch.stack([k_ab, k_bb])]), act.kinks)
    assert float((weights * act(z_a) * act(z_b)).sum()) == pytest.approx(float(values), rel=1e-11, abs=1e-13)
    assert float((weights * act.derivative(z_a) * act.derivative(z_b)).sum()) == pytest.approx(float(slopes), rel=1e-11, abs=1e-13)


def test_relu_is_the_arc_cosine_kernel() -> None:
    k_aa, k_bb, k_ab = (torch.tensor(entry, dtype=torch.float64) for entry in (1.3, 0.4, 0.5))
    angle = torch.acos(k_ab / (k_aa * k_bb).sqrt())
    expected = (k_aa * k_bb).sqrt() * (torch.sin(angle) + (math.pi - angle) * torch.cos(angle)) / (2 * math.pi)
    torch.testing.assert_close(CLOSED_FORMS["relu"](k_aa, k_bb, k_ab)[0], expected, rtol=1e-13, atol=0)


def test_joint_averages_of_up_to_four() -> None:
    covariance = 0.5 * torch.eye(4, dtype=torch.float64) + 0.5
    for dim, expected in ((1, 0.0), (2, 0.5), (3, 0.0), (4, 0.75)):  # Wick: three pairings of 1/4
        assert float(joint_avg(lambda z: z.prod(dim=0), covariance[:dim, :dim])) == pytest.approx(expected, abs=1e-12)
    squares = joint_avg(lambda z: z.square().prod(dim=0), covariance[:2, :2])
    assert float(squares) == pytest.approx(1 + 2 * 0.25)


def test_singular_covariances_are_taken_and_impossible_ones_are_not() -> None:
    ones = torch.ones(3, 3, dtype=torch.float64)
    assert float(joint_avg(lambda z: z.prod(dim=0).square(), ones)) == pytest.approx(15.0)
    with pytest.raises(InputError, match="negative eigenvalues"):
        joint_avg(lambda z: z[0], torch.tensor([[1.0, 2.0], [2.0, 1.0]]))
    with pytest.raises(InputError, match="symmetric"):
        joint_avg(lambda z: z[0], torch.tensor([[1.0, 0.5], [0.1, 1.0]]))
    with pytest.raises(InputError, match="at most four"):
        joint_avg(lambda z: z[0], torch.eye(5))
    with pytest.raises(InputError, match="finite and 0 or more"):
        gauss_avg(torch.cos, -1.0)
    with pytest.raises(InputError, match="not finite at z"):
        gauss_avg(lambda z: torch.exp(z * z), 1000.0)
