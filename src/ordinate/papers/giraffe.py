"""Expanding the context of models with rotary positions (Giraffe)."""

from functools import partial

from ordinate.experiment.claim import Bar, Claim, exact, gain
from ordinate.experiment.comparison import Comparison
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm
from ordinate.nn.rotary import Rotary
from ordinate.nn.rotary_scaling import NtkRotary, ScaledRotary
from ordinate.tasks.context_extension import ContextExtension, Extension
from ordinate.tasks.rotary_range import RotaryRange

__all__ = ["PAPER"]

TRAINED = 64
FAR = f"recall@{8 * TRAINED}"
EXTENSIONS = {
    "plain": Extension(),
    "linear 2": Extension("linear", {"factor": 2.0}),
    "linear 2, at 4": Extension("linear", {"factor": 2.0}, {"factor": 4.0}),
    "linear 2, at 8": Extension("linear", {"factor": 2.0}, {"factor": 8.0}),
    "linear 4": Extension("linear", {"factor": 4.0}),
    "linear 4, at 8": Extension("linear", {"factor": 4.0}, {"factor": 8.0}),
    "power 0.5": Extension("power", {"power": 0.5}),
    "truncated": Extension("truncated", {"truncate_at": TRAINED}),
    "ntk 4": Extension("ntk", {"factor": 4.0}),
    "dynamic ntk": Extension("dynamic_ntk", {"train_length": TRAINED}),
    "xpos": Extension("xpos", {"scale_base": 8192.0}),
    "randomised": Extension("randomised", {"factor": 1.0}),
    "plain, not tuned": Extension(tuned=False),
    "linear 4, not tuned": Extension("linear", {"factor": 4.0}, tuned=False),
    "truncated, not tuned": Extension("truncated", {"truncate_at": TRAINED}, tuned=False),
}


def _same(extension: Extension) -> Extension:
    return extension


def _extended(setting: Setting) -> Comparison:
    arms = [
        Arm(name, partial(_same, extension), role="baseline" if name.startswith("plain") else "method")
        for name, extension in EXTENSIONS.items()
    ]
    return Comparison(
        "extended", ContextExtension(TRAINED), arms, title="Recall of pairs, trained at 64 tokens and tuned for 150 steps at 128"
    )


def _angles(setting: Setting) -> Comparison:
    rules = {
        "plain": Rotary(128),
        "linear 4": ScaledRotary(128, factor=4.0),
        "ntk 4": NtkRotary(128, factor=4.0),
        "power 0.5": ScaledRotary(128, power=0.5),
        "truncated": ScaledRotary(128, truncate_at=2048),
    }
    arms = [Arm(name, partial(_rule, rule), role="baseline" if name == "plain" else "method") for name, rule in rules.items()]
    return Comparison(
        "angles", RotaryRange(128, 2048, (1, 2, 4)), arms, title="Heads of 128 dimensions, trained at 2,048 positions", seeds=1
    )


def _rule(rule: Rotary) -> Rotary:
    return rule


def _over(arm: str, other: str, at_least: float) -> Bar:
    return gain(arm, other, FAR, at_least=at_least, unit="%", label=f"recall at 512 tokens, {arm} minus {other}")


FULL = ("full", "gpu")

