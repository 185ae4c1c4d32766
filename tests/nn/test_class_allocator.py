"""Places of classes in a table of prototypes."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ordinate.ground.errors import InputError
from ordinate.nn.class_allocator import ClassAllocator


def test_publishers_fill_from_the_front_and_fine_tuners_from_the_back() -> None:
    table = ClassAllocator(5)
    assert table.allocate(["cat", "dog"], "front") == [0, 1]
    assert table.allocate(["chair", "table"]) == [4, 3]
    assert table.allocate(["dog", "chair", "lamp"]) == [1, 4, 2]
    assert table.free == 0 and len(table) == 5
    with pytest.raises(InputError, match="full: 1 classes are new, and 0"):
        table.allocate(["dog", "door"])


def test_nothing_is_allocated_of_classes_that_do_not_all_fit() -> None:
    table = ClassAllocator(3)
    with pytest.raises(InputError, match="full"):
        table.allocate(["a", "b", "c", "d"])
    assert len(table) == 0


@given(st.lists(st.tuples(st.sampled_from(["front", "back"]), st.lists(st.integers(0, 9), max_size=4)), max_size=6))
def test_a_class_keeps_its_row_and_no_row_has_two(requests: list[tuple[str, list[int]]]) -> None:
    table, before = ClassAllocator(10), {}
    for pool, classes in requests:
        rows = table.allocate(classes, pool)
        assert rows == [table.places[name] for name in classes]
        assert all(table.places[name] == row for name, row in before.items())
        assert len(set(table.places.values())) == len(table)
        before = dict(table.places)


def test_an_explicit_map_is_taken_and_travels_as_json() -> None:
    table = ClassAllocator(6, {"a": 3, 7: 0})
    again = ClassAllocator.from_json(json.loads(json.dumps(table.to_json())))
    assert again == table and again.places == {"a": 3, 7: 0} and again != ClassAllocator(7, {"a": 3, 7: 0})
    for places in ({"a": 6}, {"a": -1}, {"a": 1, "b": 1}):
        with pytest.raises(InputError, match="a row of its own"):
            ClassAllocator(6, places)


def test_what_keeps_two_maps_apart_is_said() -> None:
    table = ClassAllocator(6, {"a": 0, "b": 1})
    assert table.differs(ClassAllocator(6, {"a": 0, "b": 1, "c": 5})) is None
    assert "tables of 6 and 7" in str(table.differs(ClassAllocator(7, {"a": 0})))
    assert "class b" in str(table.differs(ClassAllocator(6, {"b": 2})))
    assert "b and c" in str(table.differs(ClassAllocator(6, {"c": 1})))


def test_bad_sizes_and_pools_are_one_line() -> None:
    with pytest.raises(InputError, match="at least two classes"):
        ClassAllocator(1)
    with pytest.raises(InputError, match="unknown pool"):
        ClassAllocator(4).allocate(["a"], "middle")
