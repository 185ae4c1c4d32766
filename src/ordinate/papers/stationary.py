"""Stationary representations: fixed class directions, so that a model can be updated and replaced without embedding its gallery again."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from ordinate.experiment.claim import Bar, Claim, exact, gain, level
from ordinate.experiment.comparison import Comparison, Table
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm
from ordinate.models.mlp import MLP
from ordinate.models.projected import Projected
from ordinate.tasks.compatible_updates import CompatibleUpdates
from ordinate.tasks.simulated_caps import Cap, SimulatedCaps
from ordinate.tasks.update_streams import Cifar, TurnedDigits
from ordinate.train.recipe import Recipe

__all__ = ["PAPER"]

TURNED = "each digit under each turn of a square a class of its own, a perceptron 784-256-128-(K - 1), AdamW at one rate for all arms"


def _digits(setting: Setting, classes: int, *, steps: int, smoke_steps: int = 100, **stream: Any) -> CompatibleUpdates:
    return CompatibleUpdates(
        TurnedDigits(data=setting.pick(smoke="digits", full="mnist"), tested=setting.pick(smoke=4, full=50), **stream),
        partial(MLP, hidden=setting.pick(smoke=(128, 64), full=(256, 128))),
        classes,
        recipe=Recipe(steps=setting.pick(smoke=smoke_steps, full=steps), lr=1e-3),
        batch_size=setting.pick(smoke=64, full=128),
    )


def _more_classes(setting: Setting) -> Comparison:
    """Three models from scratch, on more classes and more images each."""
    images = setting.pick(smoke=(150, 300, 600), full=(1_000, 3_000, 10_000))
    task = _digits(setting, 64, steps=300, scenario="retrain", groups=(10, 10, 10), images=images, unseen=10)
    return Comparison("more-classes", task, [task.arm("simplex"), task.arm("learnable")], seeds=setting.pick(smoke=1, full=5))


def _more_images(setting: Setting) -> Comparison:
    """Three models from scratch, on more images of the same classes each."""
    images = setting.pick(smoke=(200, 400, 800), full=(600, 2_500, 10_000))
    task = _digits(setting, 64, steps=300, scenario="retrain", groups=(30, 0, 0), images=images, unseen=10)
    return Comparison("more-images", task, [task.arm("simplex"), task.arm("learnable")], seeds=setting.pick(smoke=1, full=5))


def _sequential(setting: Setting) -> Comparison:
    """One model, fine-tuned on one digit after another."""
    stream: dict[str, Any] = {"groups": (1,) * 6, "images": (setting.pick(smoke=100, full=500),) * 6, "unseen": 4}
    task = _digits(setting, 32, steps=150, smoke_steps=40, scenario="sequential", symmetries=1, in_order=True, **stream)
    arms = [task.arm(name) for name in setting.pick(smoke=("hoc", "simplex"), full=("hoc", "simplex", "learnable", "distilled"))]
    return Comparison("one-digit-after-another", task, arms, seeds=setting.pick(smoke=1, full=5))


def _replaced(setting: Setting) -> Comparison:
    """The same over 30 classes, from a publisher's model, with two better ones of the publisher's in between."""
    task = _digits(
        setting,
        96,
        steps=200,
        scenario="replacement",
        groups=setting.pick(smoke=(4, 3, 3), full=(10, 5, 5, 5, 5)),
        images=setting.pick(smoke=(60, 40, 40), full=(2_000, 1_000, 1_000, 1_000, 1_000)),
        unseen=10,
        symmetries=setting.pick(smoke=4, full=8),
        published=setting.pick(smoke=((0, 10, 120), (1, 20, 250)), full=((0, 10, 1_500), (1, 20, 4_000), (3, 40, 12_000))),
    )
    arms = [task.arm(name) for name in setting.pick(smoke=("hoc", "learnable"), full=("hoc", "simplex", "learnable"))]
    return Comparison("replacements", task, arms, seeds=setting.pick(smoke=1, full=5))


def _caps(setting: Setting) -> Comparison:
    """Drawn features: a better new model, and a worse one."""
    task = SimulatedCaps(16, setting.pick(smoke=4_000, full=20_000))
    arms = [
        Arm("better", lambda: Cap(new=0.9, old=0.7), note="the new model's means are longer"),
        Arm("worse", lambda: Cap(new=0.5, old=0.8), role="ablation", note="the old model's are"),
    ]
    return Comparison("drawn-features", task, arms)


def _cifar(setting: Setting) -> Comparison:
    """The paper's own protocol, with its released networks."""
    recipe = Recipe(
        steps=2_450, lr=1e-3, optimizer="sgd", momentum=0.9, weight_decay=5e-4, schedule="cosine", final=0.01, precision="16-mixed"
    )
    task = CompatibleUpdates(Cifar(), partial(Projected, "resnet"), 1024, recipe=recipe, batch_size=128)
    return Comparison("cifar", task, [task.arm(name) for name in ("hoc", "simplex", "learnable")], seeds=1)


