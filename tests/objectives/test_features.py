import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.objectives.features import FeatureLoss


def test_the_loss_is_the_weighted_sum_over_labels() -> None:
    loss, model = FeatureLoss((2, 3)), nn.Linear(5, 4)
    batch = {"x": torch.randn(6, 5), "target": torch.stack([torch.arange(6) % 2, torch.arange(6) % 3], dim=1)}
    logits = model(batch["x"])
    first = F.binary_cross_entropy_with_logits(logits[:, 0], batch["target"][:, 0].float())
    second = F.cross_entropy(logits[:, 1:], batch["target"][:, 1])
    assert loss.outputs == 4
    torch.testing.assert_close(loss(model, batch), first + second)
    torch.testing.assert_close(loss(model, {**batch, "weight": torch.tensor([0.0, 2.0])}), 2 * second)


def test_predictions_are_the_most_probable_classes() -> None:
    logits = torch.tensor([[0.3, 1.0, 2.0, 0.0], [-0.3, 1.0, 0.0, 3.0]])
    assert FeatureLoss((2, 3)).predict(logits).tolist() == [[1, 1], [0, 2]]
    assert FeatureLoss((2, 3)).predict(logits[None]).shape == (1, 2, 2)


@pytest.mark.parametrize("classes", [(), (2, 1)])
def test_labels_that_are_none_are_refused(classes: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="two classes or more"):
        FeatureLoss(classes)
