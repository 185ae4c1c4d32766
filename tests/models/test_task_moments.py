import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.models.task_moments import TaskMoments


def test_samples_that_come_in_parts_add_up() -> None:
    X, y = torch.randn(30, 4), torch.randn(30)
    whole, parts = TaskMoments(2, 4), TaskMoments(2, 4)
    whole.add(1, X, y)
    for rows in (slice(0, 7), slice(7, 30)):
        parts.add(1, X[rows], y[rows])
    for name in ("gram", "cross", "square", "total", "target", "count"):
        torch.testing.assert_close(getattr(parts, name), getattr(whole, name))
        assert not getattr(whole, name)[0].any()
    assert (whole.tasks, whole.features) == (2, 4)


def test_centred_moments_are_those_of_centred_samples() -> None:
    X, y = torch.randn(20, 3).double() + 5, torch.randn(20).double() - 2
    moments, expected = TaskMoments(2, 3), TaskMoments(2, 3)
    moments.add(0, X, y)
    expected.add(0, X - X.mean(0), y - y.mean())
    centred = moments.centred()
    for name in ("gram", "cross", "square", "count"):
        torch.testing.assert_close(getattr(centred, name), getattr(expected, name), atol=1e-8, rtol=1e-8)


def test_inputs_of_another_width_are_refused() -> None:
    with pytest.raises(InputError, match=r"inputs are \(n, 3\)"):
        TaskMoments(1, 3).add(0, torch.zeros(5, 4), torch.zeros(5))
    with pytest.raises(InputError, match="at least one task"):
        TaskMoments(0, 3)
