"""HorNet: gated convolutions that multiply, recursively, what one depthwise convolution has mixed; a backbone, a pyramid and a segmentation head made of them."""

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import nn

from ordinate.data.augment import Compose, HorizontalFlip, PadCrop
from ordinate.data.images import open_images
from ordinate.experiment.claim import Bar, Claim, exact, gain, level, ratio
from ordinate.experiment.comparison import Comparison, Table
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm
from ordinate.models.budget import sized
from ordinate.models.horfpn import HorFPN
from ordinate.models.registry import create_model
from ordinate.models.upernet import UPerHead
from ordinate.nn.gnconv import GnConv, gated_bound, gated_cost
from ordinate.nn.initial import draw_weights
from ordinate.tasks.cost import Cost, Counted
from ordinate.tasks.image_classification import ImageClassification
from ordinate.tasks.monomials import Monomials

__all__ = ["PAPER"]

ORDERS = (1, 2, 3, 4, 5)
SIDE, WIDTH, KERNEL = 14, 64, 7
# Parameters in millions and multiply-adds in units of 10^9, as published; the large networks with their head of ImageNet-22K.
PUBLISHED = {
    "hornet-tiny": (22, 4.0),
    "hornet-tiny-gf": (23, 3.9),
    "hornet-small": (50, 8.8),
    "hornet-small-gf": (50, 8.7),
    "hornet-base": (87, 15.6),
    "hornet-base-gf": (88, 15.5),
    "hornet-large": (209, 34.8),
    "hornet-large-gf": (211, 34.7),
    "hornet-large-gf-384": (216, 101.8),
}
CLASSES_22K = 10_459  # rows of the released heads, at the least


def _photographs(setting: Setting, *, steps: int, batch_size: int, lr: float, most_tested: int | None) -> ImageClassification:
    data = open_images(setting.pick(smoke="digits", full="cifar10"), folder=setting.data_dir)
    augment = setting.pick(smoke=None, full=Compose(PadCrop(4), HorizontalFlip()))
    task = ImageClassification(data, steps=steps, batch_size=batch_size, lr=lr, most_tested=most_tested, augment=augment)
    task.points = 1  # every test image counts, and looking at all of them on the way would cost as much as training
    return task


def _gating(setting: Setting) -> Comparison:
    parameters = setting.pick(smoke=40_000, full=200_000, gpu=5_000_000)
    task = _photographs(
        setting,
        steps=setting.pick(smoke=30, full=1200, gpu=10_000),
        batch_size=setting.pick(smoke=32, full=64, gpu=256),
        lr=3e-3,
        most_tested=None,
    )
    arms = [
        Arm("gnconv", partial(sized, "hornet-tiny", parameters)),
        Arm(
            "depthwise",
            partial(sized, "hornet-tiny", parameters, spatial="depthwise"),
            role="baseline",
            note="a depthwise 7x7 and GELU in place of the gated convolution",
        ),
    ]
    seeds = setting.pick(smoke=2, full=5)
    return Comparison(
        "gating", task, arms, seeds=seeds, title=f"The same network with and without gates, {parameters:,} parameters, on {task.data.name}"
    )


def _families(setting: Setting) -> Comparison:
    parameters = setting.pick(smoke=40_000, full=100_000, gpu=5_000_000)
    task = _photographs(
        setting,
        steps=setting.pick(smoke=25, full=400, gpu=10_000),
        batch_size=setting.pick(smoke=32, full=64, gpu=256),
        lr=4e-3,
        most_tested=setting.pick(smoke=180, full=None),
    )
    arms = [
        Arm("hornet", partial(sized, "hornet-tiny", parameters)),
        Arm("swin", partial(sized, "swin-tiny", parameters), role="baseline"),
        Arm("vit", partial(sized, "vit-tiny", parameters), role="baseline"),
        Arm("resnet", partial(sized, "resnet", parameters), role="baseline"),
    ]
    seeds = setting.pick(smoke=1, full=5)
    return Comparison("families", task, arms, seeds=seeds, title=f"Four families at {parameters:,} parameters, on {task.data.name}")


