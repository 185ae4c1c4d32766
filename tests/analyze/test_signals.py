import pytest
import torch

from ordinate.analyze.kernels import kernel_flow
from ordinate.analyze.signals import Propagation, propagate
from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation

TANH = Propagation(Activation.of("tanh"), 0.05, 1.3, 1.35)


def test_signals_follow_the_recursion() -> None:
    found = propagate(TANH, 6, 200, 40, 0.2, 0)
    cross = 0.05 + 1.3 * 0.2
    flow = kernel_flow(TANH.activation, torch.tensor([[1.35, cross], [cross, 1.35]], dtype=torch.float64), 6, 0.05, 1.3)
    torch.testing.assert_close(found.squares.mean(dim=0), flow.kernel[:, 0, 0], rtol=0.06, atol=0)
    torch.testing.assert_close(found.cosines.mean(dim=0), flow.cosine[:, 0, 1], rtol=0, atol=0.05)
    assert found.squares.shape == found.cosines.shape == (40, 6) and found.decades.shape == (40,)


def test_gradients_die_or_grow_off_criticality() -> None:
    relu = Activation.of("relu")
    for C_W, decades in ((2.0, 0.0), (1.6, -0.94), (2.5, 0.94)):  # half of 19.4 layers' log10 of 0.8 and 1.25
        found = propagate(Propagation(relu, 0.0, C_W), 20, 100, 20, 0.2, 1)
        assert float(found.decades.mean()) == pytest.approx(decades, abs=0.25)


def test_a_signal_that_died_has_no_angle() -> None:
    dead = propagate(Propagation(Activation.of("relu"), 0.0, 1e-30), 12, 10, 2, 0.2, 0)
    assert torch.isfinite(dead.cosines).all() and torch.isfinite(dead.decades).all()


def test_the_seed_decides() -> None:
    one, other, third = (propagate(TANH, 3, 10, 2, 0.2, seed) for seed in (0, 0, 1))
    assert torch.equal(one.squares, other.squares) and not torch.equal(one.squares, third.squares)


@pytest.mark.parametrize("wrong", [(0, 10, 2, 0.2), (3, 1, 2, 0.2), (3, 10, 0, 0.2), (3, 10, 2, 1.2)])
def test_numbers_out_of_range_are_refused(wrong: tuple[int, int, int, float]) -> None:
    with pytest.raises(InputError, match="signals need"):
        propagate(TANH, *wrong, 0)


def test_a_first_kernel_below_its_biases_is_refused() -> None:
    with pytest.raises(InputError, match=r"K\^1 = 0.01 cannot be below"):
        propagate(Propagation(Activation.of("tanh"), 0.05, 1.3, 0.01), 3, 10, 2, 0.2, 0)


@pytest.mark.parametrize(
    ("text", "C_b", "C_W"),
    [("tanh", 0.0, 1.0), ("tanh,critical", 0.0, 1.0), ("tanh, x 1.5", 0.0, 1.5), ("tanh, C_b = 0.1", 0.1, 1.0), ("relu, He", 0.0, 2.0)],
)
def test_networks_are_read_from_words(text: str, C_b: float, C_W: float) -> None:
    read = Propagation.read(text, 100)
    assert (read.C_b, read.C_W, read.first) == (C_b, C_W, 1.0) and read.activation.name == text.partition(",")[0]


@pytest.mark.parametrize(
    ("text", "why"), [("tanh, Xavier", "no initialisation 'Xavier'"), ("tanh, x much", "no initialisation"), ("tahn", "did you mean")]
)
def test_words_that_name_no_networks_are_refused(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        Propagation.read(text, 100)