def _more_classes_bars(setting: Setting) -> Sequence[Bar]:
    least = setting.pick(smoke=(0.2, 0.1, 0.15), full=(0.4, 0.2, 0.03))
    return [
        gain("simplex", "learnable", "cross open", at_least=least[0]),
        gain("simplex", "learnable", "AA open", at_least=least[1]),
        gain("simplex", "learnable", "self open", at_least=-least[2], at_most=least[2]),
    ]


def _more_images_bars(setting: Setting) -> Sequence[Bar]:
    if setting.scale == "smoke":
        return [gain("simplex", "learnable", "cross trained", at_least=0.2)]
    return [
        level("simplex", "worst gap open", at_least=-0.1),
        level("simplex", "worst gap trained", at_least=-0.1),
        level("simplex", "AC trained", at_least=0.3),
        exact("the highest AC of a learnable classifier", lambda table: max(table.values("learnable", "AC trained")), at_most=0),
    ]


def _sequential_bars(setting: Setting) -> Sequence[Bar]:
    return [
        gain("hoc", "simplex", "AC open", at_least=setting.pick(smoke=0.0, full=0.3)),
        gain("hoc", "simplex", "AA open", at_least=0.0),
        *setting.pick(smoke=[], full=[gain("hoc", "learnable", "AA open", at_least=0.0)]),
    ]


def _order_bars(setting: Setting) -> Sequence[Bar]:
    return [
        gain("hoc", "simplex", "paired open", at_least=0.1),
        gain("hoc", "simplex", "cka open", at_least=0.0),
        *setting.pick(smoke=[], full=[level(arm, "means trained", at_least=0.8) for arm in ("hoc", "simplex")]),
    ]


def _caps_bars(setting: Setting) -> Sequence[Bar]:
    most = setting.pick(smoke=3e-3, full=1e-3)

    def largest(table: Table) -> float:
        return max(row.metrics[name] for row in table.rows for name in ("same error", "different error"))

    return [
        exact("the largest distance of a mean from its expectation", largest, at_most=most),
        exact(
            "runs with a better new model in which both inequalities hold",
            lambda table: min(table.values("better", "compatible")),
            at_least=1,
        ),
        exact("runs with a worse one in which they do", lambda table: max(table.values("worse", "compatible")), at_most=0),
    ]


def _trained_bars(setting: Setting) -> Sequence[Bar]:
    return [level("simplex", "same trained", at_least=0.0), level("simplex", "different trained", at_most=0.0)]


def _replaced_bars(setting: Setting) -> Sequence[Bar]:
    if setting.scale == "smoke":
        return [gain("hoc", "learnable", "AA open", at_least=0.0)]
    return [
        level("hoc", "best jump open", at_least=0.0, label="the better of two changes of AA at a replacement, hoc"),
        level("learnable", "best jump open", at_most=0.0, label="the same, learnable"),
        gain("hoc", "learnable", "AA open", at_least=0.0),
    ]


