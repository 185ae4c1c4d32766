import pytest
import torch

from ordinate.data.corrupted_sources import CorruptedSampler, CorruptedTasks
from ordinate.data.images import open_images
from ordinate.ground.errors import InputError


@pytest.fixture(scope="module")
def tasks() -> CorruptedTasks:
    return CorruptedTasks(open_images("digits"), ("identity", "brightness", "impulse_noise"), images=200, tested=100, seed=3)


def test_sources_are_of_other_kinds(tasks: CorruptedTasks) -> None:
    assert tasks.train.shape == (3, 200, 1, 8, 8) and tasks.test.shape == (3, 100, 1, 8, 8)
    sources = tasks.sources((1, 4))
    assert len(sources) == 20 and all(kind != 1 for kind, _ in sources) and (0, 4) in sources
    assert not torch.equal(tasks.train[0], tasks.train[1])


def test_samples_are_half_of_the_class_and_new_until_there_are_no_more(tasks: CorruptedTasks) -> None:
    sampler = CorruptedSampler(tasks, [(0, 4), (2, 7), (1, 4)], seed=0)
    first, y = sampler(0, 7)
    second, _ = sampler(0, 6)
    assert y.tolist() == [1, -1, 1, -1, 1, -1, 1]
    drawn = torch.cat([first, second]).flatten(1)
    assert len(drawn.unique(dim=0)) == 13
    own = tasks.train[0][tasks.train_labels == 4].flatten(1)
    assert all(any(torch.equal(image, each) for each in own) == (place % 2 == 0) for place, image in enumerate(drawn))
    assert torch.equal(CorruptedSampler(tasks, [(0, 4)], seed=0)(0, 13)[0].flatten(1), drawn)
    assert sampler(-1, 2)[0].shape == (2, 1, 8, 8)
    assert len(sampler(1, 500)[0]) == 500  # from the beginning again


def test_tests_are_balanced(tasks: CorruptedTasks) -> None:
    X, y = tasks.tested((2, 7))
    assert len(X) == len(y) and int((y == 1).sum()) == int((y == -1).sum()) == int((tasks.test_labels == 7).sum())


def test_bad_input_is_refused(tasks: CorruptedTasks) -> None:
    data = open_images("digits")
    for kinds, words in (
        (("identity",), "two or more"),
        (("identity", "identity"), "none twice"),
        (("identity", "snow"), "unknown corruption"),
    ):
        with pytest.raises(InputError, match=words):
            CorruptedTasks(data, kinds)
    with pytest.raises(InputError, match="there is no task 1"):
        CorruptedSampler(tasks, [(0, 4)], seed=0)(1, 3)
    few = CorruptedTasks(data, ("identity", "rotate"), images=3)
    absent = next(label for label in range(10) if label not in few.train_labels.tolist())
    with pytest.raises(InputError, match=f"no images of class {absent}"):
        CorruptedSampler(few, [(0, absent)], seed=0)(0, 2)
