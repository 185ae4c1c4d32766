from itertools import product

import jaxtyping
import pytest
import torch
from torch import nn

from ordinate.generate.decoding import beam_search, greedy
from ordinate.ground.errors import InputError
from ordinate.models.attentive_translator import AttentiveTranslator

SOURCE = torch.tensor([[2, 0, 1, 1], [1, 2, -1, -1], [0, -1, -1, -1]])


def translator() -> AttentiveTranslator:
    torch.manual_seed(1)
    model = AttentiveTranslator(3, 4, dim=6)
    for parameter in model.parameters():
        nn.init.uniform_(parameter, -1, 1)
    return model


def test_rows_of_mixed_lengths_are_as_each_alone() -> None:
    model, target = translator(), torch.tensor([[1, 2, 0], [3, 0, 0], [2, 2, 0]])
    log_prob, log_probs = model(SOURCE, target)
    assert log_probs.shape == (3, 3, 4)
    for row, n in enumerate((4, 2, 1)):
        alone = model(SOURCE[row : row + 1, :n], target[row : row + 1])[0]
        torch.testing.assert_close(log_prob[row], alone[0])
    torch.testing.assert_close(
        model(SOURCE, torch.tensor([[1, 2, 0], [3, 0, 2], [2, 2, 0]]))[0], log_prob
    )  # what follows END does not count


def test_answers_up_to_a_length_and_those_beyond_share_all_probability() -> None:
    model = translator()
    short = [[*answer, 0] + [0] * (2 - length) for length in range(3) for answer in product((1, 2, 3), repeat=length)]
    ended = model(SOURCE[:1].expand(len(short), -1), torch.tensor(short))[0].exp().sum()
    longer = [[*answer, 0] for answer in product((1, 2, 3), repeat=3)]
    log_probs = model(SOURCE[:1].expand(len(longer), -1), torch.tensor(longer))[1]
    beyond = log_probs.gather(2, torch.tensor(longer)[..., None])[:, :3, 0].sum(dim=1).exp().sum()
    assert (ended + beyond).item() == pytest.approx(1, abs=1e-5)


def test_stepping_gives_the_log_probabilities_of_teacher_forcing() -> None:
    model = translator()
    answers = greedy(model, {"source": SOURCE}, most=5)
    ended = nn.functional.pad(answers.symbols, (0, 1))
    whole, log_probs = model(SOURCE, ended)
    rows = answers.ended
    torch.testing.assert_close(answers.log_prob[rows], whole[rows])
    state = model.init({"source": SOURCE})
    for step, symbols in enumerate(ended.unbind(dim=1)):
        torch.testing.assert_close(model.log_prob(state), log_probs[:, step])
        state = model.advance(state, symbols)
    assert torch.equal(beam_search(model, {"source": SOURCE}, width=1, most=5).best().symbols, answers.symbols)


def test_bad_input_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is outside the tests
    for arguments in ((0, 4), (3, 0), (3, 4, 5)):
        with pytest.raises(InputError, match="even width"):
            AttentiveTranslator(*arguments)
    model, target = translator(), torch.tensor([[1, 0]])
    for source, answer, message in (
        ([[-1, 2]], target, "none is empty"),
        ([[3, 2]], target, "from 0 to 2, and 3"),
        ([[1, 2]], torch.tensor([[4, 0]]), "tokens from 0 to 3"),
        ([[1, 2]], torch.tensor([[1, 1]]), "no END"),
    ):
        with pytest.raises(InputError, match=message):
            model(torch.tensor(source), answer)
