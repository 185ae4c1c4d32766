import pytest
import torch
from torch import nn

from ordinate.adapt.composed_model import ComposedModel
from ordinate.adapt.test_time import learn_unsupervised, train_norms
from ordinate.data.augment import Erase
from ordinate.data.batches import Subset, TensorSource
from ordinate.ground.errors import InputError
from ordinate.nn.prototype_head import PrototypeHead
from tests.adapt.small import bank_of


def _encoder() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3))


def _images(count: int = 24) -> TensorSource:
    return TensorSource(image=torch.rand(count, 1, 4, 4))


HEAD = PrototypeHead(torch.eye(3), 10.0)


@pytest.mark.parametrize("objective", ["ufm", "entropy", "simclr"])
def test_coefficients_move_without_labels(objective: str) -> None:
    model = _encoder()
    composed = ComposedModel(model, bank_of(model))
    history = learn_unsupervised(composed, HEAD, _images(), objective, strong=Erase(p=1.0), weak=Erase(p=0.5), epochs=2, batch_size=8)
    assert len(history.curves["loss"]) == 6 and composed.coef.isfinite().all()
    assert objective == "entropy" or composed.coef.any()


def test_the_same_seed_learns_the_same() -> None:
    torch.manual_seed(3)
    model, images = _encoder(), _images()
    bank, found = bank_of(model), []
    for seed in (0, 0, 1):
        composed = ComposedModel(model, bank)
        learn_unsupervised(composed, HEAD, images, strong=Erase(p=1.0), epochs=2, batch_size=8, seed=seed)
        found.append(composed.coef.detach().clone())
    assert torch.equal(found[0], found[1]) and not torch.equal(found[0], found[2])


def test_trusted_images_are_chosen_anew_every_epoch_and_once_as_released() -> None:
    model = _encoder()
    bank = bank_of(model)
    paper = learn_unsupervised(ComposedModel(model, bank), HEAD, _images(), strong=Erase(p=1.0), epochs=3, batch_size=8)
    assert len(paper.curves["trusted"]) == 3
    released = learn_unsupervised(
        ComposedModel(model, bank), HEAD, _images(), strong=Erase(p=1.0), epochs=3, batch_size=8, compat="released"
    )
    assert "trusted" not in released.curves


def test_the_baseline_trains_gains_and_biases_of_norms_alone() -> None:
    model = train_norms(_encoder())
    assert [name for name, parameter in model.named_parameters() if parameter.requires_grad] == ["2.weight", "2.bias"]
    learn_unsupervised(model, HEAD, _images(), strong=Erase(p=1.0), epochs=1, lr=0.05)
    assert not torch.equal(model[2].bias.detach(), torch.zeros(8))
    with pytest.raises(InputError, match="no normalisation layer"):
        train_norms(nn.Linear(2, 2))


def test_bad_requests_are_one_line() -> None:
    model = _encoder()
    composed = ComposedModel(model, bank_of(model))
    with pytest.raises(InputError, match="unknown objective at test time"):
        learn_unsupervised(composed, HEAD, _images(), "labels", strong=Erase(p=1.0))
    with pytest.raises(InputError, match="at least two images"):
        learn_unsupervised(composed, HEAD, Subset(_images(), torch.arange(1)), strong=Erase(p=1.0))
    with pytest.raises(InputError, match="nothing to train"):
        learn_unsupervised(model.requires_grad_(False), HEAD, _images(), strong=Erase(p=1.0))
