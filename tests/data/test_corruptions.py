import math
import pickle
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ordinate.data.batches import TensorSource
from ordinate.data.corruptions import CORRUPTIONS, SEVERITIES, STANDARD, Corrupted, corrupt, corrupted_data
from ordinate.data.images import open_images
from ordinate.ground.errors import InputError

RANDOM = sorted(set(CORRUPTIONS) - {"identity", "scale", "brightness", "stripe", "canny_edges"})


@pytest.fixture(scope="module")
def digits() -> Tensor:
    from sklearn.datasets import load_digits

    images = torch.from_numpy(load_digits().images[:40]).float()[:, None] / 16
    return torch.nn.functional.interpolate(images, size=28, mode="bilinear")


@given(
    st.sampled_from(CORRUPTIONS), st.sampled_from(SEVERITIES), st.sampled_from([1, 3]), st.tuples(st.integers(1, 17), st.integers(1, 17))
)
@settings(max_examples=40)
def test_any_image_keeps_its_shape_and_range(kind: str, severity: int, channels: int, sides: tuple[int, int]) -> None:
    images = torch.rand(2, channels, *sides, generator=torch.Generator().manual_seed(1))
    kept = images.clone()
    changed = corrupt(images, kind, severity, seed=4)
    assert changed.shape == images.shape and changed.dtype == images.dtype
    assert torch.isfinite(changed).all() and float(changed.min()) >= 0 and float(changed.max()) <= 1
    assert torch.equal(images, kept)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_a_row_is_corrupted_alike_alone_and_in_a_batch(kind: str, digits: Tensor) -> None:
    whole = corrupt(digits[:6], kind, seed=2)
    rows = torch.tensor([4, 1])
    assert torch.allclose(corrupt(digits[rows], kind, seed=2, rows=rows), whole[rows], atol=1e-6)


@pytest.mark.parametrize("kind", RANDOM)
def test_seeds_and_rows_differ(kind: str, digits: Tensor) -> None:
    same = digits[:1].expand(8, -1, -1, -1)
    changed = corrupt(same, kind, seed=0)
    assert not torch.equal(changed, corrupt(same, kind, seed=1))
    assert any(not torch.equal(changed[0], other) for other in changed[1:])


@pytest.mark.parametrize("kind", sorted(set(CORRUPTIONS) - {"identity"}))
def test_more_severe_is_further_away(kind: str, digits: Tensor) -> None:
    distance = [float((corrupt(digits, kind, severity) - digits).abs().mean()) for severity in SEVERITIES]
    assert distance[0] > 1e-3 and distance[-1] > distance[0]
    if kind in {"shot_noise", "impulse_noise", "rotate", "shear", "scale", "brightness", "stripe", "zigzag", "dotted_line", "canny_edges"}:
        assert distance == sorted(distance)


def test_bytes_are_corrupted_as_their_fractions_are(digits: Tensor) -> None:
    pixels = (digits * 255).round().to(torch.uint8)
    changed = corrupt(pixels, "motion_blur", seed=1)
    assert changed.dtype == torch.uint8
    assert torch.equal(changed, (corrupt(pixels.float() / 255, "motion_blur", seed=1) * 255).round().to(torch.uint8))
    assert torch.equal(corrupt(pixels, "identity"), pixels)


def test_noises_have_their_rates() -> None:
    grey = torch.full((20, 1, 28, 28), 0.5)
    salted = corrupt(grey, "impulse_noise", 5)
    assert abs(float((salted == 0).double().mean()) - 0.135) < 0.01 and abs(float((salted == 1).double().mean()) - 0.135) < 0.01
    shot = corrupt(grey, "shot_noise", 3) * 12
    assert torch.allclose(shot, shot.round(), atol=1e-4)
    assert abs(float(shot.mean()) - 6) < 0.1 and abs(float(shot.var()) - 6) < 0.6
    assert torch.equal(corrupt(torch.zeros(1, 1, 8, 8), "shot_noise"), torch.zeros(1, 1, 8, 8))


def test_geometry_moves_a_point_where_it_should() -> None:
    point = torch.zeros(1, 1, 29, 29)
    point[0, 0, 14, 24] = 1  # ten pixels right of the centre
    for seed in range(3):
        row, column = divmod(int(corrupt(point, "rotate", 5, seed=seed).argmax()), 29)
        assert abs(column - 14 - 10 * math.cos(1)) <= 1 and abs(abs(row - 14) - 10 * math.sin(1)) <= 1
    assert int(corrupt(point, "scale", 5).argmax()) == 14 * 29 + 19
    moved = corrupt(point[..., :28, :28], "translate", 3)
    row, column = divmod(int(moved.argmax()), 28)
    assert {abs(row - 14), abs(column - 24)} == {3}
    sheared = corrupt(point, "shear", 3)
    assert int(sheared.argmax()) == int(point.argmax())  # a shear along rows leaves the centre's row


def test_stripes_invert_a_quarter_at_either_side(digits: Tensor) -> None:
    changed = corrupt(digits, "stripe")
    assert torch.equal(changed[..., :7], 1 - digits[..., :7]) and torch.equal(changed[..., 21:], 1 - digits[..., 21:])
    assert torch.equal(changed[..., 7:21], digits[..., 7:21])


def test_brightness_raises_the_value_and_keeps_the_hue() -> None:
    colour = torch.tensor([0.2, 0.4, 0.1])[None, :, None, None].expand(1, 3, 4, 4)
    raised = corrupt(colour, "brightness", 2)
    assert torch.allclose(raised.amax(dim=1), torch.full((1, 4, 4), 0.6))
    assert torch.allclose(raised[:, 0] / raised[:, 1], colour[:, 0] / colour[:, 1])
    assert torch.allclose(corrupt(torch.zeros(1, 1, 4, 4), "brightness", 2), torch.full((1, 1, 4, 4), 0.2))


