import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.models.registry import create_model
from ordinate.models.regularized_lstm import RegularizedLSTM


def test_the_medium_network_is_the_default_and_its_weights_are_uniform() -> None:
    with torch.device("meta"):
        model = create_model("regularized-lstm", vocabulary=50)
    assert (model.lstm.hidden_size, model.lstm.num_layers, model.lstm.dropout, model.drop.p) == (650, 2, 0.5, 0.5)
    small = RegularizedLSTM(30, dim=24, spread=0.05)
    for name, parameter in small.named_parameters():
        assert float(parameter.abs().max()) <= 0.05, name
    assert float(small.embedding.weight.std()) == pytest.approx(0.05 / 3**0.5, rel=0.1)


def test_a_text_read_in_stretches_is_the_text_read_at_once() -> None:
    model, tokens = RegularizedLSTM(7, dim=6, spread=1.0).eval(), torch.randint(7, (3, 10))
    whole, end = model.carry(tokens)
    first, state = model.carry(tokens[:, :4])
    second, after = model.carry(tokens[:, 4:], state)
    torch.testing.assert_close(torch.cat([first, second], dim=1), whole)
    torch.testing.assert_close(after, end)
    torch.testing.assert_close(model(tokens), whole)
    assert not torch.allclose(model.carry(tokens[:, 4:])[0], second)


def test_dropout_is_not_along_time() -> None:
    """With all that goes up dropped but for the biases, the state still goes on."""
    model = RegularizedLSTM(7, dim=6, dropout=0.9, spread=1.0)
    tokens = torch.randint(7, (2, 5))
    assert not torch.equal(model.carry(tokens)[0], model.carry(tokens)[0])
    with torch.no_grad():
        for name, weight in model.lstm.named_parameters():
            if name.startswith("weight_ih"):
                weight.zero_()
    assert torch.equal(model.carry(tokens)[1][0], model.carry(tokens)[1][0])


def test_bad_input_is_one_line() -> None:
    with pytest.raises(InputError, match="spread, which must be positive"):
        RegularizedLSTM(5, dim=4, spread=0.0)
    with pytest.raises(InputError, match="from 0 to 4"):
        RegularizedLSTM(5, dim=4).carry(torch.tensor([[5]]))
