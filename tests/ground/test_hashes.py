import pytest
import torch
from torch import Tensor

from ordinate.ground.hashes import TensorHash, hash_tensors


def test_equal_tensors_have_equal_hashes_wherever_they_lie_in_memory() -> None:
    x = torch.arange(12.0).view(3, 4)
    assert hash_tensors([("x", x)]) == hash_tensors([("x", x.t().contiguous().t())])
    assert len(hash_tensors([])) == 32


@pytest.mark.parametrize(
    "other",
    [torch.arange(12.0).view(4, 3), torch.arange(12).view(3, 4), torch.arange(12.0).view(3, 4) + 1e-6, -torch.arange(12.0).view(3, 4)],
)
def test_shape_dtype_and_every_number_count(other: Tensor) -> None:
    assert hash_tensors([("x", torch.arange(12.0).view(3, 4))]) != hash_tensors([("x", other)])


def test_names_and_what_else_is_said_count() -> None:
    x = torch.ones(2, dtype=torch.bfloat16)
    found = {hash_tensors([("x", x)]), hash_tensors([("y", x)]), hash_tensors([("x", x)], "about"), hash_tensors([("x", x), ("x", x)])}
    assert len(found) == 4


def test_tensors_one_after_another_are_as_good_as_all_at_once() -> None:
    x, y = torch.tensor(3), torch.empty(0, 2)
    step_by_step = TensorHash("a")
    step_by_step.add("x", x)
    step_by_step.add("y", y)
    assert step_by_step.text() == hash_tensors([("x", x), ("y", y)], "a")
