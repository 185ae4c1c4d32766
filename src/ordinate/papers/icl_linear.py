"""What learning algorithm is in-context learning? Transformers on linear regression, beside the estimators of the textbook, and the transformers that run them by construction."""

from collections.abc import Sequence
from functools import partial

from ordinate.analyze.in_context.linear_references import linear_families
from ordinate.analyze.in_context.predictors import LinearPredictor, OnePass, Ridge
from ordinate.data.in_context.linear import LinearPrompts
from ordinate.experiment.claim import Bar, Claim, exact, gain, level, ratio
from ordinate.experiment.comparison import Comparison, Table
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm
from ordinate.models.base import Model
from ordinate.models.programs.learners import Learner, ridge_program, sgd_program
from ordinate.models.registry import create_model
from ordinate.tasks.constructed_learners import ConstructedLearners
from ordinate.tasks.in_context import InContext, TaughtOn
from ordinate.tasks.in_context_noise import InContextNoise
from ordinate.tasks.probed_in_context import ProbedInContext

__all__ = ["PAPER"]

STEP = 2.25  # of the penalties that are tried
RECIPE = "AdamW, one learning rate for all depths"


def _sizes(setting: Setting) -> tuple[int, int]:
    """(d, n) of the prompts."""
    return setting.pick(smoke=(2, 6), full=(3, 8), gpu=(8, 40))


def _network(layers: int, setting: Setting) -> partial[Model]:
    hidden = setting.pick(smoke=32, full=64, gpu=512)
    return partial(create_model, "in-context-transformer", hidden=hidden, layers=layers, heads=4)


def _depths(setting: Setting) -> Comparison:
    """Noiseless prompts: three depths, the control of the probes, and exact predictors."""
    d, n = _sizes(setting)
    source = LinearPrompts(d, n)
    task = ProbedInContext(
        source,
        linear_families(source),
        probed=setting.pick(smoke=800, full=12_000),
        probe_steps=setting.pick(smoke=20, full=600),
        steps=setting.pick(smoke=300, full=2_000, gpu=100_000),
        lr=setting.pick(smoke=3e-3, full=2e-3, gpu=1e-4),
        tested=setting.pick(smoke=300, full=1_000),
        places=range(1, 2 * d + 1),
    )
    deep = _network(setting.pick(smoke=3, full=4, gpu=16), setting)
    arms = [Arm("deep", deep)]
    if setting.scale != "smoke":
        shallow = [Arm(name, _network(layers, setting), role="ablation") for name, layers in (("two layers", 2), ("one layer", 1))]
        control = TaughtOn(
            "control", deep, role="ablation", note="trained where all weights are 1", source=LinearPrompts(d, n, fixed=(1.0,) * d)
        )
        arms += [*shallow, control]
    return Comparison("depths", task, [*arms, *map(task.arm, ("GD", "k-NN", "zero"))], seeds=setting.pick(smoke=1, full=None))


def _noisy(setting: Setting) -> Comparison:
    """The same network at two noises."""
    # Few numbers, so that training comes near the Bayes predictor at both noises.
    d, n = setting.pick(smoke=(2, 6), full=(2, 6), gpu=(8, 40))

    def task(source: LinearPrompts) -> InContext:
        return InContext(
            source,
            linear_families(source),
            steps=setting.pick(smoke=120, full=1_600, gpu=100_000),
            lr=setting.pick(smoke=3e-3, full=2e-3, gpu=1e-4),
            hidden=setting.pick(smoke=32, full=48, gpu=512),
            layers=setting.pick(smoke=2, full=3, gpu=16),
            tested=setting.pick(smoke=300, full=2_000),
            asked=0,
        )

    arms = [Arm("little noise", lambda: 0.2), Arm("much noise", lambda: 1.0)]
    return Comparison("noises", InContextNoise(d, n, task), arms, seeds=setting.pick(smoke=1, full=None))