def _variants(setting: Setting) -> Comparison:
    images = open_images("digits", image_size=setting.pick(smoke=8, full=16))
    task = ImageClassification(images, steps=setting.pick(smoke=40, full=150), batch_size=32, lr=3e-3)
    task.points = 1
    parameters = setting.pick(smoke=40_000, full=100_000)
    arms = [
        Arm("orders 2 to 5", partial(sized, "hornet-tiny", parameters)),
        Arm("order 3 everywhere", partial(sized, "hornet-tiny", parameters, orders=(3, 3, 3, 3)), role="ablation"),
        Arm("filters", partial(sized, "hornet-tiny-gf", parameters), role="ablation"),
        Arm("isotropic", partial(sized, "hornet-isotropic", parameters), role="ablation"),
        Arm("isotropic, filters", partial(sized, "hornet-isotropic-gf", parameters), role="ablation"),
        Arm("attention", partial(sized, "swin-tiny", parameters), role="baseline", note="shifted windows"),
    ]
    arms = arms[1:3] if setting.scale == "smoke" else arms  # forty steps are too few for one resolution
    return Comparison("variants", task, arms, seeds=setting.pick(smoke=1, full=3), title="Variants of the network on digits")


def _gated_chain(order: int, *, channels: int) -> nn.Module:
    chain = nn.Sequential(nn.Conv2d(channels, 8, 1), GnConv(8, order), nn.Conv2d(8, 1, 1))
    draw_weights(chain, None)
    return chain


def _chains(orders: Sequence[int]) -> list[Arm]:
    return [Arm(f"order {order}", partial(_gated_chain, order), role="method" if order > 1 else "baseline") for order in orders]


def _pairs(setting: Setting) -> Comparison:
    return Comparison(
        "products-of-2",
        Monomials(2, steps=setting.pick(smoke=120, full=600)),
        _chains((1,)),
        seeds=setting.pick(smoke=2, full=5),
    )


def _triples(setting: Setting) -> Comparison:
    return Comparison(
        "products-of-3",
        Monomials(3, steps=setting.pick(smoke=200, full=600)),
        _chains((1, 2)),
        seeds=setting.pick(smoke=2, full=5),
    )


def _orders(setting: Setting) -> Comparison:
    def make(order: int) -> Counted:
        return Counted(GnConv(WIDTH, order, kernel_size=KERNEL), (torch.empty(1, WIDTH, SIDE, SIDE),), per=SIDE * SIDE)

    arms = [Arm(f"order {order}", partial(make, order)) for order in ORDERS]
    return Comparison("orders", Cost(), arms, seeds=1, title=f"A gated convolution of {WIDTH} channels, a pixel")


def _sizes(setting: Setting) -> Comparison:
    def make(name: str) -> Counted:
        model = create_model(name, num_classes=CLASSES_22K if "large" in name else 1000)
        side = int(model.arguments["image_size"])
        return Counted(model, (torch.empty(1, 3, side, side),))

    names = [name for name in PUBLISHED if setting.scale != "smoke" or "tiny" in name]
    return Comparison("sizes", Cost(), [Arm(name, partial(make, name)) for name in names], seeds=1, title="The published sizes")


def _decoders(setting: Setting) -> Comparison:
    widths = (96, 192, 384, 768)

    def make(decoder: Callable[..., nn.Module], fusion: str) -> Counted:
        maps = [torch.empty(1, width, 128 >> stage, 128 >> stage) for stage, width in enumerate(widths)]
        return Counted(decoder(in_channels=widths, fusion=fusion), (maps,))

    arms = [
        Arm("pyramid, 3x3", partial(make, HorFPN, "conv"), role="baseline"),
        Arm("pyramid, gated", partial(make, HorFPN, "gnconv")),
        Arm("segmentation head, 3x3", partial(make, UPerHead, "conv"), role="baseline"),
        Arm("segmentation head, gated", partial(make, UPerHead, "gnconv")),
    ]
    return Comparison("decoders", Cost(), arms, seeds=1, title="Decoders on HorNet-S's maps of an image of 512 pixels")


def _difference_in_parameters(table: Table) -> float:
    gated, plain = (table.of(arm)[0].parameters or 0 for arm in ("gnconv", "depthwise"))
    return 100 * abs(gated / plain - 1)


def _farthest_from_formula(table: Table) -> float:
    return max(abs(table.value(f"order {order}", "multiply_adds") - gated_cost(WIDTH, order, KERNEL)) for order in ORDERS)