def test_glass_keeps_the_light_and_the_images_apart() -> None:
    image = torch.zeros(2, 1, 28, 28)
    image[0, :, 10:18, 10:18] = 1
    changed = corrupt(image, "glass_blur", 1)
    assert float(changed[0].sum()) == pytest.approx(64, rel=1e-3)
    assert float(changed[1].abs().sum()) == 0


def test_motion_leaves_a_trail_to_one_side() -> None:
    point = torch.zeros(1, 1, 28, 28)
    point[0, 0, 14, 20] = 1
    trail = corrupt(point, "motion_blur", 1)[0, 0]
    assert float(trail.sum()) == pytest.approx(1, abs=1e-4)
    assert float(trail[:, :21].sum()) == pytest.approx(1, abs=1e-4) and float(trail[14, 20]) == float(trail.max())


def test_edges_of_a_square_are_a_closed_line() -> None:
    image = torch.zeros(1, 1, 28, 28)
    image[..., 8:20, 8:20] = 1
    edges = corrupt(image, "canny_edges")[0, 0]
    assert set(edges.unique().tolist()) == {0.0, 1.0}
    assert 40 <= int(edges.sum()) <= 100
    assert int(edges[12:16, 12:16].sum()) == 0 and int(edges[:5].sum()) == 0
    assert all(edges[row].sum() >= 2 for row in range(9, 19))
    assert float(corrupt(torch.full((1, 1, 28, 28), 0.7), "canny_edges").sum()) == 0


def test_fog_takes_the_contrast_and_spatter_covers_more(digits: Tensor) -> None:
    assert float(corrupt(digits, "fog", 5).std()) < float(corrupt(digits, "fog", 1).std()) < float(digits.std())
    white = torch.ones(30, 1, 28, 28)
    covered = [float((corrupt(white, "spatter", severity) < 0.9).double().mean()) for severity in (1, 2, 3)]
    assert covered == sorted(covered) and 0 < covered[0] < 0.1 < covered[2] < 0.5


def test_lines_are_as_many_as_the_severity() -> None:
    dark = torch.zeros(1, 1, 28, 28)
    for kind in ("dotted_line", "zigzag"):
        light = [corrupt(dark, kind, severity, seed=3) for severity in SEVERITIES]
        for fewer, more in pairwise(light):
            assert bool((more >= fewer - 1e-6).all()) and float(more.sum()) > float(fewer.sum())
    dotted = corrupt(dark, "dotted_line", seed=3)[0, 0].sum(dim=0)
    assert all((dotted[column] > 0) == (column // 2 % 2 == 1) for column in range(28))


def test_a_source_is_corrupted_by_its_rows(digits: Tensor) -> None:
    source = TensorSource(image=digits, label=torch.arange(40))
    corrupted = Corrupted(source, "impulse_noise", 2, seed=5)
    assert len(corrupted) == 40
    taken = corrupted.take(torch.tensor([7, 3, 7]))
    assert taken["label"].tolist() == [7, 3, 7]
    assert torch.equal(taken["image"][0], taken["image"][2])
    assert torch.equal(taken["image"], corrupt(digits, "impulse_noise", 2, seed=5)[[7, 3, 7]])
    assert torch.equal(pickle.loads(pickle.dumps(corrupted)).take(torch.tensor([7, 3, 7]))["image"], taken["image"])


def test_standardised_data_stay_standardised() -> None:
    data = open_images("digits")
    same = corrupted_data(data, "identity")
    rows = torch.arange(9)
    assert torch.allclose(same.test.take(rows)["image"], data.test.take(rows)["image"], atol=1e-5)
    noisy = corrupted_data(data, "impulse_noise", seed=1)
    assert "impulse_noise" in noisy.name and noisy.shape == data.shape
    train, test = noisy.train.take(rows)["image"], noisy.test.take(rows)["image"]
    pixels = train * torch.tensor(data.std)[:, None, None] + torch.tensor(data.mean)[:, None, None]
    assert float(pixels.min()) > -1e-5 and float(pixels.max()) < 1 + 1e-5
    assert not torch.equal(train == train.min(), test == test.min())


def test_every_kind_says_at_which_severity_it_is_standard() -> None:
    assert len(CORRUPTIONS) == 16 and set(STANDARD) == set(CORRUPTIONS) and set(STANDARD.values()) <= set(SEVERITIES)


@pytest.mark.parametrize(
    ("images", "kind", "severity", "words"),
    [
        (torch.zeros(1, 1, 8, 8), "rotated", 1, "did you mean rotate"),
        (torch.zeros(1, 1, 8, 8), "rotate", 6, "severities are 1 to 5, not 6"),
        (torch.zeros(1, 8, 8), "rotate", 1, "(batch, channels, height, width)"),
        (torch.zeros(1, 1, 8, 8, dtype=torch.int64), "rotate", 1, "uint8, or floating"),
        (torch.full((1, 1, 8, 8), -0.5), "rotate", 1, "must lie in [0, 1]"),
        (torch.full((1, 1, 8, 8), math.nan), "rotate", 1, "must lie in [0, 1]"),
    ],
)
def test_what_cannot_be_corrupted_is_refused(images: Tensor, kind: str, severity: int, words: str) -> None:
    with pytest.raises(InputError) as caught:
        corrupt(images, kind, severity)
    assert words in str(caught.value)


def test_rows_and_moments_are_checked(digits: Tensor) -> None:
    with pytest.raises(InputError, match="one row number for each of 40 images"):
        corrupt(digits, "rotate", rows=torch.arange(3))
    with pytest.raises(InputError, match="both a mean and a std"):
        Corrupted(TensorSource(image=digits), "rotate", mean=(0.1,))
