"""How the published HorNets were trained, as data: on ImageNet-1K, on ImageNet-22K, and fine-tuned at 384 pixels.

`RECIPES["hornet-tiny"].recipe` is what `ordinate.train.fit` takes; the rest of a recipe is regularisation, and belongs to the network (drop path), to the objective (label smoothing) and to the
augmentations. A rate that decays with the distance from the head is `fit(..., scale=model.rate_by_layer(recipe.layer_decay))`. Clipping the gradient is essential: a chain of products has rare, very
large gradients, and a filter in the frequency domain more of them.

Source: the training commands of the official repository (github.com/raoyongming/HorNet); Rao et al., HorNet (NeurIPS 2022), section 4.1.
"""

from dataclasses import dataclass

from ordinate.train.recipe import Recipe

__all__ = ["RECIPES", "RECIPES_22K", "RECIPES_384", "PublishedRecipe"]

_IMAGES_1K = 1_281_167
_IMAGES_22K = 14_197_122
_LAST_RATE = 1e-6


@dataclass(frozen=True)
class PublishedRecipe:
    """A recipe and the regularisation that goes with it.

    Attributes:
        recipe: optimizer, schedule, clipping and averaging, in steps.
        batch_size: images a step, over all processes.
        drop_path_rate: stochastic depth of the last block.
        image_size: side in pixels.
        label_smoothing: share of the probability spread over all classes.
        rand_augment: magnitude of RandAugment.
        mixup: the Beta parameter of mixup, 0 for none.
        cutmix: the Beta parameter of CutMix, 0 for none.
        random_erasing: probability with which a rectangle is erased.
        layer_decay: factor on the learning rate from one layer to the one before it.
    """

    recipe: Recipe
    batch_size: int
    drop_path_rate: float
    image_size: int = 224
    label_smoothing: float = 0.1
    rand_augment: int = 9
    mixup: float = 0.8
    cutmix: float = 1.0
    random_erasing: float = 0.25
    layer_decay: float = 1.0


def _recipe(
    images: int, epochs: int, warmup: int, clip: float, *, batch_size: int = 4096, lr: float = 4e-3, weight_decay: float, ema: float | None
) -> Recipe:
    steps = images // batch_size
    return Recipe(
        steps=epochs * steps,
        lr=lr,
        weight_decay=weight_decay,
        schedule="cosine",
        warmup=warmup * steps,
        final=_LAST_RATE / lr,
        clip=clip,
        ema=ema,
    )


def _from_scratch(drop_path_rate: float, clip: float, rand_augment: int = 9) -> PublishedRecipe:
    recipe = _recipe(_IMAGES_1K, 300, 20, clip, weight_decay=0.05, ema=0.9999)
    return PublishedRecipe(recipe, 4096, drop_path_rate, rand_augment=rand_augment)


def _pretraining(clip: float) -> PublishedRecipe:
    return PublishedRecipe(_recipe(_IMAGES_22K, 90, 5, clip, weight_decay=0.1, ema=None), 4096, 0.2)


_FINE_TUNING = PublishedRecipe(
    _recipe(_IMAGES_1K, 30, 0, 1.0, batch_size=512, lr=5e-5, weight_decay=1e-8, ema=0.9999),
    512,
    0.4,
    image_size=384,
    mixup=0.0,
    cutmix=0.0,
    layer_decay=0.7,
)

RECIPES = {
    "hornet-tiny": _from_scratch(0.2, 100.0),
    "hornet-tiny-gf": _from_scratch(0.2, 1.0),
    "hornet-small": _from_scratch(0.4, 5.0),
    "hornet-small-gf": _from_scratch(0.4, 1.0, rand_augment=12),
    "hornet-base": _from_scratch(0.5, 5.0),
    "hornet-base-gf": _from_scratch(0.5, 1.0, rand_augment=15),
}
"""300 epochs of ImageNet-1K."""

RECIPES_22K = {"hornet-large": _pretraining(5.0), "hornet-large-gf": _pretraining(1.0)}
"""90 epochs of ImageNet-22K."""

RECIPES_384 = {"hornet-large": _FINE_TUNING, "hornet-large-gf-384": _FINE_TUNING}
"""30 epochs of ImageNet-1K at 384 pixels, from the weights of ImageNet-22K."""
