import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.data.in_context.dynamics import DynamicsPrompts, windows
from ordinate.ground.errors import InputError
from ordinate.nn.fixed_representation import FixedRepresentation


@settings(max_examples=20)
@given(n=st.integers(1, 5), k=st.integers(1, 4), d=st.integers(1, 3))
def test_windows_hold_the_last_states_and_zeros_before_the_start(n: int, k: int, d: int) -> None:
    states = torch.randn(2, n, d)
    found = windows(states, k).unflatten(2, (k, d))
    for place in range(n):
        for lag in range(k):
            expected = states[:, place - lag] if place >= lag else torch.zeros(2, d)
            assert torch.equal(found[:, place, k - 1 - lag], expected)


@pytest.mark.parametrize("k", [1, 2, 3])
def test_every_state_is_what_the_system_makes_of_the_window_before_it(k: int) -> None:
    phi = FixedRepresentation(k * 2, 5, 2)
    prompts = DynamicsPrompts(phi, 2, k, 6, noise=0.0).sample(4, torch.Generator().manual_seed(0))
    batch = prompts.batch()
    assert prompts.states.shape == (4, 7, 2) and batch["tokens"].shape == batch["target"].shape == (4, 6, 2)
    torch.testing.assert_close(phi(windows(batch["tokens"], k)) @ prompts.W, batch["target"])


def test_trajectories_stay_bounded_with_the_variance_of_the_scales() -> None:
    source = DynamicsPrompts(FixedRepresentation(6, 6, 2), 3, 2, 40, noise=0.5)
    states = source.sample(1_000, torch.Generator().manual_seed(0)).states
    assert states[:, 1:].square().mean() == pytest.approx(1.25, rel=0.1) and states.abs().max() < 20
    assert source.penalty == 0.25 and source.token_width == 3


def test_what_cannot_be_drawn_is_refused() -> None:
    phi = FixedRepresentation(2, 2, 1)
    with pytest.raises(InputError, match="k, d and n"):
        DynamicsPrompts(phi, 2, 0, 4)
    with pytest.raises(InputError, match="k must be at least 1"):
        windows(torch.zeros(1, 3, 2), 0)
    with pytest.raises(InputError, match="standard deviations"):
        DynamicsPrompts(phi, 2, 1, 4, tau=-1.0)
    with pytest.raises(InputError, match="all its 2 coordinates"):
        DynamicsPrompts(phi, 2, 1, 4).sample(2, torch.Generator(), alive=1)
    with pytest.raises(InputError, match="at least one row"):
        DynamicsPrompts(phi, 2, 1, 4).sample(0, torch.Generator())
