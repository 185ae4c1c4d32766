from typing import Any

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.utils.estimator_checks import parametrize_with_checks

from ordinate.analyze.probes import ClassMeanProbe, NeighbourProbe, RidgeProbe
from ordinate.ground.errors import InputError


@parametrize_with_checks([NeighbourProbe(), NeighbourProbe(3, "l2"), ClassMeanProbe("l2"), RidgeProbe()])
def test_they_have_scikit_learns_manners(estimator: Any, check: Any) -> None:
    check(estimator)


def _data(seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    made = np.random.default_rng(seed)
    return made.normal(size=(80, 6)), made.integers(0, 3, 80), made.normal(size=(25, 6))


@pytest.mark.parametrize("neighbours", [1, 5])
def test_neighbours_by_distance_vote_as_scikit_learns_do(neighbours: int) -> None:
    train, labels, test = _data()
    ours = NeighbourProbe(neighbours, "l2").fit(train, labels).predict(test)
    assert np.array_equal(ours, KNeighborsClassifier(neighbours).fit(train, labels).predict(test))


def test_neighbours_by_angle_do_not_hear_lengths() -> None:
    train, labels, test = _data()
    scale = np.linspace(0.1, 9, 80)[:, None]
    probe = NeighbourProbe(5).fit(train, labels)
    assert np.array_equal(probe.predict(test), NeighbourProbe(5).fit(train * scale, labels).predict(3 * test))
    by_angle = KNeighborsClassifier(5, metric="cosine").fit(train, labels).predict(test)
    assert np.array_equal(probe.predict(test), by_angle)


def test_weighted_votes_follow_the_nearest_when_cold_and_the_majority_when_hot() -> None:
    train, labels, test = _data()
    labels = labels % 2  # nine votes for two classes never tie
    cold = NeighbourProbe(9, temperature=1e-3).fit(train, labels).predict(test)
    hot = NeighbourProbe(9, temperature=1e6).fit(train, labels).predict(test)
    assert np.array_equal(cold, NeighbourProbe(1).fit(train, labels).predict(test))
    assert np.array_equal(hot, NeighbourProbe(9).fit(train, labels).predict(test))


def test_class_means_are_scikit_learns_centroids() -> None:
    train, labels, test = _data()
    ours = ClassMeanProbe("l2").fit(train, labels).predict(test)
    assert np.array_equal(ours, NearestCentroid().fit(train, labels).predict(test))


def test_class_means_by_angle_weigh_every_embedding_alike() -> None:
    train = np.array([[100.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    probe = ClassMeanProbe().fit(train, ["a", "a", "b"])
    torch.testing.assert_close(probe.means_[0], torch.tensor([1.0, 1.0], dtype=torch.float64) / 2**0.5)


def test_ridge_is_the_least_squares_solution() -> None:
    train, labels, _ = _data()
    probe = RidgeProbe(1e-9).fit(train, labels)
    design = np.hstack([train, np.ones((80, 1))])
    solution = np.linalg.lstsq(design, np.eye(3)[labels], rcond=None)[0]
    np.testing.assert_allclose(probe.decide(train).numpy(), design @ solution, atol=1e-6)


def test_a_constant_feature_does_no_harm() -> None:
    train, labels, test = _data()
    with_constant = [np.hstack([x, np.full((len(x), 1), 7.0)]) for x in (train, test)]
    assert np.array_equal(
        RidgeProbe().fit(with_constant[0], labels).predict(with_constant[1]), RidgeProbe().fit(train, labels).predict(test)
    )


def test_tensors_and_labels_of_text_are_taken() -> None:
    train, labels, test = _data()
    names = np.array(["ant", "bee", "cat"])[labels]
    for probe in (NeighbourProbe(), ClassMeanProbe(), RidgeProbe()):
        from_tensors = probe.fit(torch.from_numpy(train), torch.from_numpy(labels)).predict(torch.from_numpy(test))
        assert np.array_equal(probe.fit(train, names).predict(test), np.array(["ant", "bee", "cat"])[from_tensors])


def test_bad_input_is_one_clear_line() -> None:
    train, labels, _ = _data()
    with pytest.raises(InputError, match="unknown metric"):
        NeighbourProbe(metric="euclid").fit(train, labels)
    with pytest.raises(InputError, match="neighbours must be at least 1"):
        NeighbourProbe(0).fit(train, labels)
    with pytest.raises(InputError, match="temperature must be positive"):
        NeighbourProbe(3, "l2", 0.1).fit(train, labels)
    with pytest.raises(InputError, match="there is 1 class"):
        ClassMeanProbe().fit(train, np.zeros(80))
    with pytest.raises(InputError, match="alpha must be positive"):
        RidgeProbe(0.0).fit(train, labels)
    with pytest.raises(ValueError, match="NaN"):
        RidgeProbe().fit(train * np.nan, labels)
