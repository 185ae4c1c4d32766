from itertools import product
from pathlib import Path

import jaxtyping
import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.models.paired_language_model import PairedLanguageModel
from ordinate.models.registry import create_model, load_model, save_model
from ordinate.objectives.order_search import OrderSearch, best_order, sample_order


def model(values: int = 3, places: int = 2) -> PairedLanguageModel:
    made = PairedLanguageModel(values, places, dim=5)
    for parameter in made.parameters():
        torch.nn.init.uniform_(parameter, -1, 1)
    return made


def test_the_probabilities_of_all_sequences_sum_to_one() -> None:
    every = torch.tensor(list(product(range(6), repeat=3)))
    assert model().sequence_log_prob({}, every).double().logsumexp(dim=0).item() == pytest.approx(0, abs=1e-5)


def test_one_softmax_is_over_all_pairs_and_a_row_is_a_pair_s_own() -> None:
    made, states = model(), torch.randn(4, 5)
    read = made.read(states)
    assert read.shape == (4, 6) and torch.allclose(read.exp().sum(dim=1), torch.ones(4))
    with torch.no_grad():
        made.output.bias[4] += 1  # value 1 at place 1
    difference = made.read(states) - read
    others = [0, 1, 2, 3, 5]
    torch.testing.assert_close(difference[:, others] - difference[:, :1], torch.zeros(4, 5), atol=1e-5, rtol=0)
    torch.testing.assert_close(difference[:, 4] - difference[:, 0], torch.ones(4), atol=1e-5, rtol=0)


def test_a_symbol_s_vector_is_its_value_s_and_its_place_s() -> None:
    made = model()
    torch.testing.assert_close(made.embedded(torch.tensor([4])), made.value.weight[1:2] + made.place.weight[1:2])


def test_stepping_and_whole_sequences_agree() -> None:
    made, symbols = model(), torch.randint(6, (4, 5))
    state, total = made.init({"items": symbols}), torch.zeros(4)
    for column in symbols.unbind(dim=1):
        total = total + made.log_prob(state).gather(1, column[:, None])[:, 0]
        state = made.advance(state, column)
    torch.testing.assert_close(total, made.sequence_log_prob({}, symbols))


def test_orders_can_be_sought_with_it() -> None:
    made, items = model(3, 3), torch.tensor([[0, 4, 8], [2, 3, 7]])
    drawn = sample_order(made, {"items": items}, items)
    torch.testing.assert_close(drawn.log_prob, made.sequence_log_prob({}, items.gather(1, drawn.order)))
    assert bool((best_order(made, {"items": items}, items).log_prob >= drawn.log_prob - 1e-6).all())
    OrderSearch.for_model(made, warmup=0)(made, {"items": items}).backward()
    assert all(parameter.grad is not None for parameter in made.parameters())


def test_it_is_registered_saved_and_loaded(tmp_path: Path) -> None:
    made = create_model("paired-lstm", values=3, places=2, dim=8)
    save_model(made, tmp_path / "model")
    tokens = torch.randint(6, (2, 3))
    assert torch.equal(load_model(tmp_path / "model")(tokens), made(tokens))


def test_no_value_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(InputError, match="at least one value and one place, not 0 and 4"):
        PairedLanguageModel(0, 4)
