"""Normalised kernelized attention with a relative bias ("NPRF with RPE")."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from ordinate.data.augment import PadCrop
from ordinate.data.images import open_images
from ordinate.data.text import open_text
from ordinate.experiment.claim import Bar, Claim, exact, gain, level, ratio
from ordinate.experiment.comparison import Comparison, Table
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm
from ordinate.models.vit import VisionTransformer
from ordinate.nn.mixers import create_mixer
from ordinate.tasks.image_classification import ImageClassification
from ordinate.tasks.kernel_estimate import Estimate, KernelEstimate
from ordinate.tasks.language_modelling import LanguageModelling
from ordinate.tasks.mixer_scaling import MixerScaling
from ordinate.tasks.training_stability import TrainingStability

__all__ = ["PAPER"]

LANGUAGE_MODELS: dict[str, dict[str, Any]] = {
    "nprf + rpe": {"mixer": "nprf", "position": "none"},
    "nprf + ape": {"mixer": "nprf", "position": "absolute", "mixer_arguments": {"rpe": False}},
    "prf + rpe": {"mixer": "nprf", "position": "none", "mixer_arguments": {"normalize": False}},
    "prf + ape": {"mixer": "performer", "position": "absolute"},
    "elu + ape": {"mixer": "linear-attention", "position": "absolute"},
    "softmax + rpe": {"mixer": "softmax-rpe", "position": "none"},
    "softmax + ape": {"mixer": "softmax", "position": "absolute"},
}
BASELINES = ("prf + ape", "elu + ape", "softmax + rpe", "softmax + ape")
GRID = 8  # patches of 4 pixels along a side of 32


def _role(name: str) -> Any:
    return "baseline" if name in BASELINES else "method" if name == "nprf + rpe" else "ablation"


def _kernels(setting: Setting) -> Comparison:
    task = KernelEstimate(pairs=setting.pick(smoke=500, full=2_000), draws=setting.pick(smoke=20, full=400))
    arms = {
        "unit length, 32 features": Estimate(1.0, 32),
        "unit length, 128 features": Estimate(1.0, 128),
        "length 2, 32 features": Estimate(2.0, 32),
    }
    return Comparison("kernels", task, [Arm(name, partial(_same, estimate)) for name, estimate in arms.items()])


def _same(estimate: Estimate) -> Estimate:
    return estimate


def _texts(setting: Setting) -> Comparison:
    task = LanguageModelling(
        open_text("tinyshakespeare", folder=setting.data_dir),
        steps=setting.pick(smoke=40, full=400, gpu=20_000),
        lr=4e-3,
        length=setting.pick(smoke=48, full=96, gpu=512),
        batch_size=setting.pick(smoke=8, full=12, gpu=64),
        dim=setting.pick(smoke=32, full=64, gpu=512),
        most_tested=setting.pick(smoke=40, full=400, gpu=1_000),
        points=1,
    )
    names = setting.pick(smoke=("nprf + rpe", "nprf + ape", "softmax + rpe"), full=tuple(LANGUAGE_MODELS))
    arms = [Arm(name, partial(task.sized, **LANGUAGE_MODELS[name]), role=_role(name)) for name in names]
    return Comparison("texts", task, arms, title="Characters of Shakespeare, 2 blocks")


def _stability(setting: Setting) -> Comparison:
    task = TrainingStability(
        open_text("tinyshakespeare", folder=setting.data_dir),
        steps=250,
        lr=4e-2,
        most_tested=100,
        points=1,
        dim=setting.pick(smoke=32, full=64),
    )
    names = ("nprf + rpe", "prf + ape", "prf + rpe", "softmax + rpe")
    return Comparison(
        "stability",
        task,
        [Arm(name, partial(task.sized, **LANGUAGE_MODELS[name]), role=_role(name)) for name in names],
        title="A learning rate of 0.04, without clipping",
    )


def _images(setting: Setting) -> Comparison:
    task = ImageClassification(
        open_images("cifar10", folder=setting.data_dir),
        steps=setting.pick(smoke=10, full=1_200, gpu=20_000),
        batch_size=setting.pick(smoke=32, full=32, gpu=256),
        lr=4e-3,
        most_tested=setting.pick(smoke=500, full=5_000, gpu=10_000),
    )
    kinds: dict[str, dict[str, Any]] = {
        "nprf + 2-D rpe": {"mixer": "nprf-2d", "mixer_arguments": {"height": GRID, "width": GRID}},
        "prf": {"mixer": "performer"},
        "softmax": {"mixer": "softmax"},
    }
    shape: dict[str, Any] = {"dim": 32, "depth": 2, "heads": 4, "patch": 4, "pooling": "mean", "init_std": None}
    arms = [
        Arm(name, partial(VisionTransformer, **shape, **arguments), role="method" if name.startswith("nprf") else "baseline")
        for name, arguments in kinds.items()
    ]
    return Comparison("images", task, arms, title="Photographs in 8 x 8 patches, 2 blocks, learned positions in every arm")


def _digits(setting: Setting) -> Comparison:
    task = ImageClassification(
        open_images("mnist", folder=setting.data_dir),
        steps=setting.pick(smoke=10, full=300, gpu=5_000),
        batch_size=64,
        lr=2e-3,
        most_tested=setting.pick(smoke=500, full=2_000, gpu=10_000),
        augment=PadCrop(3),
    )
    grid = {"height": 7, "width": 7, "class_token": True}
    shape: dict[str, Any] = {"dim": 48, "depth": 3, "heads": 4, "patch": 4, "init_std": None}
    arms = [
        Arm("nprf + 2-D rpe", partial(VisionTransformer, **shape, mixer="nprf-2d", positions=False, mixer_arguments=grid)),
        Arm("prf + ape", partial(VisionTransformer, **shape, mixer="performer"), role="baseline"),
        Arm("softmax + ape", partial(VisionTransformer, **shape, mixer="softmax"), role="baseline"),
    ]
    return Comparison("image-digits", task, arms, title="Handwritten digits in 7 x 7 patches, 3 blocks, a class token")


def _lengths(setting: Setting) -> Comparison:
    task = MixerScaling(
        lengths=setting.pick(smoke=(256, 512, 1024), full=(512, 1024, 2048, 4096, 8192), gpu=(2048, 4096, 8192, 16384, 32768)),
        repeats=setting.pick(smoke=1, full=7),
    )
    arms = [
        Arm("nprf, fft", partial(_mixer, "nprf", method="fft")),
        Arm("nprf", partial(_mixer, "nprf"), note="the method is chosen by length"),
        Arm("softmax", partial(_mixer, "softmax"), role="baseline", note="PyTorch's fused attention, no bias"),
        Arm("softmax + rpe", partial(_mixer, "softmax-rpe"), role="baseline", note="PyTorch's fused attention with a bias"),
    ]
    return Comparison("lengths", task, arms)


def _mixer(name: str, **arguments: Any) -> Any:
    return create_mixer(name, **arguments)


def _kernel_bars(setting: Setting) -> Sequence[Bar]:
    def against_theory(arm: str) -> Bar:
        def values(table: Table) -> list[float]:
            return [a / b for a, b in zip(table.values(arm, "error"), table.values(arm, "expected"), strict=True)]

        return Bar(f"error over the closed form's, {arm}", values, at_least=0.9, at_most=1.1, unit="x")

    worse = ratio(
        "length 2, 32 features",
        "unit length, 32 features",
        "error",
        at_least=10 if setting.scale != "smoke" else 3,
        method="bootstrap",  # a few draws make most of the error at length 2: its mean is far from normal
    )
    return [against_theory("unit length, 32 features"), against_theory("unit length, 128 features"), worse]


def _unstable(table: Table) -> float:
    return sum(
        nats > 3.0 or diverged > 0
        for nats, diverged in zip(table.values("prf + ape", "nats"), table.values("prf + ape", "diverged"), strict=True)
    )


SCALED = "2 blocks of width 64 on characters of Shakespeare, 400 steps of 12 windows of 96"
FULL = ("full", "gpu")

PAPER = Paper(
    slug="nprf",
    title="Stable, Fast and Accurate: Kernelized Attention with Relative Positional Encoding",
    authors="Shengjie Luo, Shanda Li, Tianle Cai, Di He, Dinglan Peng, Shuxin Zheng, Guolin Ke, Liwei Wang, Tie-Yan Liu",
    year=2021,
    venue="NeurIPS 2021",
    arxiv="2106.12566",
    code=None,
    room="nn",
    summary="Attention by random features is linear in the length, but takes no relative bias and trains unstably, since its error grows exponentially with the norms of queries and keys. "
    "Scaled to unit length they are estimated well, and a relative bias, whose exponential is a Toeplitz factor and therefore a matter of the FFT, gives back the sharpness that this costs.",
    provides=(
        Part("kernelized attention with a relative bias", "ordinate.nn.mixers.nprf:KernelRPEAttention"),
        Part("the same on images, with a class token", "ordinate.nn.mixers.nprf2d:KernelRPEAttention2d"),
        Part("kernel attention: naive, chunked, by the FFT", "ordinate.nn.kernel_attention:kernel_attention"),
        Part("random features, orthogonal ones too", "ordinate.nn.feature_maps:RandomFeatures"),
        Part("Toeplitz products", "ordinate.nn.toeplitz:toeplitz_matmul"),
        Part("relative bias", "ordinate.nn.positions:RelativeBias"),
        Part("linear attention and Performer", "ordinate.nn.mixers.linear_attention:Performer"),
        Part("softmax attention with a relative bias", "ordinate.nn.mixers.softmax:RelativeSoftmaxAttention"),
        Part("conversion of a trained softmax layer", "ordinate.nn.mixers.nprf:KernelRPEAttention.from_softmax"),
        Part("variance of the kernel's estimate", "ordinate.analyze.random_features:prf_relative_variance"),
        Part("error of attention rows", "ordinate.analyze.random_features:attention_error"),
        Part("sequence model over any mixer", "ordinate.models.sequence:Sequence"),
    ),
    claims=(
        Claim(
            "variance-grows-with-the-norm",
            "The error of positive random features follows (exp |x + y|^2 - 1) / m, which is small at unit length and explodes beyond.",
            "the approximation error grows exponentially with the norms of queries and keys (section 3.2)",
            _kernels,
            _kernel_bars,
            note="At length 2 the estimate is so heavy-tailed that its own error is estimated poorly.",
        ),
        Claim(
            "relative-bias-is-needed",
            "Normalised features need the relative bias: without one, attention cannot focus.",
            "NPRF with RPE is better than without on every task (section 4; the figures could not be retrieved)",
            _texts,
            lambda setting: [gain("nprf + rpe", "nprf + ape", "nats", at_most=-0.05 if setting.scale != "smoke" else 0.05, unit="nats")],
            note=SCALED,
        ),
        Claim(
            "near-softmax",
            "Normalised features with a relative bias come near softmax attention with the same bias.",
            "approaches softmax attention on GLUE, WikiText-103, translation and ImageNet (section 4; the figures could not be retrieved)",
            _texts,
            lambda setting: [gain("nprf + rpe", "softmax + rpe", "nats", at_most=0.05 if setting.scale != "smoke" else 0.2, unit="nats")],
            note=SCALED,
        ),
        Claim(
            "better-than-linear-attention",
            "Normalised features with a relative bias are better than linear attentions with absolute positions, by plain random features or by elu + 1.",
            "better than other efficient variants (section 4; from memory and unconfirmed: perplexity 30.6 on WikiText-103 against 33.6 of random feature attention)",
            _texts,
            [
                gain("nprf + rpe", "prf + ape", "nats", at_most=0, unit="nats"),
                gain("nprf + rpe", "elu + ape", "nats", at_most=0, unit="nats"),
            ],
            note=SCALED,
            scales=FULL,
        ),
        Claim(
            "stable-training",
            "At a learning rate at which plain random features fail to train, normalised ones with a relative bias train.",
            "vanilla kernelized attention is unstable or fails to train from scratch; NPRF with RPE has no such problem (section 4)",
            _stability,
            [
                level("nprf + rpe", "nats", at_most=2.6, unit="nats"),
                gain("prf + ape", "nprf + rpe", "nats", at_least=0.5, unit="nats"),
                exact("seeds in which prf + ape diverges or stays above 3 nats", _unstable, at_least=2),
            ],
            note="250 steps at 0.04, no warm-up, clipping or decay. A guess by the frequency of characters scores 3.3. Plain features have the stabiliser and the floor of the Performer's own code, without which they end in NaN; "
            "the backbone normalises before every block, which helps them too. At ordinary rates both train here.",
            scales=FULL,
        ),
        Claim(
            "images",
            "On images, normalised features with a bias of the two-dimensional offset are better than plain random features.",
            "better than other efficient variants with DeiT-like networks on ImageNet (section 4; the figures could not be retrieved)",
            _images,
            [gain("nprf + 2-D rpe", "prf", "accuracy", at_least=1, unit="%")],
            note="1,200 steps of 32 photographs of CIFAR-10: 64 patches, 2 blocks of width 32, learned positions in every arm. Two shallow blocks over few patches, which have positions already, leave a bias little to add; the paper's networks have twelve.",
            scales=FULL,
        ),
        Claim(
            "images-without-positions",
            "On images, a bias of the two-dimensional offset alone serves normalised features better than learned positions serve plain random features.",
            "better than other efficient variants with DeiT-like networks on ImageNet (section 4; the figures could not be retrieved)",
            _digits,
            [gain("nprf + 2-D rpe", "prf + ape", "accuracy", at_least=1, unit="%")],
            note="300 steps on MNIST. Digits that are shifted by at most 3 pixels are told by where their strokes lie, which learned positions say at once and offsets do not.",
            scales=FULL,
        ),
        Claim(
            "n-log-n",
            "With the FFT, attention with a relative bias takes O(n log n).",
            "O(n log n) (section 3.3)",
            _lengths,
            lambda setting: [
                level("nprf, fft", "exponent", at_most=1.35, label="exponent of time in the length, fft"),
                level("softmax + rpe", "exponent", at_least=1.6, label="exponent of time in the length, softmax + rpe"),
            ],
            note="512 to 8,192 positions on a CPU. n log n has an exponent of 1.1 over this range.",
            scales=FULL,
        ),
        Claim(
            "faster-at-length",
            "For long inputs it is faster than softmax attention with the same bias.",
            "faster than standard attention for long sequences (section 4)",
            _lengths,
            lambda setting: [
                ratio("nprf", "softmax + rpe", "seconds", at_most=1, label="seconds at the greatest length, nprf over softmax + rpe")
            ],
            note="8,192 positions, 4 heads of 16 dimensions, on a CPU.",
            scales=FULL,
        ),
    ),
    snippet="""
import torch
from ordinate.nn.mixers import create_mixer

mixer = create_mixer("nprf", dim=64, heads=4, causal=True)   # (B, L, D) -> (B, L, D)
x = torch.randn(2, 100, 64)
y, state = mixer.prefill(x)                                  # then one position at a time
more, state = mixer.step(torch.randn(2, 64), state)
""",
    outside="GLUE, WikiText-103, translation and ImageNet at the paper's sizes need days of GPU time.",
)
