"""Both recurrent models of symbols: plain ones, and ones that carry their places."""

from itertools import product
from pathlib import Path

import jaxtyping
import pytest
import torch
from torch import nn

from ordinate.ground.errors import InputError
from ordinate.models.lstm_language_model import LSTMLanguageModel, RecurrentModel
from ordinate.models.placed_language_model import PlacedLanguageModel
from ordinate.models.registry import create_model, load_model, save_model


def models() -> dict[str, RecurrentModel]:
    torch.manual_seed(1)
    made = {"plain": LSTMLanguageModel(6, dim=5, layers=2, embed=4), "placed": PlacedLanguageModel(3, 2, dim=5)}
    for model in made.values():
        for parameter in model.parameters():
            nn.init.uniform_(parameter, -1, 1)
    return made


KINDS = ["plain", "placed"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_probabilities_of_all_sequences_sum_to_one(kind: str) -> None:
    every = torch.tensor(list(product(range(6), repeat=3)))
    assert models()[kind].sequence_log_prob({}, every).double().logsumexp(dim=0).item() == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_stepping_reading_and_whole_sequences_agree(kind: str) -> None:
    model, symbols = models()[kind], torch.randint(6, (4, 5))
    whole = model.sequence_log_prob({}, symbols)
    state, total = model.init({"items": symbols}), torch.zeros(4)
    for column in symbols.unbind(dim=1):
        known = model.log_prob(state)
        torch.testing.assert_close(known.logsumexp(dim=1), torch.zeros(4), atol=1e-5, rtol=0)
        total = total + known.gather(1, column[:, None])[:, 0]
        state = model.advance(state, column)
    torch.testing.assert_close(total, whole)
    padded = torch.cat((symbols, torch.full((4, 2), -1)), dim=1)
    torch.testing.assert_close(model.sequence_log_prob({}, padded), whole)
    rows = torch.tensor([3, 3, 1])
    torch.testing.assert_close(model.log_prob(model.reorder(state, rows)), model.log_prob(state)[rows])


@pytest.mark.parametrize("kind", KINDS)
def test_the_future_is_not_read(kind: str) -> None:
    model, tokens = models()[kind], torch.randint(6, (2, 5))
    changed = tokens.clone()
    changed[:, 3] = (changed[:, 3] + 1) % 6
    one, other = model(tokens), model(changed)
    assert torch.equal(one[:, :3], other[:, :3]) and not torch.equal(one[:, 3:], other[:, 3:])


def test_a_pair_is_its_place_and_its_value_given_the_place() -> None:
    model = models()["placed"]
    states = torch.randn(4, 5)
    pairs = model.read(states).exp().view(4, 2, 3)
    torch.testing.assert_close(pairs.sum(dim=2), model.which(states).softmax(dim=1))
    symbols = torch.randint(6, (4, 1))
    torch.testing.assert_close(model.chosen(states[:, None], symbols)[:, 0], model.read(states).gather(1, symbols)[:, 0])


def test_dropout_is_for_training_alone() -> None:
    model, symbols = LSTMLanguageModel(6, dim=8, layers=2, dropout=0.5), torch.randint(6, (3, 4))
    assert not torch.equal(model.sequence_log_prob({}, symbols), model.sequence_log_prob({}, symbols))
    model.eval()
    assert torch.equal(model.sequence_log_prob({}, symbols), model.sequence_log_prob({}, symbols))


@pytest.mark.parametrize(
    ("name", "arguments"), [("lstm", {"vocabulary": 6, "dim": 8}), ("placed-lstm", {"values": 3, "places": 2, "dim": 8})]
)
def test_they_are_registered_saved_and_loaded(tmp_path: Path, name: str, arguments: dict[str, int]) -> None:
    model = create_model(name, **arguments)
    save_model(model, tmp_path / "model")
    tokens = torch.randint(6, (2, 3))
    assert torch.equal(load_model(tmp_path / "model")(tokens), model(tokens))


def test_bad_input_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # as it is outside the tests
    for make, message in (
        (lambda: LSTMLanguageModel(0), "must be at least 1"),
        (lambda: LSTMLanguageModel(5, dropout=1.0), r"dropout in \[0, 1\)"),
        (lambda: PlacedLanguageModel(0, 4), "at least one value"),
    ):
        with pytest.raises(InputError, match=message):
            make()
    model = LSTMLanguageModel(5, dim=4)
    with pytest.raises(InputError, match="from 0 to 4, and 1 to 5"):
        model(torch.tensor([[1, 5]]))
    with pytest.raises(InputError, match="symbols are"):
        model.sequence_log_prob({}, torch.tensor([[[1]]]))
    with pytest.raises(InputError, match="how many sequences"):
        model.init({})
