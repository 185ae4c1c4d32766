import pytest
import torch

from ordinate.analyze.capture import Activations
from ordinate.ground.errors import InputError
from ordinate.nn.perceptron import Perceptron


def test_layers_have_names_and_give_what_the_next_reads() -> None:
    model, x = Perceptron(5, (7, 6), 3), torch.randn(4, 5)
    with Activations(model, ["hidden.0", "hidden.1", "head:input"]) as seen:
        y = model(x)
    assert y.shape == (4, 3) and seen["hidden.0"].shape == (4, 7) and float(seen["hidden.0"].min()) >= 0
    assert torch.equal(seen["hidden.1"], seen["head:input"]) and torch.equal(model.head(seen["hidden.1"]), y)


def test_dropout_is_of_training_alone() -> None:
    model, x = Perceptron(5, (50,), 3, activation="tanh", dropout=0.5), torch.randn(4, 5)
    assert torch.equal(model.eval()(x), model(x)) and not torch.equal(model.train()(x), model(x))


@pytest.mark.parametrize("arguments", [(5, (), 3), (5, (0,), 3), (0, (4,), 3), (5, (4,), 0)])
def test_shapes_that_are_none_are_refused(arguments: tuple[int, tuple[int, ...], int]) -> None:
    with pytest.raises(InputError, match="widths of at least 1"):
        Perceptron(*arguments)
    with pytest.raises(InputError, match="dropout"):
        Perceptron(5, (4,), 3, dropout=1.0)
