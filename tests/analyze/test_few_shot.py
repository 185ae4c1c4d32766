import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.analyze.few_shot import HEADS, draw_episodes, episode_accuracy
from ordinate.analyze.probes import ClassMeanProbe, NeighbourProbe
from ordinate.ground.errors import InputError


@settings(max_examples=20)
@given(st.integers(2, 4), st.integers(1, 3), st.integers(1, 3), st.integers(1, 5))
def test_an_episode_has_ways_classes_and_no_row_twice(ways: int, shots: int, queries: int, episodes: int) -> None:
    labels = torch.tensor([3, 7, 8, 11] * 6)
    drawn = draw_episodes(labels, ways, shots, queries, episodes)
    assert drawn.support.shape == (episodes, ways, shots) and drawn.query.shape == (episodes, ways, queries)
    rows = torch.cat([drawn.support, drawn.query], dim=2)
    assert bool((labels[rows] == drawn.classes[:, :, None]).all())
    for episode, classes in zip(rows, drawn.classes, strict=True):
        assert len(episode.unique()) == episode.numel() and len(classes.unique()) == ways


def test_a_seed_decides_on_the_episodes() -> None:
    labels = torch.arange(100) % 5
    first, again, other = (draw_episodes(labels, 3, 2, 4, 6, seed) for seed in (1, 1, 2))
    assert torch.equal(first.support, again.support) and torch.equal(first.query, again.query)
    assert not torch.equal(first.support, other.support)


def _blobs(spread: float, rows: int = 200) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.arange(rows) % 5
    return torch.eye(5)[labels] * 3 + spread * torch.randn(rows, 5), labels


@pytest.mark.parametrize("head", [*HEADS, lambda: NeighbourProbe(1)])
def test_classes_far_apart_are_told_and_noise_is_not(head: object) -> None:
    found = episode_accuracy(*_blobs(0.01), head, shots=2, queries=5, episodes=8)
    assert found.mean > 0.99 and found.half_width < 0.02
    noise = episode_accuracy(torch.randn(200, 5), torch.arange(200) % 5, head, shots=1, queries=5, episodes=30)
    assert 0.1 < noise.mean < 0.3


def test_the_nearest_mean_is_the_class_mean_probe() -> None:
    features, labels = _blobs(2.0)
    ours = episode_accuracy(features, labels, "mean", shots=3, queries=6, episodes=10)
    assert torch.equal(ours.each, episode_accuracy(features, labels, ClassMeanProbe, shots=3, queries=6, episodes=10).each)


@pytest.mark.parametrize("head", ["linear", "cosine"])
def test_no_episode_sees_another(head: str) -> None:
    features, labels = _blobs(1.5)
    many = episode_accuracy(features, labels, head, shots=2, queries=6, episodes=6)
    few = episode_accuracy(features, labels, head, shots=2, queries=6, episodes=1)
    first_rows = draw_episodes(labels, 5, 2, 6, 1)
    assert torch.equal(first_rows.support, draw_episodes(labels, 5, 2, 6, 1).support)
    assert len(many.each) == 6 and few.half_width == 0.0
    alike = episode_accuracy(features, labels, head, shots=2, queries=6, episodes=6)
    assert torch.equal(alike.each, many.each)


def test_the_cosine_head_does_not_hear_lengths() -> None:
    features, labels = _blobs(1.0)
    stretched = features * torch.rand(200, 1).add(0.5)
    a, b = (episode_accuracy(each, labels, "cosine", shots=2, queries=6, episodes=6).each for each in (features, stretched))
    torch.testing.assert_close(a, b, atol=0.04, rtol=0)


def test_the_interval_is_of_the_mean() -> None:
    found = episode_accuracy(*_blobs(2.0), "mean", episodes=40)
    assert found.half_width == pytest.approx(1.96 * float(found.each.std()) / 40**0.5)


def test_what_is_wrong_is_one_line() -> None:
    features, labels = _blobs(1.0)
    for change, match in (
        ({"ways": 6}, "there are 5"),
        ({"ways": 1}, "two or more ways"),
        ({"shots": 0}, "one or more shots"),
        ({"shots": 30, "queries": 11}, "has 40"),
        ({"head": "cosin"}, "did you mean cosine"),
    ):
        with pytest.raises(InputError, match=match):
            episode_accuracy(features, labels, **change)
    with pytest.raises(InputError, match="3 labels"):
        episode_accuracy(features, labels[:3])
