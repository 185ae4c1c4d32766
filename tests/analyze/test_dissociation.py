import json

import pytest
import torch

from ordinate.analyze.dissociation import dissociate
from ordinate.ground.errors import InputError
from tests.analyze.test_feature_directions import Read, predict


def test_a_feature_of_little_variance_is_used_no_less() -> None:
    f = torch.randint(0, 2, (400, 2))
    x = torch.cat([2.0 * f - 1, torch.randn(400, 1)], dim=1) * torch.tensor([4.0, 0.3, 0.2])
    model = Read()
    found = dissociate(model, "layer", x, f, predict(x[200:]))
    assert found.accuracy.tolist() == [1, 1] and found.pca.smallest()[0] == 1
    assert float(found.steering[0].flips[-1, 0]) == 1.0 and float(found.steering[0].flips[-1, 1]) == 0.0
    assert found.flip_norm(1) < found.flip_norm(0) / 8
    assert found.without[0, 0] < 0.7 < found.without[0, 1] and found.without[1, 1] < 0.7
    assert float(found.reliance[0, 1]) > 0.9 and float(found.reliance.diagonal().sum()) == 1.0
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["flip_norm"][0] == pytest.approx(found.flip_norm(0))


def test_a_step_of_nothing_changes_nothing_and_all_components_are_the_whole() -> None:
    f = torch.randint(0, 2, (80, 2))
    x = torch.cat([f + 0.3 * torch.randn(80, 2) - 0.5, torch.randn(80, 1)], dim=1)
    found = dissociate(Read(), "layer", x, f, predict(x[40:]))
    assert all(float(each.flips[0].sum()) == 0.0 for each in found.steering)
    assert torch.equal(found.pca.accuracy[-1], found.accuracy)


def test_what_never_flips_is_no_number_in_json() -> None:
    f = torch.tensor([[0, 0], [0, 1], [1, 0], [1, 1]]).repeat(10, 1)
    x = torch.cat([2.0 * f - 1, torch.zeros(40, 1)], dim=1)
    found = dissociate(Read(), "layer", x, f, predict(x[20:]), alphas=(0.0, 0.1))
    assert found.to_json()["flip_norm"] == [None, None]


def test_bad_input_is_refused() -> None:
    f = torch.randint(0, 2, (40, 2))
    x = torch.randn(40, 3)
    with pytest.raises(InputError, match="at least 8 examples"):
        dissociate(Read(), "layer", x[:4], f[:4], predict(x))
    with pytest.raises(InputError, match="no module"):
        dissociate(Read(), "other", x, f, predict(x[20:]))
