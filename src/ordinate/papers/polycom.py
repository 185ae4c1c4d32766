"""Polynomial composition activations (PolyReLU, PolyNorm)."""

from collections.abc import Sequence
from functools import partial

from ordinate.data.text import open_text
from ordinate.experiment.claim import Bar, Claim, gain, level, ratio
from ordinate.experiment.comparison import Comparison
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm
from ordinate.nn.activation_modules import activation_module
from ordinate.tasks.containment import HELD, Containment
from ordinate.tasks.feed_forward_language import FeedForwardLanguage
from ordinate.tasks.smooth_functions import SmoothFunctions

__all__ = ["PAPER"]

METHODS = ("polynorm", "polyrelu")
BASELINES = ("gelu", "relu", "squared-relu", "swiglu")
WIDTHS = (4, 8, 16, 32)


def _texts(setting: Setting) -> Comparison:
    task = FeedForwardLanguage(
        open_text("tinyshakespeare", folder=setting.data_dir),
        steps=setting.pick(smoke=100, full=1_500, gpu=20_000),
        length=setting.pick(smoke=48, full=64, gpu=512),
        batch_size=setting.pick(smoke=12, full=16, gpu=64),
        dim=setting.pick(smoke=32, full=64, gpu=512),
        depth=setting.pick(smoke=2, full=2, gpu=8),
        heads=setting.pick(smoke=2, full=4, gpu=8),
        most_tested=setting.pick(smoke=40, full=400, gpu=1_000),
        points=1,
    )
    names = setting.pick(smoke=("polynorm", "gelu"), full=(*METHODS, *BASELINES))
    return Comparison(
        "texts",
        task,
        [_arm(task, name) for name in names],
        title="Characters of Shakespeare, 2 blocks, equal parameters",
        seeds=setting.pick(smoke=None, full=5),
    )


def _orders(setting: Setting) -> Comparison:
    task = FeedForwardLanguage(
        open_text("tinyshakespeare", folder=setting.data_dir),
        steps=setting.pick(smoke=10, full=800, gpu=10_000),
        length=setting.pick(smoke=48, full=64, gpu=512),
        batch_size=setting.pick(smoke=8, full=16, gpu=64),
        dim=setting.pick(smoke=32, full=64, gpu=512),
        depth=setting.pick(smoke=1, full=2, gpu=8),
        most_tested=setting.pick(smoke=20, full=400, gpu=1_000),
        points=1,
    )
    arms = [
        Arm(f"order {order}", partial(task.sized, position="absolute", activation="polynorm" if order == 3 else f"polynorm-{order}"))
        for order in (2, 3, 4)
    ]
    return Comparison("orders", task, arms, title="PolyNorm of orders 2, 3 and 4", seeds=setting.pick(smoke=None, full=5))


def _arm(task: FeedForwardLanguage, name: str) -> Arm:
    return Arm(name, task.arm(name).make, role="method" if name in METHODS else "baseline")


def _functions(target: str, setting: Setting) -> Comparison:
    task = SmoothFunctions(target, WIDTHS, steps=setting.pick(smoke=60, full=400), starts=setting.pick(smoke=1, full=3))
    names = setting.pick(smoke=("polyrelu", "relu"), full=("polyrelu", "relu", "gelu", "tanh"))
    arms = [Arm(name, partial(activation_module, name), role="method" if name == "polyrelu" else "baseline") for name in names]
    return Comparison(target, task, arms)


def _waves(setting: Setting) -> Comparison:
    return _functions("wave", setting)


def _bumps(setting: Setting) -> Comparison:
    return _functions("bump", setting)


def _below(widths: Sequence[int], at_most: float) -> list[Bar]:
    return [
        ratio("polyrelu", "relu", f"error@{width}", at_most=at_most, label=f"error of PolyReLU over ReLU's, {width} units")
        for width in widths
    ]


FULL = ("full", "gpu")
SCALED = "2 blocks of width 64 on characters of Shakespeare, 1,500 steps of 16 windows of 64, widths of the feed-forward layers by equal parameters, one recipe for all."


def _contained(setting: Setting) -> Comparison:
    return Comparison("contained", Containment(), [Arm(name, make) for name, make in HELD.items()], seeds=1)


