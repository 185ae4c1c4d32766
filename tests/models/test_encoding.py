import pytest
import torch
from torch import nn

from ordinate.ground.errors import InputError
from ordinate.models.encoding import Classifier, encode, encode_all, evaluating
from ordinate.models.mlp import MLP


def test_vision_encoders_are_read_before_their_head_and_others_as_they_are() -> None:
    encoder, x = MLP(num_classes=3, image_size=4, hidden=[5], num_features=6), torch.randn(2, 1, 4, 4)
    assert torch.equal(encode(encoder, x), encoder.embed(x))
    plain = nn.Linear(3, 2)
    assert torch.equal(encode(plain, torch.ones(4, 3)), plain(torch.ones(4, 3)))


@pytest.mark.parametrize("module", [nn.Identity(), nn.Flatten(0), nn.LSTM(4, 3)])
def test_an_encoder_gives_one_vector_an_input(module: nn.Module) -> None:
    with pytest.raises(InputError, match="one vector an input"):
        encode(module, torch.randn(2, 3, 4))


def test_modes_are_given_back_part_by_part() -> None:
    module = nn.Sequential(nn.Dropout(), nn.Sequential(nn.Dropout()))
    module[1].eval()
    with evaluating(module):
        assert not any(part.training for part in module.modules())
    assert [part.training for part in module.modules()] == [True, True, False, False]


def test_all_rows_are_encoded_in_evaluation_mode_without_gradients() -> None:
    encoder, x = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), torch.randn(600, 3)
    z = encode_all(encoder, x)
    assert z.shape == (600, 4) and not z.requires_grad and encoder.training
    assert torch.equal(encoder[1].running_mean, torch.zeros(4))
    torch.testing.assert_close(z, encoder.eval()(x).detach())
    with pytest.raises(InputError, match="no inputs"):
        encode_all(encoder, x[:0])


def test_a_classifier_is_its_head_on_its_encoder() -> None:
    classifier, x = Classifier(MLP(num_classes=3, image_size=4, hidden=[5], num_features=6), nn.Linear(6, 2)), torch.randn(2, 1, 4, 4)
    assert torch.equal(classifier(x), classifier.head(classifier.encoder.embed(x)))
    assert torch.equal(classifier.embed(x), classifier.encoder.embed(x))
