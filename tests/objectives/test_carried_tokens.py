import pytest
import torch
from torch import nn

from ordinate.data.streams import Streams
from ordinate.ground.errors import InputError
from ordinate.models.regularized_lstm import RegularizedLSTM
from ordinate.objectives.carried_tokens import CarriedTokens


def made() -> tuple[RegularizedLSTM, CarriedTokens, Streams]:
    model = RegularizedLSTM(7, dim=6, dropout=0.0, spread=1.0)
    return model, CarriedTokens(2, 3, 6), Streams(torch.randint(7, (40,)), 3, 4)


def test_an_epoch_s_losses_are_those_of_the_streams_read_at_once() -> None:
    model, objective, streams = made()
    losses = [objective(model, streams(step)) for step in range(streams.stretches)]
    whole = [torch.cat([streams(step)[name] for step in range(streams.stretches)], dim=1) for name in ("input", "target")]
    nats = -model(whole[0]).gather(2, whole[1][..., None])[..., 0].sum(dim=1).mean()
    torch.testing.assert_close(torch.stack(losses).sum(), nats)
    again = objective(model, streams(streams.stretches))  # the next epoch begins anew
    torch.testing.assert_close(again, losses[0])


def test_gradients_stop_where_a_stretch_begins() -> None:
    model, objective, streams = made()
    objective(model, streams(0))
    state = objective.h.clone(), objective.c.clone()
    gradient = torch.autograd.grad(objective(model, streams(1)), model.lstm.weight_hh_l0)[0]
    batch = streams(1)
    alone = -model.carry(batch["input"], state)[0].gather(2, batch["target"][..., None]).sum() / 3
    torch.testing.assert_close(gradient, torch.autograd.grad(alone, model.lstm.weight_hh_l0)[0])


def test_the_state_is_saved_with_the_objective() -> None:
    model, objective, streams = made()
    objective(model, streams(0))
    other = CarriedTokens(2, 3, 6)
    other.load_state_dict(objective.state_dict())
    assert float(objective.h.abs().max()) > 0
    assert torch.equal(other(model, streams(1)), objective(model, streams(1)))


def test_what_cannot_go_on_is_refused() -> None:
    model, objective, streams = made()
    with pytest.raises(InputError, match="Linear cannot go on from a state"):
        objective(nn.Linear(2, 2), streams(0))
    with pytest.raises(InputError, match="that of 2 streams, and the batch has 3"):
        CarriedTokens(2, 2, 6)(model, streams(0))
    with pytest.raises(InputError, match="at least 1, not 2, 0 and 6"):
        CarriedTokens(2, 0, 6)