def _nearest_to_bound(table: Table) -> float:
    return max(table.value(f"order {order}", "multiply_adds") for order in ORDERS) / gated_bound(WIDTH, KERNEL)


def _farthest_parameters(table: Table) -> float:
    return max(abs(table.value(name, "parameters") / 1e6 - PUBLISHED[name][0]) for name in table.arms)


def _farthest_cost(table: Table) -> float:
    return max(abs(table.value(name, "multiply_adds") / 1e9 - PUBLISHED[name][1]) for name in table.arms)


def _accuracies(table: Table) -> str:
    return ", ".join(f"{arm} {table.value(arm, 'accuracy'):.1f} %" for arm in table.arms)


def _trained(setting: Setting) -> list[Bar]:
    arms = [arm.name for arm in _variants(setting).arms]
    if setting.scale == "smoke":  # one seed has no interval: the bar is on its number
        return [exact(f"accuracy of {arm}", partial(Table.value, arm=arm, metric="accuracy"), at_least=20, unit="%") for arm in arms]
    return [level(arm, "accuracy", at_least=80, unit="%") for arm in arms]


PAPER = Paper(
    slug="hornet",
    title="HorNet: Efficient High-Order Spatial Interactions with Recursive Gated Convolutions",
    authors="Yongming Rao, Wenliang Zhao, Yansong Tang, Jie Zhou, Ser-Nam Lim, Jiwen Lu",
    year=2022,
    venue="NeurIPS 2022",
    arxiv="2207.14284",
    code="github.com/raoyongming/HorNet",
    room="models",
    summary="Attention multiplies two things that depend on the input, at a quadratic cost. A recursive gated convolution multiplies n + 1 of them: one projection, one depthwise convolution (or a filter as large as the map), "
    "and a chain of products whose width doubles at every step, at about the cost of the depthwise convolution alone. It stands in the blocks of a convolutional pyramid (HorNet), and in place of the 3x3 convolutions of "
    "detection and segmentation decoders.",
    provides=(
        Part("recursive gated convolution", "ordinate.nn.gnconv:GnConv"),
        Part("gated convolution with its norm and activation", "ordinate.nn.gnconv:GnConvModule"),
        Part("global-local filter", "ordinate.nn.global_filter:GlobalLocalFilter"),
        Part("HorNet, every published size", "ordinate.models.hornet:HorNet"),
        Part("isotropic HorNet", "ordinate.models.hornet:HorNetIsotropic"),
        Part("HorFPN", "ordinate.models.horfpn:HorFPN"),
        Part("UPerNet head with gated fusion", "ordinate.models.upernet:UPerHead"),
        Part("dense backbone", "ordinate.models.features:FeatureMaps"),
        Part("training recipes", "ordinate.models.hornet_recipes:PublishedRecipe"),
        Part("multiply-adds of a network", "ordinate.nn.multiply_adds:count_multiply_adds"),
        Part("networks at one budget of parameters", "ordinate.models.budget:sized"),
        Part("vision transformer", "ordinate.models.vit:VisionTransformer"),
        Part("Swin transformer", "ordinate.models.swin:SwinTransformer"),
        Part("ResNet", "ordinate.models.resnet:ResNet"),
    ),
    claims=(
        Claim(
            "gates-do-not-cost-accuracy",
            "At equal parameters a recursive gated convolution classifies at least as well as a depthwise convolution with GELU in its place.",
            "82.8 % against ConvNeXt-T's 82.1 % top-1 on ImageNet-1K (Table 1)",
            _gating,
            [
                gain("gnconv", "depthwise", "accuracy", at_least=-0.3, unit="%"),
                exact("difference in parameters", _difference_in_parameters, at_most=3, unit="%"),
            ],
            measured=_accuracies,
            note="One and a half epochs of CIFAR-10 instead of 300 of ImageNet. The chain of products learns more slowly at first: after half an epoch the depthwise network is ahead by one to two points, after one and a half they are level, and seeds differ by as much as the paper's gain.",
        ),
        Claim(
            "gates-against-windows",
            "At equal parameters HorNet classifies at least as well as Swin's shifted windows.",
            "82.8 % against Swin-T's 81.3 % top-1 on ImageNet-1K (Table 1)",
            _families,
            [gain("hornet", "swin", "accuracy", at_least=0, unit="%")],
            measured=_accuracies,
            note="Half an epoch of CIFAR-10 at 100,000 parameters. A ResNet, which the paper does not compare with, learns faster than all the others here.",
        ),
        Claim(
            "gates-against-attention",
            "At equal parameters HorNet classifies at least as well as a vision transformer.",
            "isotropic HorNet-S 80.6 % against DeiT-S's 79.8 % top-1 on ImageNet-1K (from memory and unconfirmed)",
            _families,
            [gain("hornet", "vit", "accuracy", at_least=0, unit="%")],
            measured=_accuracies,
            note="Half an epoch of CIFAR-10 at 100,000 parameters; the transformer's patches of 4 pixels cost it four times HorNet's multiply-adds. Seeds of HorNet differ by three points so early in training.",
        ),
        Claim(
            "order-1-multiplies-pairs",
            "A gated convolution of order 1 computes products of two input taps.",
            "an interaction of order n + 1 = 2 (section 3.1)",
            _pairs,
            [level("order 1", "r2", at_least=0.99)],
        ),
        Claim(
            "order-buys-interactions",
            "Products of three taps are beyond order 1 and within order 2: the order is what buys the interaction.",
            "an interaction of order n + 1 (section 3.1, equations 3.3 to 3.5)",
            _triples,
            [level("order 1", "r2", at_most=0.05), level("order 2", "r2", at_least=0.99)],
            note="The paper states the order; that it is learnt by gradient descent is measured here.",
        ),
        Claim(
            "cost-is-bounded-in-the-order",
            "The multiply-adds of a gated convolution stay below C (2 K^2 + 11 C / 3 + 2) a pixel whatever its order.",
            "FLOPs < H W C (2 K^2 + 11 C / 3 + 2) (equation 3.7)",
            _orders,
            [
                exact("the order farthest from the exact count, by", _farthest_from_formula, at_least=0, at_most=0),
                exact("the costliest order over the bound", _nearest_to_bound, at_most=1, unit="x"),
            ],
        ),
        Claim(
            "published-sizes",
            "Every published size has the published number of parameters and multiply-adds.",
            "22M to 216M parameters, 3.9G to 101.8G FLOPs (Table 1 and the official repository)",
            _sizes,
            [
                exact("the size farthest from its millions of parameters, by", _farthest_parameters, at_most=0.5, unit="M"),
                exact("the size farthest from its FLOPs, by", _farthest_cost, at_most=0.1, unit="G"),
            ],
        ),
        Claim(
            "decoders-cost-less",
            "A gated convolution in place of the 3x3 convolutions makes the segmentation head cost about half, and the pyramid less.",
            "about half of the FLOPs of the whole segmenter (Table 4)",
            _decoders,
            [
                ratio("segmentation head, gated", "segmentation head, 3x3", "multiply_adds", at_most=0.55, method="exact"),
                ratio("pyramid, gated", "pyramid, 3x3", "multiply_adds", at_most=1, method="exact"),
            ],
        ),
        Claim(
            "every-variant-trains",
            "One order everywhere or a rising one, convolutions or filters, a pyramid or one resolution: every variant trains.",
            "Swin-T's attention 81.3 %, orders 2 to 5 82.8 %, filters 83.0 % top-1 on ImageNet-1K (section 4.3)",
            _variants,
            _trained,
            measured=_accuracies,
            note="Digits of 16 x 16 pixels: the differences between the variants are not decided here.",
        ),
    ),
    snippet="""
import torch
from ordinate.models.features import FeatureMaps
from ordinate.models.registry import create_model
from ordinate.nn import gnconv

mix = gnconv.GnConv(64, order=3)                                    # in place of attention or of a 3x3 convolution
assert mix(torch.randn(2, 64, 14, 14)).shape == (2, 64, 14, 14)

model = create_model("hornet-tiny", num_classes=10, image_size=32)  # or load_official("hornet", "hornet_tiny_7x7.pth")
assert model(torch.randn(2, 3, 32, 32)).shape == (2, 10)

maps = FeatureMaps(model)(torch.randn(2, 3, 32, 32))                # four normalised maps for a detector
""",
    outside="Detection and segmentation accuracies (COCO, ADE20K) and ImageNet's top-1 need data and days of GPU time that no scale here has; the networks for them are here, and read the released weights.",
)
