import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.objectives.routed_classification import RoutedClassification
from ordinate.objectives.sharp_entropy import SharpEntropy, entropies
from ordinate.objectives.ufm import UFM, trusted_rows, ufm_loss

NONE = torch.zeros(2, dtype=torch.bool)
LABELS = torch.zeros(2, dtype=torch.int64)


def test_a_row_worked_by_hand() -> None:
    p = torch.tensor([[0.96, 0.04], [0.5, 0.5]])
    q = torch.tensor([0.96**0.5, 0.04**0.5])
    q = q / q.sum()
    strong = torch.randn(2, 2, requires_grad=True)
    loss = ufm_loss(p.log(), strong, LABELS, NONE, 0.8)
    torch.testing.assert_close(loss, -(q * strong[0].log_softmax(0)).sum())
    loss.backward()
    assert strong.grad[1].eq(0).all() and strong.grad[0].any()


def test_trusted_rows_are_taught_their_label_at_any_threshold_and_nothing_else_counts_at_one() -> None:
    weak, strong = 50 * torch.eye(2), torch.randn(2, 2)
    loss = ufm_loss(weak, strong, torch.tensor([1, 0]), torch.tensor([True, False]), 1.0)
    torch.testing.assert_close(loss, F.cross_entropy(strong[:1], torch.tensor([1])))


@pytest.mark.parametrize("compat", ["paper", "released"])
def test_without_rows_that_count_the_loss_is_zero_and_has_a_gradient(compat: str) -> None:
    strong = torch.randn(2, 3, requires_grad=True)
    loss = ufm_loss(torch.zeros(2, 3), strong, LABELS, NONE, 0.9, compat)
    loss.backward()
    assert float(loss.detach()) == 0 and strong.grad.eq(0).all()


def test_the_released_form_keeps_the_probabilities() -> None:
    p = torch.tensor([[0.96, 0.04], [0.5, 0.5]])
    strong = torch.randn(2, 2)
    torch.testing.assert_close(ufm_loss(p.log(), strong, LABELS, NONE, 0.9, "released"), -(p[0] * strong[0].log_softmax(0)).sum())


def test_the_threshold_rises_over_the_steps() -> None:
    objective = UFM(10)
    seen = []
    for _ in range(12):
        seen.append(objective.threshold)
        objective.update()
    assert seen[0] == 0.9 and seen[5] == pytest.approx(0.95) and seen[10:] == [1.0, 1.0]


def test_the_surest_rows_of_each_class_are_trusted_once() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.6, 0.4], [0.55, 0.45]])
    rows, labels = trusted_rows(probabilities)
    assert rows.tolist() == [0, 1, 2, 3] and labels.tolist() == [0, 0, 1, 1]
    rows, labels = trusted_rows(probabilities, most=1)
    assert rows.tolist() == [0, 3] and labels.tolist() == [0, 1]
    assert len(trusted_rows(torch.rand(50, 2), share=0.1)[0]) <= 4
    rows, labels = trusted_rows(torch.tensor([[0.4, 0.6], [0.3, 0.2]]), most=1)
    assert rows.tolist() == [0] and labels.tolist() == [1]


def test_bad_options_are_one_line() -> None:
    with pytest.raises(InputError, match="unknown form"):
        ufm_loss(torch.zeros(2, 2), torch.zeros(2, 2), LABELS, NONE, 0.9, "other")
    with pytest.raises(InputError, match=r"lies in \[0, 1\]"):
        ufm_loss(torch.zeros(2, 2), torch.zeros(2, 2), LABELS, NONE, 1.5)
    with pytest.raises(InputError, match="1 step or more"):
        UFM(0)
    with pytest.raises(InputError, match="margin positive"):
        SharpEntropy(margin=0)
    with pytest.raises(InputError, match="one head and one weight a task"):
        RoutedClassification([nn.Identity()], [1.0, 2.0])


def test_entropies_are_those_of_the_softmax() -> None:
    torch.testing.assert_close(entropies(torch.zeros(1, 4)), torch.tensor([math.log(4)]))
    torch.testing.assert_close(entropies(torch.tensor([[100.0, 0.0]])), torch.zeros(1), atol=1e-6, rtol=0)


def test_the_gradient_of_sharp_entropy_is_that_at_the_worst_point() -> None:
    model = nn.Linear(3, 2)
    x = 4 * torch.randn(30, 3)
    loss = SharpEntropy(rho=0.3)(model, {"image": x})
    loss.backward()
    each = entropies(model(x))
    reliable = each < 0.4 * math.log(2)
    gradients = torch.autograd.grad(each[reliable].mean(), list(model.parameters()))
    length = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    moved = nn.Linear(3, 2)
    with torch.no_grad():
        for there, here, gradient in zip(moved.parameters(), model.parameters(), gradients, strict=True):
            there.copy_(here + 0.3 * gradient / length)
    second = entropies(moved(x))
    second[reliable & (second < 0.4 * math.log(2))].mean().backward()
    for ours, theirs in zip(model.parameters(), moved.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_without_reliable_rows_entropy_teaches_nothing() -> None:
    model = nn.Linear(3, 2)
    loss = SharpEntropy()(model, {"image": torch.zeros(4, 3) * model.weight.sum().detach()})
    loss.backward()
    assert float(loss.detach()) == 0 or float(loss.detach()) < 0.4 * math.log(2)


def test_rows_are_judged_by_the_head_of_their_task() -> None:
    heads = [nn.Linear(3, 2), nn.Linear(3, 4)]
    x, labels, task = torch.randn(6, 3), torch.tensor([0, 1, 1, 3, 2, 0]), torch.tensor([0, 0, 0, 1, 1, 1])
    objective = RoutedClassification(heads, [-1.0, 1.0])
    loss = objective(nn.Identity(), {"image": x, "label": labels, "task": task})
    expected = F.cross_entropy(heads[1](x[3:]), labels[3:]) - F.cross_entropy(heads[0](x[:3]), labels[:3])
    torch.testing.assert_close(loss, expected)
    assert not any(parameter.requires_grad for parameter in objective.parameters())
    only = objective(nn.Identity(), {"image": x[:3], "label": labels[:3], "task": task[:3]})
    torch.testing.assert_close(only, -F.cross_entropy(heads[0](x[:3]), labels[:3]))
