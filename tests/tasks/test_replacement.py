"""What is compared when a model is to take over an index: see tests/cli/test_walk.py for whole runs."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.ground.errors import InputError
from ordinate.tasks.replacement import halves


@given(st.lists(st.integers(0, 4), min_size=4, max_size=60), st.integers(0, 3))
def test_halves_are_of_every_class_and_share_no_row(labels: list[int], seed: int) -> None:
    found = torch.tensor(labels)
    counts = found.bincount()
    if int((counts > 1).sum()) < 2:
        with pytest.raises(InputError, match="two classes or more"):
            halves(found, seed)
        return
    queries, gallery = halves(found, seed)
    assert not set(queries.tolist()) & set(gallery.tolist())
    for label, count in enumerate(counts.tolist()):
        asked, rest = int((found[queries] == label).sum()), int((found[gallery] == label).sum())
        assert asked + rest == (count if count > 1 else 0) and 0 <= asked - rest <= 1, "an odd one is a query"


def test_halves_depend_on_the_seed_alone() -> None:
    labels = torch.arange(100) % 5
    assert torch.equal(halves(labels, 1)[0], halves(labels, 1)[0])
    assert not torch.equal(halves(labels, 1)[0], halves(labels, 2)[0])
