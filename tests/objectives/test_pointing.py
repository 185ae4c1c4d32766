import pytest
import torch

from ordinate.data.planar import sample
from ordinate.ground.errors import InputError
from ordinate.models.mlp import MLP
from ordinate.models.pointer_network import PointerNetwork
from ordinate.objectives.base import create_objective


def test_the_loss_is_nats_a_symbol_with_end_counted_and_padding_not() -> None:
    data = sample("hull", (3, 7), 9, 0)
    model = PointerNetwork(hidden=8)
    batch = data.take(torch.arange(9))
    by_hand, symbols = 0.0, 0
    for points, length, target in zip(data.points, data.lengths.tolist(), data.targets, strict=True):
        steps = int((target != 0).sum()) + 1
        by_hand -= model(points[None, :length], target[None, :steps])[0].item()
        symbols += steps
    loss = create_objective("pointing", model)(model, batch)
    assert loss.item() == pytest.approx(by_hand / symbols, rel=1e-5)
    wider = {**batch, "target": torch.nn.functional.pad(batch["target"], (0, 3))}
    torch.testing.assert_close(create_objective("pointing", model)(model, wider), loss)


def test_it_trains_nothing_but_networks_that_answer_with_slots() -> None:
    with pytest.raises(InputError, match="such as pointer and seq2seq, not MLP"):
        create_objective("pointing", MLP(num_classes=3, image_size=4, hidden=[6]))