PAPER = Paper(
    slug="stationary",
    title="Stationary Representations: Optimally Approximating Compatibility and Implications for Improved Model Replacements",
    authors="Niccolò Biondi, Federico Pernici, Simone Ricci, Alberto Del Bimbo",
    year=2024,
    venue="CVPR 2024",
    arxiv="2405.02581",
    code="github.com/miccunifi/iamcl2r",
    room="objectives",
    summary=(
        "When the model of a search service is updated, its gallery must be embedded again, because old and new features do not match. Here every version is trained against the same fixed classifier, whose class directions are the "
        "vertices of a regular simplex, so that features of a class stay where they were. A contrastive term against the version before keeps more than the mean of each class when a model is fine-tuned, and models that were "
        "trained elsewhere against the same directions take over without touching the gallery."
    ),
    provides=(
        Part("prototypes on a regular simplex, and logits that need no table", "ordinate.nn.simplex:simplex_logits"),
        Part("fixed head, with its junction", "ordinate.nn.fixed_simplex_head:FixedSimplexHead"),
        Part("rows of the table for classes, from the front and from the back", "ordinate.nn.class_allocator:ClassAllocator"),
        Part("contrastive term against the previous version (HOC)", "ordinate.objectives.stationary:HOCLoss"),
        Part("stationary features as an objective, nested too", "ordinate.objectives.stationary:Stationary"),
        Part("any encoder projected to another width; reader of the released networks", "ordinate.models.projected:Projected"),
        Part("compatibility of two models", "ordinate.analyze.compatibility:compatibility_report"),
        Part("compatibility matrix, with AC and AA", "ordinate.analyze.compatibility:compatibility_matrix"),
        Part("identification by class templates", "ordinate.analyze.compatibility:identification"),
        Part("class-incremental splits, coarse labels, long tails", "ordinate.data.class_splits:incremental_classes"),
        Part("rehearsal", "ordinate.data.rehearsal:Rehearsal"),
        Part("versions that share one gallery", "ordinate.adapt.model_sequence:ModelSequence"),
        Part("updates, sequential and replaced, as a task", "ordinate.tasks.compatible_updates:CompatibleUpdates"),
        Part("IAM-CL2R on CIFAR-100 and CIFAR-10", "ordinate.tasks.update_streams:Cifar"),
    ),
    claims=(
        Claim(
            name="more-classes",
            statement="Models that are trained from scratch against the same simplex answer from each other's galleries of classes that none has seen; models with learnable classifiers do not, and are no better by themselves.",
            published="updates and replacements on CIFAR-100/10: AA 68.90 against 35.18 for a learnable classifier with rehearsal (released code, 7 tasks)",
            comparison=_more_classes,
            bars=_more_classes_bars,
            note=f"No fine-tuning and no contrastive term: 10, 20 and 30 classes of turned MNIST, {TURNED}, K = 64, 300 steps.",
        ),
        Claim(
            name="more-images",
            statement="With the same classes and more images, new queries do nearly as well or better in the old gallery than the old model's own, and never with learnable classifiers.",
            published="AC 0.95 against 0.00 for a learnable classifier with rehearsal (released code, 7 tasks)",
            comparison=_more_images,
            bars=_more_images_bars,
            note=f"600, 2,500 and 10,000 images of 30 classes of turned MNIST, {TURNED}, K = 64, 300 steps.",
        ),
        Claim(
            name="higher-order-compatibility",
            statement="Fine-tuned on one class after another, a model with the contrastive term stays compatible with more of its earlier versions than one with the fixed classifier alone.",
            published="d-Simplex-HOC: AC 0.95 at 7 tasks and 0.65 at 31 (released code)",
            comparison=_sequential,
            bars=_sequential_bars,
            note="Digits 0 to 5, 500 images each, compared on 6 to 9; 20 exemplars a class, K = 32, 150 steps of AdamW a digit, the same for all arms.",
        ),
        Claim(
            name="orders",
            statement="The fixed classifier alone keeps the means of the classes where they are; the contrastive term also keeps single images, which are found again among the features of the version before.",
            published="the cross-entropy aligns first-order statistics and the contrastive term higher orders (section 4)",
            comparison=_sequential,
            bars=_order_bars,
            note="Means are those of classes that both versions have seen; images are of the open set.",
        ),
        Claim(
            name="theorem-1-drawn",
            statement="Where features of each class have a mean along its prototype, both inequalities of compatibility hold in expectation when the new model's means are the longer, and not when they are the shorter.",
            published="stationary features satisfy the inequalities of compatibility in expectation (theorem 1)",
            comparison=_caps,
            bars=_caps_bars,
            note="Features are drawn around 16 prototypes, independently for the two models; the lengths are 0.9 against 0.7, and 0.5 against 0.8.",
        ),
        Claim(
            name="theorem-1-trained",
            statement="Of trained models both inequalities hold in expectation too: against the old gallery, the mean cosine within a class does not fall and between classes does not rise when the queries are a better model's.",
            published="stationary features satisfy the inequalities of compatibility in expectation (theorem 1)",
            comparison=_more_images,
            bars=_trained_bars,
            note=(
                "On images that were not trained on, means do not lie along their prototypes alone: each model has confusions of its own, which its queries share with its own gallery and not with another's. "
                "The mean cosine within a class falls by some hundredths, and between classes by nearly as much, so that identification hardly suffers."
            ),
            scales=("full", "gpu"),
        ),
        Claim(
            name="replacements",
            statement="A replacement by a model that was trained elsewhere against the same simplex improves the service at once, and one with a learnable classifier damages it.",
            published="with the released networks, learnable classifiers fall from self-tests of 0.63 to 0.73 to cross-tests of 0.09 to 0.12 right after a replacement (released notebook)",
            comparison=_replaced,
            bars=_replaced_bars,
            note=f"30 classes of mirrored and turned MNIST in 5 versions; the first begins from a publisher's model of 10 further classes, and the second and the fourth from better ones, of 20 and of 40; {TURNED}, K = 96, 200 steps.",
        ),
        Claim(
            name="iam-cl2r",
            statement="On CIFAR-100, compared on CIFAR-10, with two replacements among 7 versions, the contrastive term with the fixed classifier stays compatible and a learnable classifier with rehearsal does not.",
            published="7 tasks: AC 0.95 and AA 68.90, against 0.00 and 35.18 (released code)",
            comparison=_cifar,
            bars=[
                gain("hoc", "learnable", "AC open", at_least=0.5, method="exact"),
                gain("hoc", "learnable", "AA open", at_least=0.2, method="exact"),
                level("hoc", "AC open", at_least=0.9, method="exact"),
            ],
            note="One seed, as the released code runs; it needs CIFAR-100 and the released networks on the disk.",
            scales=("gpu",),
        ),
    ),
    snippet="""
import torch
from ordinate.analyze.compatibility import compatibility_report
from ordinate.models.registry import create_model
from ordinate.objectives.base import create_objective

model = create_model("mlp", image_size=8, num_features=31)                # 32 class directions, and embeddings of 31 numbers
objective = create_objective("stationary", model)                         # ordinate train mlp --objective stationary --data digits
batch = {"image": torch.randn(16, 1, 8, 8), "label": torch.arange(16) % 10}
objective(model, batch).backward()
z, labels = model.embed(batch["image"]).detach(), batch["label"]
print(compatibility_report(z, z, z, labels, labels).why)                  # new queries, old queries, old gallery
""",
    outside="The paper's runs of 7 and 31 versions on CIFAR-100 and CIFAR-10 need a GPU and the released networks; the former is a claim of the gpu scale.",
)