PAPER = Paper(
    slug="polycom",
    title="Polynomial Composition Activations: Unleashing the Dynamics of Large Language Models",
    authors="Zhijian Zhuo, Ya Wang, Yutao Zeng, Xiaoqing Li, Xun Zhou, Jinwen Ma",
    year=2025,
    venue="ICLR 2025",
    arxiv="2411.03884",
    code="https://github.com/BryceZhuo/PolyCom",
    room="nn",
    summary="The activation of a feed-forward layer as a polynomial of low order, with a few coefficients that are learnt, of ReLU or of normalised powers: interactions of high order without a gate's third matrix.",
    provides=(
        Part("PolyReLU", "ordinate.nn.polynomial_activations:PolyReLU"),
        Part("PolyNorm", "ordinate.nn.polynomial_activations:PolyNorm"),
        Part("the family with any function", "ordinate.nn.polynomial_activations:PolyCom"),
        Part("feed-forward layers with any activation, gated or not", "ordinate.nn.blocks:FeedForward"),
        Part("activations changed in a network that is there", "ordinate.adapt.replace_activation:replace_activation"),
        Part("a ReLU network as a PolyReLU network", "ordinate.adapt.replace_activation:from_relu"),
        Part("effective rank", "ordinate.analyze.effective_rank:effective_rank"),
        Part("cosines between layers", "ordinate.analyze.effective_rank:layer_cosines"),
        Part("approximation of smooth functions by width", "ordinate.tasks.smooth_functions:SmoothFunctions"),
        Part("official coefficients", "ordinate.models.polycom_official:OFFICIAL"),
    ),
    claims=(
        Claim(
            "better-than-fixed-activations",
            "PolyNorm reaches a lower loss than GELU and ReLU at equal parameters, and PolyReLU a lower one than ReLU.",
            "1B parameters, 250B tokens: a training loss of 2.17 with PolyNorm; ReLU and GELU are above SwiGLU's 2.19 (table 1, from secondary sources)",
            _texts,
            lambda setting: [
                gain("polynorm", "gelu", "nats", at_most=-0.08 if setting.scale != "smoke" else 0, unit="nats"),
                *(
                    [
                        gain("polynorm", "relu", "nats", at_most=-0.02, unit="nats"),
                        gain("polyrelu", "relu", "nats", at_most=-0.015, unit="nats"),
                    ]
                    if setting.scale != "smoke"
                    else []
                ),
            ],
            note=f"{SCALED} Every seed has PolyNorm below both and PolyReLU below ReLU. The bar of 0.08 nats over GELU is that of a pilot of 600 steps on a shorter text, where GELU was further behind; here it is 0.035.",
        ),
        Claim(
            "better-than-swiglu",
            "PolyNorm reaches a lower loss than a gated layer (SwiGLU) of as many parameters.",
            "training loss 2.17 against 2.19, validation perplexity 3.17 against 3.22 as reported, six downstream tasks 58.68 against 57.47 (1B parameters, 250B tokens, table 1, from secondary sources)",
            _texts,
            [gain("polynorm", "swiglu", "nats", at_most=0, unit="nats")],
            note=f"{SCALED} The two are alike here; the paper's advantage is 0.02 nats at 1B parameters.",
            scales=FULL,
        ),
        Claim(
            "third-order",
            "An order of 3 is better than 2, and an order of 4 no better than 3.",
            "order 3 is clearly better than 2; order 4 brings nothing and overflows in bf16 (ablations of section 4)",
            _orders,
            [
                gain("order 3", "order 2", "nats", at_most=0, unit="nats"),
                gain("order 4", "order 3", "nats", at_least=-0.01, unit="nats"),
            ],
            note="800 steps; otherwise as above. No order is told from another here.",
            scales=FULL,
        ),
        Claim(
            "higher-rank",
            "Feed-forward matrices have a higher effective rank with PolyNorm than with GELU, ReLU or SwiGLU.",
            "shown as curves, without figures (section 4)",
            _texts,
            [gain("polynorm", other, "effective_rank", at_least=0, unit="%") for other in ("gelu", "relu", "swiglu")],
            note=SCALED,
            scales=FULL,
        ),
        Claim(
            "layers-less-alike",
            "The vectors of different blocks are less alike with PolyNorm than with GELU or SwiGLU.",
            "shown as maps, without figures (section 4)",
            _texts,
            [gain("polynorm", other, "layer_cosine", at_most=0) for other in ("gelu", "swiglu")],
            note=SCALED,
            scales=FULL,
        ),
        Claim(
            "holds-relu-networks",
            "Any ReLU or squared-ReLU network is a PolyReLU network of the same size, and polynomials up to the third degree and products are sums of a few units.",
            "exact (section 3, lemmas on representation)",
            _contained,
            lambda setting: [
                level(name, "difference", at_most=1e-12, method="exact", label=f"largest relative difference, {name}") for name in HELD
            ],
        ),
        Claim(
            "smooth-functions",
            "Smooth functions of one and of two variables are approximated with a smaller error by PolyReLU units than by as many ReLU units.",
            "O(e^(-d/n)) units for an error e in the unit ball of W^(n, inf), without the logarithm that ReLU networks need (theorems 2 and 3)",
            _waves,
            _below(WIDTHS[1:], 1),
            note="sin(2 pi x) e^x on [-1, 1]: one hidden layer, inner weights by 400 steps of Adam, outer ones by least squares, best of three starts. Theorem 3 is about deep networks; GELU and tanh, which are smooth, come nearer still with one layer.",
            scales=FULL,
        ),
        Claim(
            "smooth-functions-of-two-variables",
            "So are functions of two variables.",
            "as above",
            _bumps,
            _below(WIDTHS[1:], 1),
            note="exp(-2 |x|^2) cos(pi (x + y / 2)) on the square; as above.",
            scales=FULL,
        ),
    ),
    snippet="""
import torch
from ordinate.models.registry import create_model
from ordinate.nn.polynomial_activations import PolyNorm

activation = PolyNorm()                       # (..., width) -> (..., width), four numbers to learn
y = activation(torch.randn(2, 10, 256))
model = create_model("sequence", vocabulary=65, dim=64, depth=2, activation="polynorm", bias=False)
""",
    outside="Language models of 1B parameters, dense and as mixtures of experts, need weeks of GPU time.",
)
