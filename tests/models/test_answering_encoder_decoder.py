import pytest
import torch

from ordinate.data.controlled.sequences import ControlledSequences, Occurs
from ordinate.ground.errors import InputError
from ordinate.models.answering_encoder_decoder import AnsweringEncoderDecoder


def tokens_and_model() -> tuple[torch.Tensor, AnsweringEncoderDecoder]:
    data = ControlledSequences([Occurs(0), Occurs(1), Occurs(2)], 5, 4, order=(2, 0, 1))
    return data.decoder_tokens(data.sample(6)), AnsweringEncoderDecoder(5, 4, (2, 0, 1), dim=16, depth=2, heads=2).eval()


def test_no_answer_sees_itself_or_what_comes_after() -> None:
    tokens, model = tokens_and_model()
    plain = model(tokens)
    assert plain.shape == (6, 3)
    for place, question in enumerate((2, 0, 1)):
        other = tokens.clone()
        other[:, 6 + place] = 11 - other[:, 6 + place]  # yes for no, and no for yes
        changed = (model(other) - plain).abs().amax(dim=0) > 1e-6
        assert [number for number in range(3) if changed[number]] == sorted((2, 0, 1)[place + 1 :]), question


def test_what_is_read_knows_no_answer_and_every_answer_knows_all_that_is_read() -> None:
    tokens, model = tokens_and_model()
    answered = tokens.clone()
    answered[:, 6:] = 11 - answered[:, 6:]
    assert torch.equal(model.read(answered), model.read(tokens)) and model.read(tokens).shape == (6, 5, 16)
    for place in range(5):
        other = tokens.clone()
        other[:, place] = (other[:, place] + 1) % 4
        assert bool(((model(other) - model(tokens)).abs().amax(dim=0) > 1e-6).all())
        assert bool(((model.read(other) - model.read(tokens)).abs().amax(dim=(0, 2)) > 1e-6).all())  # in both directions


def test_every_weight_gets_a_gradient() -> None:
    tokens, model = tokens_and_model()
    model(tokens).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_what_is_no_order_or_no_sequence_is_refused() -> None:
    for order in ((0, 0), (), (1, 2)):
        with pytest.raises(InputError, match="each question once"):
            AnsweringEncoderDecoder(5, 4, order)
    with pytest.raises(InputError, match="depth must be at least 1"):
        AnsweringEncoderDecoder(5, 4, (0,), depth=0)
    with pytest.raises(InputError, match="a sequence of 5 tokens, the separator and 3 answers"):
        tokens_and_model()[1](torch.zeros(2, 8, dtype=torch.int64))