PAPER = Paper(
    slug="giraffe",
    title="Giraffe: Adventures in Expanding Context Lengths in LLMs",
    authors="Arka Pal, Deep Karkhanis, Manley Roberts, Samuel Dooley, Arvind Sundararajan, Siddartha Naidu",
    year=2023,
    venue="arXiv 2023",
    arxiv="2308.10882",
    code="https://github.com/abacusai/Long-Context",
    room="adapt",
    summary="A transformer with rotary positions fails beyond the length that it was trained at. Its positions can be stretched in several ways, and a few steps of fine-tuning then suffice; dividing them serves best, and evaluating at "
    "twice the divisor goes further for nothing.",
    provides=(
        Part("rotary positions", "ordinate.nn.rotary:Rotary"),
        Part("linear scaling, the power basis, truncation", "ordinate.nn.rotary_scaling:ScaledRotary"),
        Part("NTK scaling", "ordinate.nn.rotary_scaling:NtkRotary"),
        Part("dynamic NTK scaling", "ordinate.nn.rotary_scaling:DynamicNtkRotary"),
        Part("xPos", "ordinate.nn.rotary_scaling:XPos"),
        Part("random places in training", "ordinate.nn.rotary_scaling:RandomRotary"),
        Part("ALiBi", "ordinate.nn.mixers.alibi:AlibiAttention"),
        Part("rotary attention", "ordinate.nn.mixers.rotary_attention:RotaryAttention"),
        Part("a model extended", "ordinate.adapt.extend_context:extend_context"),
        Part("a LLaMA of transformers changed in place", "ordinate.adapt.extend_context:patch_llama"),
        Part("LLaMA's checkpoints, Giraffe's among them", "ordinate.models.transformers_layouts:read_transformers"),
        Part("recall of pairs at any length", "ordinate.data.key_values:recall_batch"),
        Part("lines with registers", "ordinate.data.long_documents:lines_prompt"),
        Part("questions with a placed answer", "ordinate.data.long_documents:place_answer"),
        Part("altered numbers", "ordinate.data.long_documents:alter_numeric"),
    ),
    claims=(
        Claim(
            "angles-of-training",
            "Divided by four, positions ask for no angle that training has not shown, up to four times the length; plain positions, and the power basis, do for slow pairs of dimensions.",
            "interpolated positions stay within the trained range (section 2, after Chen et al.)",
            _angles,
            [
                exact(
                    "pairs beyond the trained angles at four times the length, linear 4",
                    lambda table: table.values("linear 4", "unseen@4")[0],
                    at_most=0,
                    unit="%",
                ),
                exact("the same, plain", lambda table: table.values("plain", "unseen@4")[0], at_least=20, unit="%"),
                exact("the same, power 0.5", lambda table: table.values("power 0.5", "unseen@4")[0], at_least=1, unit="%"),
            ],
            note="Of 64 pairs of dimensions; the truncated basis asks for one angle more, of the slow wave that it puts in place of others.",
        ),
        Claim(
            "linear-scaling",
            "After a few steps of fine-tuning, positions that are divided by four reach further than plain ones.",
            "linear scaling is the best method; scale 16 is the only one above zero beyond 9,000 tokens (LLaMA-13B trained at 2,048; figures only)",
            _extended,
            [_over("linear 4", "plain", 30)],
            scales=FULL,
            note="Two blocks of width 64 with a token shift, key-value recall trained to the end at 64 tokens, 150 steps at 128, scored at 512.",
        ),
        Claim(
            "truncation-extrapolates",
            "With the truncated basis a model answers at lengths that it has never seen.",
            "non-zero accuracy at unseen lengths, the only new method that extrapolates (figures only)",
            _extended,
            [_over("truncated", "plain", 30)],
            scales=FULL,
        ),
        Claim(
            "evaluated-at-twice-the-scale",
            "Evaluated at twice the factor of its training, a model reaches further at no cost.",
            "up to twice the factor extends the range (trained at 4, evaluated at 8: above zero at 16,000 tokens, against nothing beyond 8,000)",
            _extended,
            [_over("linear 2, at 4", "linear 2", 15)],
            scales=FULL,
        ),
        Claim(
            "four-times-the-scale-breaks",
            "At four times the factor it breaks down.",
            "coherence is lost at four times the factor",
            _extended,
            [
                gain(
                    "linear 2, at 8",
                    "linear 2, at 4",
                    f"recall@{2 * TRAINED}",
                    at_most=-15,
                    unit="%",
                    label="recall at 128 tokens, at 8 minus at 4",
                )
            ],
            note="At 128 tokens all of them still answer everything: recall of pairs by content needs less of positions than language does.",
            scales=FULL,
        ),
        Claim(
            "linear-over-the-others",
            "Dividing positions reaches further than the power basis and than NTK scaling by the same factor.",
            "power 0.5 drops fastest with the length; linear scaling reaches furthest (figures only)",
            _extended,
            [_over("linear 4", "power 0.5", 0), _over("linear 4", "ntk 4", 0)],
            scales=FULL,
        ),
        Claim(
            "xpos-does-not-help",
            "A model with plain rotary positions is not helped by being tuned to xPos.",
            "xPos cannot be fine-tuned into a model with rotary positions: its loss never converges",
            _extended,
            [_over("xpos", "plain", -5), gain("xpos", "plain", FAR, at_most=5, unit="%", label="the same, from above")],
            note="Its scale base goes from 8,192 down by 8 a step, as in the paper; in 150 steps it has hardly begun to matter.",
            scales=FULL,
        ),
        Claim(
            "without-tuning",
            "Without any fine-tuning, dividing positions extends the range already.",
            "an untuned model goes from 2,048 to 4,096 tokens, at a low accuracy",
            _extended,
            [_over("linear 4, not tuned", "plain, not tuned", 15)],
            scales=FULL,
        ),
    ),
    snippet="""
import torch
from ordinate.adapt.extend_context import extend_context
from ordinate.models.registry import create_model

model = create_model("sequence", vocabulary=65, dim=64, depth=2, mixer="softmax-rotary", position="rotary", max_length=256)
longer = extend_context(model, "linear", factor=8.0, max_length=2048)      # the same weights
logits = longer(torch.randint(0, 65, (1, 2000)))
""",
    outside="Models of 13B parameters, LongChat-Lines, FreeFormQA and AlteredNumericQA on Wikipedia need weights and documents that are not at hand: their generators and metrics are.",
)
