"""Universal attention with relative positions (URPE)."""

from functools import partial
from typing import Any

from ordinate.data.text import open_text
from ordinate.experiment.claim import Claim, gain, level, ratio
from ordinate.experiment.comparison import Comparison
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm
from ordinate.nn.mixers import create_mixer
from ordinate.tasks.language_modelling import LanguageModelling
from ordinate.tasks.mixer_scaling import MixerScaling
from ordinate.tasks.positions import Positions

__all__ = ["PAPER"]

FULL = ("full", "gpu")
SHAPE = "A post-normed encoder of 3 layers of width 64 with 4 heads, 20 tokens"


def _identification(setting: Setting) -> Comparison:
    task = Positions(
        "pi",
        setting.pick(smoke=8, full=16, gpu=128),
        steps=setting.pick(smoke=400, full=400, gpu=40_000),
        lr=setting.pick(smoke=4e-3, full=2e-3),
        batch_size=setting.pick(smoke=32, full=64, gpu=128),
        dim=setting.pick(smoke=32, full=64, gpu=768),
        depth=setting.pick(smoke=2, full=3),
        heads=setting.pick(smoke=2, full=4, gpu=12),
    )
    names = setting.pick(smoke=("relative", "urpe"), full=("none", "relative", "absolute", "urpe"))
    return Comparison("identification", task, list(map(task.arm, names)))


def _even(setting: Setting) -> Comparison:
    task = Positions("etp", setting.pick(smoke=8, full=16, gpu=128), steps=setting.pick(smoke=20, full=3_000, gpu=40_000), batch_size=64)
    return Comparison("even-tokens", task, list(map(task.arm, ("none", "relative", "absolute", "urpe"))))


def _texts(setting: Setting) -> Comparison:
    task = LanguageModelling(
        open_text("tinyshakespeare", folder=setting.data_dir),
        steps=setting.pick(smoke=20, full=600, gpu=20_000),
        length=setting.pick(smoke=32, full=96, gpu=512),
        batch_size=setting.pick(smoke=8, full=12, gpu=64),
        dim=setting.pick(smoke=32, full=64, gpu=512),
        most_tested=setting.pick(smoke=20, full=400, gpu=1_000),
        points=1,
    )
    kinds: dict[str, dict[str, Any]] = {
        "urpe": {"mixer": "urpe", "position": "none"},
        "relative": {"mixer": "urpe", "position": "none", "mixer_arguments": {"universal": False}},
        "absolute": {"mixer": "softmax", "position": "absolute"},
    }
    arms = [Arm(name, partial(task.sized, **kind), role="method" if name == "urpe" else "baseline") for name, kind in kinds.items()]
    return Comparison("texts", task, arms, title="Characters of Shakespeare, 2 blocks", seeds=setting.pick(smoke=1, full=5))


def _cost(setting: Setting) -> Comparison:
    task = MixerScaling(lengths=setting.pick(smoke=(64, 128, 256), full=(512, 1024, 2048)), repeats=setting.pick(smoke=1, full=7))
    arms = [
        Arm("urpe", partial(create_mixer, "urpe")),
        Arm("relative", partial(create_mixer, "urpe", universal=False), role="baseline", note="the same code without the factor"),
    ]
    return Comparison("cost", task, arms)


