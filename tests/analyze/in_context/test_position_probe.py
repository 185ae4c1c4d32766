import pytest
import torch

from ordinate.analyze.in_context.position_probe import PositionProbe, fit_probe
from ordinate.analyze.in_context.regression_targets import moment_vector, prefix_weights
from ordinate.ground.errors import InputError

SETTINGS = {"steps": 400, "batch_size": 128, "lr": 2e-2}


def test_a_probe_finds_the_token_at_which_a_target_is_written() -> None:
    torch.manual_seed(0)
    states = torch.randn(1_200, 5, 6)
    probed = fit_probe(states, states[:, 3, :2] @ torch.randn(2, 2), hidden=None, **SETTINGS)
    assert probed.r2 > 0.95 and int(probed.places.argmax()) == 3 and float(probed.places[3]) > 0.8


def test_a_hidden_layer_reads_what_a_linear_map_cannot_and_noise_is_not_read() -> None:
    torch.manual_seed(0)
    states = torch.randn(1_500, 1, 4)
    target = states[:, 0, :1] * states[:, 0, 1:2]
    linear, deep = (fit_probe(states, target, hidden=hidden, **SETTINGS).r2 for hidden in (None, 64))
    assert linear < 0.1 and deep > 0.8
    assert fit_probe(states, torch.randn(1_500, 2), hidden=None, **SETTINGS).r2 < 0.05


def test_a_probe_is_a_pure_function_of_its_seed() -> None:
    states = torch.randn(100, 3, 4)
    one, again, other = (fit_probe(states, states[:, 0], steps=5, seed=seed).error for seed in (0, 0, 1))
    assert one == again != other


def test_targets_are_those_of_the_prefix() -> None:
    x, y = torch.randn(2, 6, 3), torch.randn(2, 6)
    torch.testing.assert_close(moment_vector(x, y, 4), (x[:, :4].double().mT @ y[:, :4, None].double())[..., 0])
    torch.testing.assert_close(prefix_weights(x, y, 2), (torch.linalg.pinv(x[:, :2].double()) @ y[:, :2, None].double())[..., 0])
    for prefix in (0, 6):
        with pytest.raises(InputError, match="1 to 5"):
            prefix_weights(x, y, prefix)


def test_a_probe_that_cannot_be_is_one_line() -> None:
    states = torch.randn(10, 3, 4)
    with pytest.raises(InputError, match="at least 1"):
        PositionProbe(3, 4, 0)
    with pytest.raises(InputError, match="reads 2 tokens, not 3"):
        PositionProbe(2, 4, 1)(states)
    with pytest.raises(InputError, match="two rows on either side"):
        fit_probe(states, torch.randn(10, 1), held_out=0.05)
    with pytest.raises(InputError, match="nothing to read off"):
        fit_probe(states, torch.ones(10, 1))