def _descent(d: int, n: int) -> tuple[Learner, LinearPredictor]:
    return sgd_program(d, n, rate=0.02, penalty=0.1), OnePass(rate=0.02, penalty=0.1)


def _update(d: int, n: int) -> tuple[Learner, LinearPredictor]:
    return ridge_program(d, n, penalty=0.5), Ridge(0.5)


def _constructions(setting: Setting) -> Comparison:
    task = ConstructedLearners(setting.pick(smoke=((1, 3), (2, 4)), full=((1, 3), (2, 8), (4, 8)), gpu=((1, 3), (4, 8), (6, 8))))
    return Comparison("constructions", task, [Arm("gradient descent", _descent), Arm("Sherman-Morrison", _update)], seeds=1)


def _places(setting: Setting) -> range:
    return range(2, 2 * _sizes(setting)[0] + 1)


def _nearest(setting: Setting) -> Bar:
    """At every prefix, the distance to least squares over that to the nearest of descent, one pass of it and neighbours; the largest over prefixes."""
    return Bar(
        f"distance to OLS over that to the nearest of GD, SGD and k-NN, the largest after {_places(setting).start} to {_places(setting).stop - 1} pairs",
        lambda table: [
            max(
                row.metrics[f"SPD OLS@{place}"] / min(row.metrics[f"SPD {other}@{place}"] for other in ("GD", "SGD", "k-NN"))
                for place in _places(setting)
            )
            for row in table.of("deep")
        ],
        at_most=1,
        unit="x",
    )


def _over(arm: str, first: str, second: str, *, at_least: float | None = None, at_most: float | None = None) -> Bar:
    """One metric of an arm over another of the same arm."""
    return Bar(
        f"{first} over {second}, {arm}",
        lambda table: [a / b for a, b in zip(table.values(arm, first), table.values(arm, second), strict=True)],
        at_least,
        at_most,
        "x",
    )


def _minus(arm: str, first: str, second: str, *, at_least: float, unit: str = "") -> Bar:
    return Bar(
        f"{first} minus {second}, {arm}",
        lambda table: [a - b for a, b in zip(table.values(arm, first), table.values(arm, second), strict=True)],
        at_least,
        unit=unit,
    )


def _squares_bars(setting: Setting) -> Sequence[Bar]:
    if setting.scale == "smoke":
        return [ratio("deep", "zero", f"risk@{2 * _sizes(setting)[0]}", at_most=0.6)]
    return [
        _nearest(setting),
        _over("deep", "SPD OLS", "SPD k-NN", at_most=0.25),
        _over("deep", "SPD OLS", "SPD GD", at_most=0.25),
        _over("deep", "ILWD OLS", "ILWD k-NN", at_most=0.25),
    ]


def _phases(table: Table) -> str:
    """What each depth is nearest to, by the mean over seeds, and the ridge penalty nearest to it."""
    said = []
    for arm in ("one layer", "two layers", "deep"):
        if arm not in table.arms:
            continue
        distances = {name: table.value(arm, f"SPD {name}") for name in ("OLS", "GD", "SGD", "k-NN")}
        name = min(distances, key=distances.__getitem__)
        penalties = ", ".join(row.notes["members"]["ridge"].removeprefix("ridge ") for row in table.of(arm))
        said.append(f"{arm}: {name} at SPD {distances[name]:.2g} (ridge at {table.value(arm, 'SPD ridge'):.2g}, penalties {penalties})")
    return "; ".join(said)


def _construction_bars(setting: Setting) -> Sequence[Bar]:
    arms = {"gradient descent": (6, 1), "Sherman-Morrison": (13, 2)}
    bars = []
    for arm, (layers, power) in arms.items():
        bars += [
            exact(f"error of the program, {arm}", partial(Table.value, arm=arm, metric="program error"), at_most=1e-10),
            exact(f"error of the transformer, {arm}", partial(Table.value, arm=arm, metric="transformer error"), at_most=1e-6),
            exact(f"layers for each example, {arm}", partial(Table.value, arm=arm, metric="layers an example"), at_most=layers),
            exact(f"exponent of rows in d, {arm}", partial(Table.value, arm=arm, metric="growth of rows"), at_most=power),
            exact(f"error when products are scaled by half as much, over before, {arm}", partial(_halved, arm=arm), at_most=0.3, unit="x"),
        ]
    return bars