PAPER = Paper(
    slug="urpe",
    title="Your Transformer May Not be as Powerful as You Expect",
    authors="Shengjie Luo, Shanda Li, Shuxin Zheng, Tie-Yan Liu, Liwei Wang, Di He",
    year=2022,
    venue="NeurIPS 2022",
    arxiv="2205.13401",
    code="https://github.com/lsj2408/URPE",
    room="nn",
    summary="Rows of a softmax sum to one, so that a transformer with relative positions alone keeps identical tokens identical. A learned factor by the offset after the softmax, not normalised again, makes it universal, for a few hundred "
    "parameters.",
    provides=(
        Part("universal attention", "ordinate.nn.mixers.urpe:UniversalAttention"),
        Part("attention with a factor after the softmax, in blocks", "ordinate.nn.scaled_attention:scaled_attention"),
        Part("tables by offset or bucket", "ordinate.nn.offset_tables:OffsetTable"),
        Part("the encoder, and official checkpoints", "ordinate.models.urpe_encoder:URPEEncoder"),
        Part("the identical-token probe", "ordinate.analyze.position_awareness:identical_token_probe"),
        Part("spread of row sums", "ordinate.analyze.position_awareness:row_sum_spread"),
        Part("a code of positions by construction", "ordinate.analyze.position_awareness:construct_position_code"),
        Part("position identification and even token prediction", "ordinate.tasks.positions:Positions"),
    ),
    claims=(
        Claim(
            "positions-are-told",
            "With the factor a model without absolute positions tells every position; with a relative bias alone it tells none.",
            "position identification in 128 tokens: 1.0 at vocabularies of 10, 1,000 and 10,000; relative positions about 0.13, 0.11 and 0.11; none about 0.07 (poster)",
            _identification,
            lambda setting: [
                level("urpe", "accuracy", at_least=95 if setting.scale != "smoke" else 60, unit="%"),
                level("relative", "accuracy", at_most=30, unit="%"),
            ],
            note=f"{SHAPE}, sequences of 16, 400 steps. At the smoke scale sequences of 8, and a rate twice as high.",
        ),
        Claim(
            "identical-tokens-stay-identical",
            "A trained model with relative positions alone gives the same output at every position of a sequence of one token; with the factor it does not.",
            "theorem 2 (no relative bias inside the softmax is enough), theorem 3",
            _identification,
            [
                level("relative", "apart", at_most=1e-4, label="largest difference between positions, relative bias alone"),
                level("urpe", "apart", at_least=0.1, label="the same, with the factor"),
            ],
            note="Relative to the largest output, in single precision.",
        ),
        Claim(
            "even-tokens",
            "With the factor a model learns to bring every second token to the front; with a relative bias alone it does not.",
            "even token prediction in 128 tokens: 1.0, against about 0.58, 0.54 and 0.52 with relative positions and 0.5 with none (poster)",
            _even,
            [level("urpe", "accuracy", at_least=95, unit="%"), level("relative", "accuracy", at_most=75, unit="%")],
            note=f"{SHAPE}, sequences of 16, 3,000 steps. Short sequences let a relative bias tell some positions by what stands beside them.",
            scales=FULL,
        ),
        Claim(
            "language-models",
            "In a causal language model the factor lowers the loss below that of the relative bias alone.",
            "Transformer-XL on WikiText-103: perplexity 22.4 and 23.2 (validation and test) against 23.1 and 24.0 (poster)",
            _texts,
            [gain("urpe", "relative", "nats", at_most=-0.02, unit="nats")],
            note="2 blocks of width 64 on characters of Shakespeare, 600 steps of 12 windows of 96, equal parameters.",
            scales=FULL,
        ),
        Claim(
            "cheap",
            "The factor costs next to no time beside the relative bias.",
            "1 to 2 % of time, at most 10 % of memory, at 128 to 512 tokens (poster)",
            _cost,
            [ratio("urpe", "relative", "seconds", at_most=1.15, label="seconds at 2,048 tokens, with the factor over without")],
            note="Forward and backward on a CPU, 4 heads of 16 dimensions, by blocks of rows both.",
            scales=FULL,
        ),
    ),
    snippet="""
import torch
from ordinate.analyze.position_awareness import construct_position_code, identical_token_probe
from ordinate.nn.mixers import create_mixer

mixer = create_mixer("urpe", dim=64, heads=4, causal=True)     # (B, L, D) -> (B, L, D)
y = mixer(torch.randn(2, 100, 64))
code = construct_position_code(10)                             # output i is (i + 1) / 10 times the values' mean
print(code(torch.ones(1, 10, 4))[0, :, 0])
""",
    outside="Transformer-XL on WikiText-103 and Graphormer on ZINC and PCQM4M need GPU days; the factor takes any integer index, distances in a graph among them.",
)
