import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.models.mlp import MLP
from ordinate.models.registry import create_model


def test_pixels_become_embeddings_and_logits() -> None:
    model = create_model("mlp", num_classes=4, image_size=(4, 6), in_chans=2, hidden=[7, 5], num_features=8)
    x = torch.randn(3, 2, 4, 6)
    assert model.embed(x).shape == (3, 8) and model(x).shape == (3, 4)
    assert torch.equal(model(x), model.head(model.body(x.flatten(1))))
    assert MLP(num_classes=0, image_size=4, hidden=[])(torch.randn(2, 1, 4, 4)).shape == (2, 64)
    assert sum(parameter.numel() for parameter in MLP().parameters()) == 784 * 256 + 256 + 256 * 64 + 64 + 64 * 10 + 10


def test_bad_input_is_one_clear_line() -> None:
    with pytest.raises(InputError, match="images of 28x28 pixels, not 8x8"):
        MLP()(torch.randn(1, 1, 8, 8))
    with pytest.raises(InputError, match="takes images"):
        MLP()(torch.randn(1, 3, 28, 28))
    with pytest.raises(InputError, match="at least 1"):
        MLP(hidden=[0])
