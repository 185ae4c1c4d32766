import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.data.sorting import sorted_slots, sorting_batch
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator


@given(numbers=st.lists(st.floats(-9, 9, width=32), min_size=1, max_size=7), descending=st.booleans())
@settings(max_examples=40)
def test_slots_in_order_with_ties_by_the_lower_slot(numbers: list[float], descending: bool) -> None:
    ours = sorted_slots(torch.tensor([numbers]), descending=descending)[0].tolist()
    sign = -1 if descending else 1
    assert ours == [*sorted(range(1, len(numbers) + 1), key=lambda slot: sign * numbers[slot - 1]), 0]


@pytest.mark.parametrize("order", ["ascending", "descending", "random"])
def test_batches_of_mixed_sizes(order: str) -> None:
    batch = sorting_batch((2, 6), 50, generator(0), order)
    assert set(batch["lengths"].tolist()) == {2, 3, 4, 5, 6}
    for points, n, target, items in zip(*(batch[name] for name in ("points", "lengths", "target", "items")), strict=True):
        slots = target[:n]
        assert sorted(slots.tolist()) == list(range(1, int(n) + 1)) and not target[n:].any()
        assert items.tolist() == [*range(1, int(n) + 1), *[-1] * (6 - int(n))]
        steps = points[slots - 1, 0].diff()
        if order != "random":
            assert ((steps if order == "ascending" else -steps) >= 0).all()
    if order == "random":
        assert not torch.equal(batch["target"], sorting_batch((2, 6), 50, generator(0))["target"])
        counts = torch.bincount(sorting_batch((3, 3), 3000, generator(0), order)["target"][:, 0])[1:]
        assert (counts > 900).all()


def test_bad_input_is_one_line() -> None:
    with pytest.raises(InputError, match="unknown order of numbers"):
        sorting_batch((2, 3), 4, generator(0), "sideways")
    for sizes in ((0, 2), (3, 2)):
        with pytest.raises(InputError, match="1 or more numbers"):
            sorting_batch(sizes, 4, generator(0))
    with pytest.raises(InputError, match="have no order"):
        sorted_slots(torch.tensor([[1.0, float("nan")]]))
    assert sorted_slots(torch.tensor([[1.0, float("nan")]]), torch.tensor([1])).tolist() == [[1, 0, 0]]
