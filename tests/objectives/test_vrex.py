import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.objectives.vrex import CLOvE, EnvironmentRisk, IRMv1, VREx

PENALISED = (VREx, IRMv1, CLOvE)


def _batch(environments: int = 3) -> dict[str, Tensor]:
    return {"image": torch.randn(24, 5), "label": torch.arange(24) % 4, "environment": torch.arange(24) % environments}


def _risks(model: nn.Module, batch: dict[str, Tensor]) -> Tensor:
    here = [batch["environment"] == e for e in batch["environment"].unique()]
    return torch.stack([F.cross_entropy(model(batch["image"][rows]), batch["label"][rows]) for rows in here])


def test_risks_are_averaged_over_environments_and_not_over_rows() -> None:
    model, batch = nn.Linear(5, 4), _batch()
    batch["environment"][:20] = 7
    torch.testing.assert_close(EnvironmentRisk()(model, batch), _risks(model, batch).mean())


def test_extrapolation_adds_the_variance() -> None:
    model, batch = nn.Linear(5, 4), _batch()
    risks = _risks(model, batch)
    torch.testing.assert_close(VREx(3.0)(model, batch), risks.mean() + 3 * risks.var(unbiased=False))


def test_one_environment_is_empirical_risk() -> None:
    model, batch = nn.Linear(5, 4), _batch(1)
    torch.testing.assert_close(VREx(100.0)(model, batch), F.cross_entropy(model(batch["image"]), batch["label"]))


@pytest.mark.parametrize("kind", PENALISED)
def test_without_weight_each_is_the_mean_of_the_risks(kind: type[VREx]) -> None:
    model, batch = nn.Linear(5, 4), _batch()
    torch.testing.assert_close(kind(0.0)(model, batch), EnvironmentRisk()(model, batch))


def test_the_invariance_penalty_is_the_squared_gradient_in_a_scale_of_one() -> None:
    model, batch = nn.Linear(5, 4), _batch()
    expected = 0.0
    for environment in range(3):
        rows = batch["environment"] == environment
        scale = torch.ones((), requires_grad=True)
        risk = F.cross_entropy(scale * model(batch["image"][rows]), batch["label"][rows])
        expected += torch.autograd.grad(risk, scale)[0].square() / 3
    torch.testing.assert_close(IRMv1(5.0)(model, batch) - IRMv1(0.0)(model, batch), 5 * expected, atol=1e-6, rtol=1e-5)


def test_the_calibration_penalty_is_the_kernel_error_by_hand_and_none_where_certainty_is_right() -> None:
    labels = torch.tensor([0, 1])
    z = torch.tensor([[2.0, 0.0], [0.5, 0.0]])
    r = z.softmax(1).max(1).values
    miss = torch.tensor([1.0, 0.0]) - r
    k = float((-(r[0] - r[1]).abs() / 0.4).exp())
    expected = (miss[0] ** 2 + miss[1] ** 2 + 2 * k * miss[0] * miss[1]) / 4
    batch = {"image": z, "label": labels, "environment": torch.zeros(2, dtype=torch.int64)}
    torch.testing.assert_close(CLOvE(1.0)(nn.Identity(), batch) - CLOvE(0.0)(nn.Identity(), batch), expected)
    sure = {**batch, "image": 100 * F.one_hot(labels, 2).float()}
    assert CLOvE(1.0)(nn.Identity(), sure) < 1e-6


@pytest.mark.parametrize("kind", PENALISED)
def test_each_trains(kind: type[VREx]) -> None:
    model, batch = nn.Linear(5, 4), _batch()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    losses = []
    for _ in range(40):
        optimizer.zero_grad()
        loss = kind()(model, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("kind", PENALISED)
def test_what_is_wrong_is_one_line(kind: type[VREx]) -> None:
    with pytest.raises(InputError, match="0 or more"):
        kind(-1.0)
    batch = _batch()
    del batch["environment"]
    with pytest.raises(InputError, match="lacks environment"):
        kind()(nn.Linear(5, 4), batch)
    empty = {name: tensor[:0] for name, tensor in _batch().items()}
    with pytest.raises(InputError, match="lacks rows"):
        kind()(nn.Linear(5, 4), empty)
