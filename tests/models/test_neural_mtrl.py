import pytest
import torch
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.neural_mtrl import NeuralMTRL
from ordinate.train.recipe import Recipe


def samples(signs: bool) -> list[tuple[Tensor, Tensor]]:
    chance = torch.Generator().manual_seed(0)
    found = []
    for _ in range(5):
        X = torch.randn(60, 1, 2, 3, generator=chance)
        y = torch.tanh(2 * X.flatten(1)[:, :2]) @ torch.randn(2, generator=chance)
        found.append((X, y.sign() if signs else y))
    return found


def encoder() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 16), nn.Tanh())


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_any_encoder_learns_the_tasks(loss: str) -> None:
    given = encoder()
    before = [parameter.clone() for parameter in given.parameters()]
    tasks = samples(loss == "logistic")
    model = NeuralMTRL(given, 3, loss, recipe=Recipe(steps=150, lr=1e-2))
    model.fit_tasks(tasks, seed=1)
    assert model.heads.shape == (3, 5)
    features = model.encode(torch.cat([X for X, _ in tasks]))
    torch.testing.assert_close(features.mT @ features / len(features), torch.eye(3, dtype=torch.float64), atol=1e-6, rtol=0)
    X, y = tasks[2]
    head, level = model.fit_head(X, y)
    torch.testing.assert_close(head, model.heads[:, 2], atol=1e-8, rtol=1e-8)  # a source's head is fitted as a new task's is
    value = model.encode(X) @ head + level
    assert float((value.sign() == y.sign()).double().mean()) > 0.85
    assert all(torch.equal(a, b) for a, b in zip(before, given.parameters(), strict=True))  # the encoder given stays
    again = NeuralMTRL(given, 3, loss, recipe=Recipe(steps=150, lr=1e-2))
    again.fit_tasks(tasks, seed=1)
    assert torch.equal(again.heads, model.heads)


def test_a_fitted_logistic_head_is_the_minimiser() -> None:
    model = NeuralMTRL(encoder(), 2, "logistic", recipe=Recipe(steps=3, lr=1e-2))
    model.fit_tasks(samples(True))
    X, y = samples(True)[0]
    head, level = model.fit_head(X, y)
    w = torch.cat([head, torch.tensor([level], dtype=torch.float64)]).requires_grad_()
    x = torch.cat([model.encode(X), torch.ones(len(X), 1, dtype=torch.float64)], dim=1)
    (nn.functional.softplus(-y * (x @ w)).mean() + 0.5e-3 * w[:-1].square().sum()).backward()
    assert float(w.grad.abs().max()) < 1e-8


def test_a_task_without_samples_has_a_head_of_zeros() -> None:
    model = NeuralMTRL(encoder(), 2, recipe=Recipe(steps=2))
    model.begin(4)
    for task in (0, 1, 3):
        model.add(task, *samples(False)[task])
    model.learn()
    assert not model.heads[:, 2].any() and model.heads[:, [0, 1, 3]].all()


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="unknown loss"):
        NeuralMTRL(encoder(), 2, "hinge")
    with pytest.raises(InputError, match="positive penalty"):
        NeuralMTRL(encoder(), 2, penalty=0.0)
    model = NeuralMTRL(encoder(), 3, "logistic")
    with pytest.raises(InputError, match="has 1 to 2 features, not 3"):
        model.begin(2)
    model.begin(3)
    with pytest.raises(InputError, match="there are none"):
        model.learn()
    with pytest.raises(InputError, match="nothing was learnt"):
        _ = model.heads
    with pytest.raises(InputError, match="-1 and 1"):
        model.add(0, torch.zeros(2, 6), torch.zeros(2))
