import copy

import pytest
import torch
from torch import nn

from ordinate.adapt.distil import Distillation, teacher_logits
from ordinate.data.batches import Shuffled, TensorSource
from ordinate.ground.errors import InputError
from ordinate.models.mlp import MLP
from ordinate.train.fit import fit
from ordinate.train.recipe import Recipe


def _network() -> MLP:
    return MLP(num_classes=3, image_size=4, hidden=[6], num_features=5)


IMAGES = torch.randn(40, 1, 4, 4, generator=torch.Generator().manual_seed(0))


def test_a_student_that_equals_its_teachers_has_no_gradient() -> None:
    teacher = _network()
    logits = teacher_logits([teacher, teacher], IMAGES)
    student, aim = copy.deepcopy(teacher), Distillation(5, 3, 2)
    for head in aim.heads:
        head.load_state_dict(teacher.head.state_dict())
    loss = aim(student, {"image": IMAGES, "teachers": logits})
    loss.backward()
    assert abs(loss.item()) < 1e-4
    assert all(parameter.grad.abs().max() < 1e-5 for parameter in [*student.body.parameters(), *aim.parameters()])


def test_the_loss_is_the_sum_of_scaled_divergences() -> None:
    student, aim, logits = _network(), Distillation(5, 3, 2, tau=4.0), torch.randn(40, 2, 3)
    expected = 0.0
    for i, head in enumerate(aim.heads):
        p, q = (logits[:, i] / 4).softmax(1), (head(student.embed(IMAGES)) / 4).softmax(1)
        expected += 16 * (p * (p / q).log()).sum(1).mean()
    torch.testing.assert_close(aim(student, {"image": IMAGES, "teachers": logits}), expected)


def test_hard_targets_are_the_teachers_most_probable_classes() -> None:
    student, aim, logits = _network(), Distillation(5, 3, 2, targets="hard"), torch.randn(40, 2, 3)
    expected = sum(nn.functional.cross_entropy(head(student.embed(IMAGES)), logits[:, i].argmax(1)) for i, head in enumerate(aim.heads))
    torch.testing.assert_close(aim(student, {"image": IMAGES, "teachers": logits}), expected)


@pytest.mark.parametrize("targets", ["soft", "hard"])
def test_a_student_learns_to_agree_with_its_teachers(targets: str) -> None:
    teachers = [_network() for _ in range(3)]
    logits = 10 * teacher_logits(teachers, IMAGES)
    student, aim = _network(), Distillation(5, 3, 3, targets=targets, tau=3.0)
    batch = {"image": IMAGES, "teachers": logits}
    before = aim(student, batch).item()
    fit(student, aim, Shuffled(TensorSource(**batch), 20, 0), Recipe(steps=200, lr=2e-2))
    assert aim(student, batch).item() < before / 4


def test_logits_are_computed_in_evaluation_mode_in_the_order_of_the_teachers() -> None:
    teachers = [nn.Sequential(nn.Flatten(), nn.Dropout(), nn.Linear(16, 2)) for _ in range(2)]
    logits = teacher_logits(teachers, IMAGES)
    assert logits.shape == (40, 2, 2) and all(teacher.training for teacher in teachers)
    torch.testing.assert_close(logits[:, 1], teachers[1].eval()(IMAGES).detach())


def test_what_is_wrong_is_one_line() -> None:
    with pytest.raises(InputError, match="at least one teacher"):
        teacher_logits([], IMAGES)
    with pytest.raises(InputError, match="same classes"):
        teacher_logits([nn.Flatten(), nn.Sequential(nn.Flatten(), nn.Linear(16, 2))], IMAGES)
    with pytest.raises(InputError, match="positive"):
        Distillation(5, 3, 2, tau=0)
    with pytest.raises(InputError, match="unknown kind of targets"):
        Distillation(5, 3, 2, targets="firm")
    with pytest.raises(InputError, match="'teachers'"):
        Distillation(5, 3, 2)(_network(), {"image": IMAGES})
    with pytest.raises(InputError, match=r"\(40, 3, 3\)"):
        Distillation(5, 3, 2)(_network(), {"image": IMAGES, "teachers": torch.zeros(40, 3, 3)})
