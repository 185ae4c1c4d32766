"""Every augmentation keeps the contract; each does what its paper says."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.data.augment import Augmentation, ColourJitter, Compose, CutMix, Erase, HorizontalFlip, Mixup, PadCrop, ResizedCrop, Views
from ordinate.ground.errors import InputError

AUGMENTATIONS: dict[str, Augmentation] = {
    "pad-crop": PadCrop(2),
    "flip": HorizontalFlip(),
    "resized-crop": ResizedCrop(),
    "colour-jitter": ColourJitter(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25)),
    "erase": Erase(p=0.8),
    "mixup": Mixup(5, alpha=0.4),
    "cutmix": CutMix(5),
    "compose": Compose(ResizedCrop(), HorizontalFlip(), ColourJitter(p=0.5), Erase(), Mixup(5)),
}
KEEPS_SIZE = pytest.mark.parametrize("name", sorted(AUGMENTATIONS))


def _images(count: int = 8, channels: int = 3, height: int = 9, width: int = 7) -> torch.Tensor:
    return torch.rand(count, channels, height, width, generator=torch.Generator().manual_seed(0))


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@KEEPS_SIZE
@settings(max_examples=15)
@given(seed=st.integers(0, 2**60))
def test_draws_come_from_the_generator_given_and_from_nothing_else(name: str, seed: int) -> None:
    augmentation = AUGMENTATIONS[name]
    before = torch.random.get_rng_state()
    draws = augmentation.draw(8, _seeded(seed))
    images = augmentation.apply(_images(), draws)
    assert torch.equal(torch.random.get_rng_state(), before)
    again = augmentation.draw(8, _seeded(seed))
    assert all(torch.equal(draw, again[key]) and len(draw) == 8 and draw.device.type == "cpu" for key, draw in draws.items())
    assert torch.equal(augmentation.apply(_images(), again), images)


@KEEPS_SIZE
@settings(max_examples=15)
@given(seed=st.integers(0, 2**60), split=st.sampled_from([2, 4, 6]))
def test_the_effect_on_an_image_does_not_depend_on_who_shares_its_batch(name: str, seed: int, split: int) -> None:
    augmentation = AUGMENTATIONS[name]
    draws = augmentation.draw(8, _seeded(seed))
    batch = {"image": _images(), "label": torch.arange(8) % 5}
    whole = augmentation(batch, draws)
    parts = [
        augmentation({key: value[rows] for key, value in batch.items()}, {key: draw[rows] for key, draw in draws.items()})
        for rows in (slice(0, split), slice(split, 8))
    ]
    for key, value in whole.items():
        assert torch.equal(torch.cat([part[key] for part in parts]), value)


@KEEPS_SIZE
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("channels", [1, 3])
def test_shape_and_dtype_are_kept_and_the_input_is_left_alone(name: str, dtype: torch.dtype, channels: int) -> None:
    augmentation = AUGMENTATIONS[name] if channels == 3 or "jitter" not in name else ColourJitter()
    images = _images(channels=channels).to(dtype)
    untouched = images.clone()
    out = augmentation.apply(images, augmentation.draw(8, _seeded(1)))
    assert out.shape == images.shape and out.dtype == dtype
    assert torch.isfinite(out).all()
    assert torch.equal(images, untouched)
    assert not torch.equal(out, images)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is at hand")
@KEEPS_SIZE
def test_a_gpu_gives_the_same_bits(name: str) -> None:
    augmentation = AUGMENTATIONS[name]
    images = _images(64, 3, 32, 32)
    draws = augmentation.draw(64, _seeded(2))
    assert torch.equal(augmentation.apply(images.cuda(), draws).cpu(), augmentation.apply(images, draws))


def test_pad_crop_shifts_by_the_corner() -> None:
    images = _images(3)
    draws = {"corner": torch.tensor([[2, 2], [0, 2], [2, 4]])}
    out = PadCrop(2, fill=-1.0).apply(images, draws)
    assert torch.equal(out[0], images[0])
    assert torch.equal(out[1][:, 2:], images[1][:, :-2]) and (out[1][:, :2] == -1).all()
    assert torch.equal(out[2][:, :, :-2], images[2][:, :, 2:]) and (out[2][:, :, -2:] == -1).all()
    corners = PadCrop(2).draw(2000, _seeded(0))["corner"]
    assert corners.min() == 0 and corners.max() == 4
    assert (corners.double().mean(0) - 2).abs().max() < 5 * math.sqrt(2 / 2000)


def test_flip_flips_the_share_that_it_says() -> None:
    images = _images(2)
    out = HorizontalFlip().apply(images, {"flipped": torch.tensor([True, False])})
    assert torch.equal(out[0], images[0].flip(2)) and torch.equal(out[1], images[1])
    assert abs(HorizontalFlip(0.3).draw(10_000, _seeded(0))["flipped"].double().mean().item() - 0.3) < 0.02


def test_a_resized_crop_of_everything_changes_nothing() -> None:
    crop = ResizedCrop(scale=(1.0, 1.0), ratio=(7 / 9, 7 / 9))
    images = _images()
    assert torch.allclose(crop.apply(images, crop.draw(8, _seeded(0))), images, atol=1e-5)


@settings(max_examples=20)
@given(seed=st.integers(0, 2**40), size=st.integers(1, 12))
def test_a_resized_crop_is_bilinear(seed: int, size: int) -> None:
    # of an image linear in its coordinates, bilinear samples are exact wherever they are taken from between pixel centres
    height, width = 11, 13
    rows, columns = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    images = torch.stack([rows, columns]).expand(4, 2, height, width)
    crop = ResizedCrop(scale=(0.2, 0.6), size=size)
    draws = crop.draw(4, _seeded(seed))
    out = crop.apply(images, draws)
    crop_height = (draws["area"] * height * width / draws["aspect"]).sqrt().clamp(1, height)
    crop_width = (draws["area"] * height * width * draws["aspect"]).sqrt().clamp(1, width)
    top = draws["place"][:, 0] * (height - crop_height)
    left = draws["place"][:, 1] * (width - crop_width)
    steps = (torch.arange(size) + 0.5) / size
    wanted_rows = (top[:, None] + steps * crop_height[:, None]).clamp(0.5, height - 0.5)
    wanted_columns = (left[:, None] + steps * crop_width[:, None]).clamp(0.5, width - 0.5)
    assert out.shape == (4, 2, size, size)
    assert torch.allclose(out[:, 0].double(), wanted_rows[:, :, None].expand(-1, -1, size), atol=1e-4)
    assert torch.allclose(out[:, 1].double(), wanted_columns[:, None, :].expand(-1, size, -1), atol=1e-4)


def test_resized_crops_have_the_areas_and_ratios_that_were_asked_for() -> None:
    draws = ResizedCrop((0.1, 0.5), (0.5, 2.0)).draw(5000, _seeded(0))
    assert 0.1 <= draws["area"].min() < 0.11 and 0.49 < draws["area"].max() <= 0.5
    assert 0.5 <= draws["aspect"].min() < 0.52 and 1.95 < draws["aspect"].max() <= 2.0
    assert abs(draws["aspect"].log().mean().item()) < 0.03, "the logarithm of the ratio is uniform"


def test_colour_jitter_by_hand() -> None:
    images = _images(2)
    jitter = ColourJitter()
    still = {"factors": torch.ones(2, 3), "changed": torch.ones(2, dtype=torch.bool)}
    assert torch.allclose(jitter.apply(images, still), images, atol=1e-6)
    darker = {**still, "factors": torch.tensor([[0.5, 1.0, 1.0]] * 2)}
    assert torch.allclose(jitter.apply(images, darker), images / 2, atol=1e-6)
    grey = (images * torch.tensor([0.299, 0.587, 0.114])[:, None, None]).sum(1, keepdim=True)
    flat = {**still, "factors": torch.tensor([[1.0, 0.0, 1.0]] * 2)}
    assert torch.allclose(jitter.apply(images, flat), grey.mean((2, 3), keepdim=True).expand_as(images), atol=1e-4)
    colourless = {**still, "factors": torch.tensor([[1.0, 1.0, 0.0]] * 2)}
    assert torch.allclose(jitter.apply(images, colourless), grey.expand_as(images), atol=1e-6)


def test_colour_jitter_is_of_pixels_whatever_the_standardisation() -> None:
    mean, std = (0.4, 0.5, 0.6), (0.2, 0.3, 0.25)
    shift, scale = torch.tensor(mean)[:, None, None], torch.tensor(std)[:, None, None]
    images = _images()
    draws = ColourJitter().draw(8, _seeded(0))
    standardised = ColourJitter(mean=mean, std=std).apply((images - shift) / scale, draws)
    assert torch.allclose(standardised * scale + shift, ColourJitter().apply(images, draws), atol=1e-3)


def test_an_image_that_is_not_to_be_jittered_keeps_its_bits() -> None:
    images = _images()
    jitter = ColourJitter(mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25), p=0.0)
    assert torch.equal(jitter.apply(images, jitter.draw(8, _seeded(0))), images)


def test_erase_removes_the_rectangle() -> None:
    images = torch.ones(2, 1, 10, 10)
    draws = {"sides": torch.tensor([[0.4, 0.2], [0.4, 0.4]]), "centre": torch.tensor([[0.5, 0.5], [0.0, 1.0]])}
    out = Erase().apply(images, draws)
    assert (out[0, 0, 3:7, 4:6] == 0).all() and (out[0] == 0).sum() == 8
    assert (out[1, 0, :2, 8:] == 0).all() and (out[1] == 0).sum() == 4, "it sticks out at the corner"
    cutout = Erase(area=(0.25, 0.25), ratio=(1, 1), p=1.0).draw(100, _seeded(0))
    assert torch.allclose(cutout["sides"], torch.full((100, 2), 0.5))
    assert (Erase(p=0.0).draw(9, _seeded(0))["sides"] == 0).all()


def test_mixup_mixes_neighbours_and_their_labels_alike() -> None:
    images, labels = _images(4), torch.tensor([0, 1, 2, 0])
    out = Mixup(3)({"image": images, "label": labels}, {"own": torch.tensor([0.75, 0.5, 1.0, 0.0]), "centre": torch.zeros(4, 2)})
    assert torch.allclose(out["image"][0], 0.75 * images[0] + 0.25 * images[1])
    assert torch.allclose(out["image"][1], 0.5 * images[1] + 0.5 * images[0])
    assert torch.equal(out["image"][3], images[2])
    assert out["label"].tolist() == [[0.75, 0.25, 0], [0.5, 0.5, 0], [0, 0, 1], [0, 0, 1]]


def test_cutmix_labels_are_the_areas() -> None:
    images = torch.arange(4.0)[:, None, None, None].expand(4, 1, 8, 8).contiguous()
    cutmix = CutMix(4)
    batch = cutmix({"image": images, "label": torch.arange(4)}, cutmix.draw(4, _seeded(3)))
    for row in range(4):
        own = (batch["image"][row] == row).double().mean().item()
        assert batch["label"][row, row].item() == pytest.approx(own)
        assert batch["label"][row, row ^ 1].item() == pytest.approx(1 - own)
    assert torch.allclose(batch["label"].sum(1), torch.ones(4))


@pytest.mark.parametrize("alpha", [0.2, 1.0, 4.0])
def test_shares_follow_a_beta_distribution(alpha: float) -> None:
    own = Mixup(2, alpha).draw(20_000, _seeded(0))["own"].double()
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(own.mean().item() - 0.5) < 5 * math.sqrt(variance / 20_000)
    assert own.var().item() == pytest.approx(variance, rel=0.05)


def test_mixing_twice_takes_soft_labels() -> None:
    twice = Compose(Mixup(5), CutMix(5))
    out = twice({"image": _images(), "label": torch.arange(8) % 5}, twice.draw(8, _seeded(0)))
    assert out["label"].shape == (8, 5) and torch.allclose(out["label"].sum(1), torch.ones(8))


def test_views_are_independent_and_keep_the_original() -> None:
    views = Views(query=Compose(PadCrop(2), HorizontalFlip()), key=PadCrop(2))
    images = _images()
    draws = views.draw(8, _seeded(0))
    batch = views({"image": images}, draws)
    assert set(batch) == {"image", "query", "key"}
    assert torch.equal(batch["image"], images)
    assert not torch.equal(batch["query"], batch["key"])
    assert torch.equal(views.apply(images, draws), torch.cat([batch["query"], batch["key"]]))


def test_nonsense_is_refused() -> None:
    for make in (
        lambda: PadCrop(0),
        lambda: HorizontalFlip(1.5),
        lambda: ResizedCrop(scale=(0.5, 0.1)),
        lambda: ResizedCrop(ratio=(0.0, 1.0)),
        lambda: ResizedCrop(size=0),
        lambda: ColourJitter(brightness=2.0),
        lambda: ColourJitter(mean=(0.5,), std=(0.0,)),
        lambda: Erase(area=(0.0, 0.2)),
        lambda: Erase(ratio=(2.0, 1.0)),
        lambda: Mixup(1),
        lambda: CutMix(3, alpha=0.0),
        lambda: Views(image=HorizontalFlip()),
        lambda: Views(),
    ):
        with pytest.raises(InputError):
            make()
    with pytest.raises(InputError, match="mixed in pairs"):
        Mixup(3).apply(_images(3), Mixup(3).draw(3, _seeded(0)))