def _halved(table: Table, arm: str) -> float:
    return table.value(arm, "error at 5e-3") / table.value(arm, "error at 1e-2")


FULL = ("full", "gpu")

PAPER = Paper(
    slug="icl-linear",
    title="What learning algorithm is in-context learning? Investigations with linear models",
    authors="Ekin Akyürek, Dale Schuurmans, Jacob Andreas, Tengyu Ma, Denny Zhou",
    year=2023,
    venue="ICLR 2023",
    arxiv="2211.15661",
    code="github.com/ekinakyurek/google-research",
    room="analyze",
    summary=(
        "A decoder that is trained on sequences of random linear regression problems learns to predict each label from the pairs before it. Which estimator is that? Transformers whose weights are written by hand run a step of gradient "
        "descent or a Sherman-Morrison update; trained ones are measured against least squares, ridge regression, gradient descent, nearest neighbours and the Bayes estimator; and probes look for what is computed on the way."
    ),
    provides=(
        Part("in-context linear prompts", "ordinate.data.in_context.linear:LinearPrompts"),
        Part("training batches with a curriculum", "ordinate.data.in_context.prompts:PromptBatches"),
        Part(
            "the transformer that reads vectors, also as in the official code",
            "ordinate.models.in_context_transformer:InContextTransformer",
        ),
        Part("in-context regression", "ordinate.objectives.in_context:InContextRegression"),
        Part("online least squares", "ordinate.analyze.in_context.predictors:LeastSquares"),
        Part("online ridge by rank-one updates", "ordinate.analyze.in_context.predictors:online_ridge"),
        Part("SPD", "ordinate.analyze.in_context.distances:spd"),
        Part("ILWD, with fresh queries on one reading of the context", "ordinate.analyze.in_context.distances:ilwd"),
        Part("which algorithm a network follows", "ordinate.analyze.in_context.study:study_in_context"),
        Part("position-weighted probe", "ordinate.analyze.in_context.position_probe:PositionProbe"),
        Part("programs of mov, mul, div and aff", "ordinate.models.programs.program:Program"),
        Part("programs as transformers", "ordinate.models.programs.compiler:ConstructedTransformer"),
        Part("gradient descent as a program", "ordinate.models.programs.learners:sgd_program"),
        Part("Sherman-Morrison ridge as a program", "ordinate.models.programs.learners:ridge_program"),
        Part("in-context task", "ordinate.tasks.in_context:InContext"),
    ),
    claims=(
        Claim(
            name="least-squares",
            statement="Trained on noiseless prompts, a transformer predicts as least squares does, of least norm where a prompt leaves a choice, and not as nearest neighbours or a step of gradient descent do.",
            published="SPD and ILWD over d from least squares are below 0.01 after almost every number of pairs, those from k-NN and one step of gradient descent 0.1 to 0.8 (d = 8, 16 layers, 512 units)",
            comparison=_depths,
            bars=_squares_bars,
            note=f"d = 3, 8 pairs, 4 layers of 64 units, 2,000 steps of 64; {RECIPE}. Descent and neighbours stand for themselves with the rate and the weighting that bring them nearest.",
        ),
        Claim(
            name="bayes-penalty",
            statement="Trained on noisy prompts, it predicts as ridge regression with the penalty of the Bayes predictor, noise over prior.",
            published="MSPD is smallest at the ridge penalty sigma²/tau² for each of 0, 1/16, 1/9, 1/4 and 4/9: 1.25e-5, 3.29e-5, 3.86e-5, 3.30e-5, 6.10e-5",
            comparison=_noisy,
            bars=lambda setting: [
                ratio("much noise", "little noise", "penalty", at_least=STEP, label="nearest penalty at noise 1 over that at noise 0.2"),
                *(level(arm, "miss", at_most=1, unit="steps") for arm in ("little noise", "much noise") if setting.scale != "smoke"),
            ],
            note="d = 2, 6 pairs, 3 layers of 48 units, 1,600 steps of 64, noises of standard deviation 0.2 and 1; a step is a factor of 2.25.",
        ),
        Claim(
            name="depth-phases",
            statement="With one layer it is nearer to one step of gradient descent than to least squares, and with more layers the other way round.",
            published="one layer is closest to one step of gradient descent, 2 to 4 to ridge regression, 8 and more to least squares (d = 8)",
            comparison=_depths,
            bars=[_over("one layer", "SPD OLS", "SPD GD", at_least=1), _over("deep", "SPD OLS", "SPD GD", at_most=1)],
            measured=_phases,
            note="Depths of 1, 2 and 4 after the same steps. Ridge regression with a free penalty lies near both ends, descent at a large penalty and least squares at a small one: the penalties that are nearest say where a depth stands between them.",
            scales=FULL,
        ),
        Claim(
            name="weights-decodable",
            statement="A probe reads the least-squares weights off a late layer, far better than off a network that was trained where the weights never change.",
            published="w is decoded from about layer 12 of 16, X'y from about 7; the control is clearly worse (d = 4)",
            comparison=_depths,
            bars=[
                level("deep", "R2 weights, last", at_least=0.6),
                gain("deep", "control", "R2 weights, last", at_least=0.2),
            ],
            note="After d = 3 pairs; 4 layers. R2 rises from layer to layer, from 0.29 to 0.65, and stays at 0.45 in the control: 0.19 apart, at a bar of 0.2. How long and on how many prompts a probe is trained was settled on pilots; a half as long and on a third as many it came to 0.39, and 0.2 in the control.",
            scales=FULL,
        ),
        Claim(
            name="moment-first",
            statement="The moment vector X'y is read off best no later than the weights.",
            published="X'y from about layer 7 of 16, w from about layer 12 (d = 4)",
            comparison=_depths,
            bars=[_minus("deep", "layer of weights", "layer of moment", at_least=0, unit="layers")],
            scales=FULL,
        ),
        Claim(
            name="nonlinear-probe",
            statement="The weights are read off better by a probe with a hidden layer than by a linear one.",
            published="mean squared error of about 0.01 against 0.03 (d = 4)",
            comparison=_depths,
            bars=[_minus("deep", "R2 weights, last", "R2 weights linear, last", at_least=0)],
            scales=FULL,
        ),
        Claim(
            name="constructions",
            statement="A transformer can run a step of gradient descent or a Sherman-Morrison update in a constant number of layers, with rows in proportion to d or to d².",
            published="theorems 1 and 2: constant layers, O(d) and O(d²) hidden rows",
            comparison=_constructions,
            bars=_construction_bars,
            note="Iterated over whole prompts, where the paper shows one update. Errors are relative to the largest prediction.",
        ),
    ),
    snippet="""
import torch
from ordinate.analyze.in_context.predictors import Ridge
from ordinate.data.in_context.linear import LinearPrompts
from ordinate.models.programs.compiler import compile_program
from ordinate.models.base import Model
from ordinate.models.programs.learners import ridge_program

prompts = LinearPrompts(d=3, n=6, noise=0.5).sample(8, torch.Generator().manual_seed(0))
learner = ridge_program(d=3, n=6, penalty=0.25)
transformer = compile_program(learner.program)            # attention and MLP layers whose weights are written down
said = learner.predict(prompts.tokens(), transformer)     # (8, 6)
print((said - Ridge(0.25)(prompts.x, prompts.y)).abs().max())
""",
    outside="Networks of 16 layers and 512 units at d = 8 and 16, and the width from which ridge regression is reached (16 units at d = 8, 32 at d = 16): they need a GPU for hours.",
)
