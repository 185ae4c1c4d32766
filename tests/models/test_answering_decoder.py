import pytest

from ordinate.data.controlled.sequences import ControlledSequences, Occurs
from ordinate.ground.errors import InputError
from ordinate.models.answering_decoder import AnsweringDecoder


def test_no_answer_sees_itself_or_what_comes_after() -> None:
    data = ControlledSequences([Occurs(0), Occurs(1), Occurs(2)], 5, 4, order=(2, 0, 1))
    tokens = data.decoder_tokens(data.sample(6))
    model = AnsweringDecoder(5, 4, (2, 0, 1), dim=16, depth=1, heads=2).eval()
    plain = model(tokens)
    assert plain.shape == (6, 3)
    for place, question in enumerate((2, 0, 1)):
        other = tokens.clone()
        other[:, 6 + place] = 11 - other[:, 6 + place]  # yes for no, and no for yes
        changed = (model(other) - plain).abs().amax(dim=0) > 1e-6
        assert [number for number in range(3) if changed[number]] == sorted((2, 0, 1)[place + 1 :]), question


def test_an_order_that_is_none_is_refused() -> None:
    for order in ((0, 0), (), (1, 2)):
        with pytest.raises(InputError, match="each question once"):
            AnsweringDecoder(5, 4, order)
