"""How the published nested ResNet50s were trained on ImageNet-1K, as data.

Forty epochs of SGD whose rate rises to its peak in the second epoch and falls linearly to zero; nothing was searched for nested training: the recipe is that of the plain network. The side of the training images rises
from 160 to 192 pixels on the way, and 256 are tested with.

Source: Kusupati et al., "Matryoshka Representation Learning", 2022, appendix, after the recipe of FFCV. The peak rate is 0.475 in the paper and 0.425 in the official repository: the paper's is taken.
"""

from ordinate.models.hornet_recipes import PublishedRecipe
from ordinate.train.recipe import Recipe

__all__ = ["RECIPES", "SIDES", "TESTED_SIDE"]

_BATCH = 512  # 256 on each of two GPUs
_EPOCH = 1_281_167 // _BATCH

RECIPES = {
    "resnet50-blurpool": PublishedRecipe(
        Recipe(
            steps=40 * _EPOCH,
            lr=0.475,
            optimizer="sgd",
            momentum=0.9,
            weight_decay=1e-4,
            schedule="triangular",
            warmup=2 * _EPOCH,
        ),
        _BATCH,
        drop_path_rate=0.0,
        image_size=192,
        label_smoothing=0.1,
        rand_augment=0,
        mixup=0.0,
        cutmix=0.0,
        random_erasing=0.0,
    )
}
"""40 epochs of ImageNet-1K."""

SIDES = (160, 192)
"""Of the training images, in pixels: at the beginning and at the end."""

TESTED_SIDE = 256
"""Of the test images, in pixels."""
