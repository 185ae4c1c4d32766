import math

import pytest
import torch
from torch import Tensor, nn

from ordinate.analyze.feature_directions import Steering, feature_direction, feature_subspace, predict_projected, predict_without, steer
from ordinate.analyze.representations import edit_units
from ordinate.ground.errors import InputError


class Read(nn.Module):
    """A layer that shows its input, and two outputs: one reads the first unit (large), the other the second (small)."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        phi = self.layer(x)
        return torch.stack([phi[:, 0], phi[:, 1]], dim=1)


def example() -> tuple[Read, Tensor, Tensor]:
    f = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).repeat(20, 1)
    sizes = torch.tensor([4.0, 0.5, 0.0])
    return Read(), torch.cat([2.0 * f - 1, torch.randn(80, 1)], dim=1) * sizes, f


def predict(x: Tensor):
    return lambda model: (model(x) > 0).long()


def test_a_direction_is_the_difference_of_the_means() -> None:
    _, x, f = example()
    assert feature_direction(x, f[:, 0]).tolist() == pytest.approx([8.0, 0.0, 0.0])
    basis = feature_subspace(x, f[:, 1])
    assert basis.abs().flatten().tolist() == pytest.approx([0.0, 1.0, 0.0])
    assert feature_subspace(torch.randn(60, 5), torch.arange(60) % 3).shape == (5, 2)


def test_steering_flips_the_feature_s_own_output_and_a_small_feature_takes_a_small_step() -> None:
    model, x, f = example()
    large, small = (steer(model, "layer", predict(x), f[:, number], feature_direction(x, f[:, number])) for number in (0, 1))
    assert large.flips[0].tolist() == [0, 0] and large.flips[-1].tolist() == [1, 0] and small.flips[-1].tolist() == [0, 1]
    assert large.alpha_for(0) == pytest.approx(0.625, abs=0.13) and large.alpha_for(1) == math.inf
    assert small.alpha_for(1) * small.norm < large.alpha_for(0) * large.norm / 7


def test_the_alpha_of_a_rate_lies_between_those_tried() -> None:
    steering = Steering(torch.tensor([0.0, 1.0, 2.0]).double(), torch.tensor([[0.0, 0.6], [0.4, 0.7], [0.8, 0.7]]).double(), 2.0)
    assert steering.alpha_for(0) == pytest.approx(1.25) and steering.alpha_for(1) == 0.0 and steering.alpha_for(0, 0.9) == math.inf


def test_a_feature_projected_out_is_gone_and_projected_onto_is_all_there_is() -> None:
    model, x, f = example()
    mean = x.double().mean(dim=0)
    without = predict_without(model, "layer", predict(x), mean, feature_subspace(x, f[:, 0]))
    assert float((without[:, 0] == f[:, 0]).double().mean()) == 0.5 and torch.equal(without[:, 1], f[:, 1])
    only = predict_projected(model, "layer", predict(x), mean, torch.eye(3).double()[:, :1])
    assert torch.equal(only[:, 0], f[:, 0]) and float((only[:, 1] == f[:, 1]).double().mean()) == 0.5


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("positions", (2, 4, 3)),
        ("space", (2, 3, 2, 2)),
        ("first", (2, 4, 3)),
        ("last", (2, 4, 3)),
        ("flatten", (2, 4, 3)),
        ("space", (2, 3)),
    ],
)
def test_units_are_moved_as_they_are_pooled(name: str, shape: tuple[int, ...]) -> None:
    from ordinate.analyze.representations import pooling

    activation = torch.randn(shape)
    units = pooling(name)(activation).shape[1]
    shift = torch.randn(2, 1, units)
    moved = edit_units(activation, name, lambda each: each + shift)
    assert moved.shape == activation.shape
    torch.testing.assert_close(pooling(name)(moved), pooling(name)(activation) + shift[:, 0])
    torch.testing.assert_close(edit_units(activation, name, lambda each: each), activation)


def test_bad_input_is_refused() -> None:
    model, x, f = example()
    with pytest.raises(InputError, match="constant"):
        feature_direction(x, torch.ones(80))
    with pytest.raises(InputError, match="between two classes"):
        feature_direction(x, torch.arange(80) % 3)
    with pytest.raises(InputError, match="one class an example"):
        feature_direction(x, f)
    with pytest.raises(InputError, match="no module"):
        steer(model, "later", predict(x), f[:, 0], torch.ones(3))
    with pytest.raises(InputError, match="0 alphas"):
        steer(model, "layer", predict(x), f[:, 0], torch.ones(3), ())
    with pytest.raises(InputError, match="all 80 examples in one batch, and 'layer' was given 40"):
        steer(model, "layer", lambda judged: torch.cat([predict(part)(judged) for part in x.split(40)]), f[:, 0], torch.ones(3))
