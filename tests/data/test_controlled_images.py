import pytest
import torch

from ordinate.data.controlled.images import COLOURS, SHAPES, TEXTURES, ControlledImages
from ordinate.ground.errors import InputError


def test_factors_are_independent_and_balanced() -> None:
    sample = ControlledImages({"color": 4, "shape": 3}, 12).sample(3_000)
    assert sample.x.shape == (3_000, 3, 12, 12) and sample.x.abs().max() <= 0.5
    joint = torch.zeros(4, 3).index_put_((sample.features[:, 0], sample.features[:, 1]), torch.tensor(1.0), accumulate=True)
    assert (joint / 3_000 - 1 / 12).abs().max() < 0.02


def test_a_colour_is_seen_where_the_object_is() -> None:
    data = ControlledImages({"color": len(COLOURS)}, 32, jitter=False)
    sample = data.sample(40)
    palette = torch.tensor(list(COLOURS.values()))
    assert torch.allclose(sample.x[:, :, 16, 16] + 0.5, palette[sample.features[:, 0]], atol=1e-6)
    assert sample.x[:, :, 0, 0].abs().max() < 1e-6


def test_all_shapes_and_textures_differ() -> None:
    for name, figures in (("shape", SHAPES), ("texture", TEXTURES)):
        sample = ControlledImages({name: len(figures)}, 24, jitter=False).sample(400)
        images = torch.stack([sample.x[sample.features[:, 0] == code][0] for code in range(len(figures))])
        apart = torch.cdist(images.flatten(1), images.flatten(1))
        assert float(apart[~torch.eye(len(figures), dtype=torch.bool)].min()) > 1.0, name


def test_one_class_is_one_image_without_jitter_and_many_with() -> None:
    for jitter in (False, True):
        sample = ControlledImages({"shape": 2}, 16, jitter=jitter).sample(20)
        same = sample.x[sample.features[:, 0] == 0]
        assert torch.equal(same[0], same[1]) != jitter


def test_two_objects_are_alike_as_the_features_say() -> None:
    data = ControlledImages({"color": 5, "shape": 5}, 32, objects=2, jitter=False)
    sample = data.sample(200)
    assert data.names == ("same color", "same shape") and data.classes == (2, 2)
    left, right = sample.x[:, :, :, :16], sample.x[:, :, :, 16:]
    alike = torch.isclose(left, right, atol=1e-6).flatten(1).all(dim=1)
    assert torch.equal(alike, sample.features.all(dim=1))
    tint = torch.isclose(left[:, :, 16, 8], right[:, :, 16, 8], atol=1e-6).all(dim=1)
    assert bool((tint[sample.features[:, 0] == 1] | (sample.features[:, 1] == 0)[sample.features[:, 0] == 1]).all())


def test_what_cannot_be_drawn_is_refused() -> None:
    for make, why in (
        (lambda: ControlledImages({"hue": 3}), "unknown factor"),
        (lambda: ControlledImages({"color": 11}), "2 to 10 classes"),
        (lambda: ControlledImages(size=4), "8 pixels"),
        (lambda: ControlledImages(objects=3), "1 or 2 objects"),
        (lambda: ControlledImages().sample(0), "at least one image"),
    ):
        with pytest.raises(InputError, match=why):
            make()
