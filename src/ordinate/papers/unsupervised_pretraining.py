"""On the Provable Advantage of Unsupervised Pretraining: when unlabelled rows replace labels, measured on latent-variable models."""

from collections.abc import Sequence

from ordinate.analyze.rate_instances import FactorInstance, MixtureInstance, PairsInstance
from ordinate.experiment.claim import Bar, Claim, gain, level, ratio
from ordinate.experiment.comparison import Comparison
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.tasks.few_labels import FewLabels
from ordinate.tasks.hidden_coordinate import HiddenCoordinateTask
from ordinate.tasks.planned_crossover import PlannedCrossover
from ordinate.tasks.sample_complexity import SampleComplexity
from ordinate.tasks.weak_factor import WeakFactor

__all__ = ["PAPER"]

STRONG, WEAK = "s = 0.5", "s = 0.125"
FAR_BELOW = "sqrt(dr/m) + sqrt(r/n) (the theorem on factor models)"


def _factor(setting: Setting) -> Comparison:
    """Factors: two phases, a head on the true model, labels alone."""
    ns = (50, 100, 200, 400, 800, 1600, 20_000)
    ms = setting.pick(smoke=(100, 400, 1600, 50_000), full=(100, 200, 400, 800, 1600, 3200, 6400, 50_000))
    task = SampleComplexity(FactorInstance(), ns, ms, reps=setting.pick(smoke=4, full=16, gpu=64))
    return Comparison("factor", task, [task.arm(name) for name in ("two-phase", "oracle", "supervised")])


def _crossover(setting: Setting) -> Comparison:
    """What a planner foresees from pilots, and what is measured."""
    task = PlannedCrossover(
        FactorInstance(),
        pilot_ns=(100, 400, 1600),
        pilot_ms=(200, 800, 3200),
        n=20_000,
        ms=setting.pick(smoke=(1_000, 4_000, 16_000), full=(1_000, 2_000, 4_000, 8_000, 16_000)),
        reps=setting.pick(smoke=8, full=32),
        pilot_reps=32,
    )
    return Comparison("crossover", task, [task.arm("planned"), task.arm("measured")])


def _mixture(setting: Setting) -> Comparison:
    """Gaussian components with a class each."""
    ns = setting.pick(smoke=(20, 40, 160), full=(20, 40, 80, 160, 320, 400))
    ms = setting.pick(smoke=(40, 640, 4_000), full=(40, 80, 160, 640, 4_000))
    task = SampleComplexity(MixtureInstance(), ns, ms, reps=setting.pick(smoke=2, full=16, gpu=64), slopes=())
    return Comparison("mixture", task, [task.arm(name) for name in ("two-phase", "oracle", *task.instance.baselines)])


def _contrastive(setting: Setting) -> Comparison:
    """Pairs with a sign, and a linear encoder."""
    ns = setting.pick(smoke=(40, 160, 640, 5_000), full=(40, 80, 160, 320, 640, 5_000))
    ms = setting.pick(smoke=(250, 1_000, 4_000, 20_000), full=(250, 500, 1_000, 2_000, 4_000, 8_000, 20_000))
    task = SampleComplexity(PairsInstance(), ns, ms, reps=setting.pick(smoke=3, full=16, gpu=64), slopes=("m",))
    return Comparison("contrastive", task, [task.arm(name) for name in ("two-phase", "oracle", "supervised")])


def _coordinate(setting: Setting) -> Comparison:
    """Unlabelled rows that say nothing."""
    task = HiddenCoordinateTask(20, n=12, ms=(10, 100, 1_000), reps=setting.pick(smoke=30, full=200))
    return Comparison("hidden-coordinate", task, [task.arm(name) for name in ("two-phase", "ties left to labels", "supervised")])


def _weak(setting: Setting) -> Comparison:
    """A factor model whose weakest factor is divided by four."""
    task = WeakFactor(10, (1.0, 1.0), m=200_000, n=20_000, reps=setting.pick(smoke=4, full=32), draws=setting.pick(smoke=20, full=50))
    return Comparison("weak-factor", task, [task.arm(STRONG), task.arm(WEAK)])


def _real(setting: Setting) -> Comparison:
    """Handwritten digits with few labels."""
    task = FewLabels.from_data(setting.pick(smoke="digits", full="mnist"), setting)
    return Comparison("few-labels", task, [task.arm(name) for name in ("mixture", "factors", "logistic")])


def _label_bars(setting: Setting) -> Sequence[Bar]:
    ns = setting.pick(smoke=(100, 400, 1600), full=(100, 200, 400, 800, 1600))
    return [
        *(ratio("two-phase", "oracle", f"n={n}", at_most=1.15, label=f"risk over the true model's at {n} labels") for n in ns),
        *(ratio("supervised", "two-phase", f"n={n}", at_least=5, label=f"risk of labels alone over two phases' at {n} labels") for n in ns),
    ]


def _mixture_bars(setting: Setting) -> Sequence[Bar]:
    few = setting.pick(smoke=(40, 160), full=(40, 80, 160))
    enough = setting.pick(smoke=(160,), full=(80, 160, 320, 400))
    return [
        *(level("two-phase", f"n={n}", at_most=0.01) for n in (40, *enough)),
        *(level("two-phase", f"m={m}", at_most=0.01) for m in (640, 4_000)),
        *(
            gain(other, "two-phase", f"n={n}", at_least=0, label=f"risk of {other} minus two phases' at {n} labels")
            for n in few
            for other in ("logistic", "neighbours")
        ),
    ]


def _head_bars(setting: Setting) -> Sequence[Bar]:
    ns = setting.pick(smoke=(20, 160), full=(20, 40, 80, 160))
    return [
        *(gain("two-phase", "oracle", f"n={n}", at_most=0.005, label=f"risk minus the true model's at {n} labels") for n in ns),
        gain(
            "labelled mixture",
            "two-phase",
            "n=20",
            at_least=0,
            label="risk of a mixture of the labelled rows minus two phases' at 20 labels",
        ),
    ]


def _contrastive_bars(setting: Setting) -> Sequence[Bar]:
    ns = setting.pick(smoke=(40, 160, 640), full=(40, 80, 160, 320, 640))
    return [
        *(ratio("supervised", "two-phase", f"n={n}", at_least=3, label=f"risk of labels alone over two phases' at {n} labels") for n in ns),
        level("two-phase", "slope in m", at_least=-1.4, at_most=-0.6),
    ]


def _control_bars(setting: Setting) -> Sequence[Bar]:
    return [
        level("two-phase", "observed", at_most=0, label="distance of what is observed under two models"),
        level("two-phase", "hidden", at_least=0.5, label="distance of the joint distributions"),
        *(
            gain("supervised", "two-phase", f"m={m}", at_most=0, label=f"risk of labels alone minus two phases', tie at random, m={m}")
            for m in (10, 1_000)
        ),
        *(gain("ties left to labels", "supervised", f"m={m}", at_least=-0.01, at_most=0.01) for m in (10, 1_000)),
        Bar(
            "risk of two phases at m=10 minus at m=1000",
            lambda table: [a - b for a, b in zip(table.values("two-phase", "m=10"), table.values("two-phase", "m=1000"), strict=True)],
            -0.01,
            0.01,
        ),
    ]


def _real_bars(setting: Setting) -> Sequence[Bar]:
    few = setting.pick(smoke=(20, 100), full=(10, 20, 50, 100))
    return [
        gain("mixture", "logistic", f"accuracy@{n}", at_least=0, unit="%", label=f"accuracy, mixture minus logistic, at {n} labels")
        for n in few
    ]


def _floor_bars(setting: Setting) -> Sequence[Bar]:
    return [
        gain("logistic", "mixture", "accuracy@5000", at_least=0, unit="%", label="accuracy, logistic minus mixture, at 5,000 labels"),
        level("mixture", "floor", at_least=1, unit="%", label="error of the mixture that labels do not remove, as fitted"),
    ]


PAPER = Paper(
    slug="unsupervised-pretraining",
    title="On the Provable Advantage of Unsupervised Pretraining",
    authors="Jiawei Ge, Shange Tang, Jianqing Fan, Chi Jin",
    year=2024,
    venue="ICLR 2024",
    arxiv="2303.01566",
    code=None,
    room="tasks",
    summary=(
        "When do unlabelled rows replace labels? A latent-variable model is fitted to m unlabelled rows by maximum likelihood, and a small head to n labels by empirical risk minimisation. "
        "If matching what is observed forces the model to be right up to what a head can undo, the excess risk is at most of order sqrt(C_Phi/m) + sqrt(C_Psi/n), against sqrt(C_(Phi o Psi)/n) for labels alone. "
        "Factor models, Gaussian mixtures and contrastive learning are worked out."
    ),
    provides=(
        Part("learning in two phases, numbers", "ordinate.models.two_phase:TwoPhaseRegressor"),
        Part("learning in two phases, classes", "ordinate.models.two_phase:TwoPhaseClassifier"),
        Part("factor model, streaming, with free noise probabilistic principal components", "ordinate.models.factor_model:FactorModel"),
        Part("Gaussian mixture by expectation-maximisation", "ordinate.models.gaussian_mixture:GaussianMixturePretrainer"),
        Part("contrastive pairs, linear or any module", "ordinate.models.contrastive_pairs:ContrastivePairs"),
        Part("positive pairs as pairs with signs", "ordinate.data.sign_pairs:sign_pairs"),
        Part("heads by empirical risk minimisation", "ordinate.models.latent_heads:RidgeHead"),
        Part("heads by maximum likelihood, to show why not", "ordinate.models.latent_likelihood:LikelihoodRidge"),
        Part("problems with a latent variable", "ordinate.data.latent_models:FactorProblem"),
        Part("excess risk", "ordinate.analyze.excess_risk:linear_excess_risk"),
        Part("a meter of informativeness", "ordinate.analyze.informativeness:informativeness"),
        Part("the model that unlabelled rows cannot choose from", "ordinate.models.hidden_coordinate:HiddenCoordinate"),
        Part("the bound, as numbers", "ordinate.analyze.risk_bound:excess_risk_bound"),
        Part("study of rates", "ordinate.analyze.rate_study:RateStudy"),
        Part("planner of unlabelled rows and labels", "ordinate.analyze.sample_planner:SamplePlanner"),
        Part("excess risk by numbers of rows and labels, as a task", "ordinate.tasks.sample_complexity:SampleComplexity"),
        Part("few labels of real data, as a task", "ordinate.tasks.few_labels:FewLabels"),
    ),
    claims=(
        Claim(
            name="labels-scale-with-the-head",
            statement="With enough unlabelled rows a factor model needs labels for its few factors, not for all coordinates: two phases are as good as a head on the true model, and far ahead of least squares.",
            published=f"{FAR_BELOW}; labels alone sqrt(d/n)",
            comparison=_factor,
            bars=_label_bars,
            note="40 coordinates, 3 factors of size 3, 2 and 1.5, 50,000 unlabelled rows; the paper has no experiments, and the bars are ours.",
        ),
        Claim(
            name="rates",
            statement="The excess risk of a factor model falls in unlabelled rows and in labels at least as fast as the bound, and in this well-specified model faster.",
            published=f"exponents -1/2 in m and in n: {FAR_BELOW}",
            comparison=_factor,
            bars=[level("two-phase", f"slope in {axis}", at_least=-1.3, at_most=-0.5) for axis in ("n", "m")],
            note="An exponent of -1 is what a parametric model has near its truth: the bound, which holds for the worst model, is not tight here.",
        ),
        Claim(
            name="crossover",
            statement="With few unlabelled rows pretraining loses to many labels, and where it begins to win can be foreseen from small pilots within a factor of two.",
            published="pretraining pays when m is much larger than n (abstract)",
            comparison=_crossover,
            bars=[ratio("planned", "measured", "crossover", at_least=0.5, at_most=2, label="planned crossover over the measured one")],
            note="Pilots of 200 to 3,200 rows and 100 to 1,600 labels, 32 repetitions a seed; the crossover is asked for at 20,000 labels. These sizes, and the planner's test for a floor, were settled by pilots on seeds 0 to 4: with smaller pilots one plan in three was off by more than two.",
        ),
        Claim(
            name="mixture",
            statement="With 5 labels a component and 4 d K unlabelled rows, two phases classify a Gaussian mixture almost as well as can be, and better than logistic regression and nearest neighbours.",
            published="sqrt(dK/m) + sqrt(K/n) (theorem 5.3)",
            comparison=_mixture,
            bars=_mixture_bars,
            note=(
                "20 dimensions, 8 components 5 apart, 3 classes, a tenth of the labels wrong; the paper's separation is of order sqrt(log K) with a large constant. The baselines choose penalty and number of neighbours on the inputs that are scored. "
                "At 40 labels a component has 5 on average and some have 1 or 2, a tenth of which are wrong: a head on the true mixture is no better there (see mixture-head). "
                "At 640 rows all three starts of EM ended in a local optimum in 1 of 48 repetitions."
            ),
        ),
        Claim(
            name="mixture-head",
            statement="What is left of a mixture's excess risk at few labels is the head's: components without a right label, as with the true mixture.",
            published="the term sqrt(K/n) (theorem 5.3)",
            comparison=_mixture,
            bars=_head_bars,
            note="From 160 labels on a mixture fitted to the labelled rows alone is as good: their inputs are then data enough for 8 components.",
        ),
        Claim(
            name="contrastive",
            statement="Contrastive pairs make a linear head on few features enough: two phases are ahead of labels alone, and their risk falls with the number of pairs.",
            published="sqrt(dr/m) + sqrt(r/n) (the theorem on contrastive learning)",
            comparison=_contrastive,
            bars=_contrastive_bars,
            note="12 coordinates, 2 features of size 1.2, 20,000 pairs. Once labels are plentiful they win: at 5,000 labels it takes thousands of pairs to be as good as least squares. The ratios of risks vary widely from seed to seed, and three seeds leave some of them open.",
        ),
        Claim(
            name="no-information-no-gain",
            statement="Where what is observed does not tell models apart, no number of unlabelled rows makes two phases better than labels alone.",
            published="the bound is infinite where no finite kappa exists (assumption 3.2)",
            comparison=_coordinate,
            bars=_control_bars,
            note="The label is one of 20 coordinates of a cube. A tie that is broken at random leaves the head on a wrong coordinate; left to the labels, it is labels alone.",
        ),
        Claim(
            name="weak-factors",
            statement="The weaker the weakest factor, the less informative a factor model is, and the larger its excess risk.",
            published="kappa grows as the smallest singular value of the loadings falls (the section on factor models)",
            comparison=_weak,
            bars=[
                ratio(WEAK, STRONG, "kappa", at_least=3, label="kappa at a quarter of the smallest singular value"),
                ratio(WEAK, STRONG, "risk", at_least=1, label="excess risk at a quarter of the smallest singular value"),
            ],
            note=(
                "From 0.5 to 0.125, beside factors of size 1, in 10 dimensions, chosen because kappa grows there. Around a strong factor of size s the ratio is that of s^2/(1 + s^2) and what is observed saturates: from 1.5 to 0.375 beside factors of 3 and 2, kappa grows by a fifth only. "
                "The risk is measured with 200,000 rows, where the weak factor is still found: with too few its signal is lost whole, and there is little of it to lose."
            ),
        ),
        Claim(
            name="few-labels-of-digits",
            statement="On handwritten digits a mixture fitted to all images, with a vote a component, is ahead of logistic regression while labels are few.",
            published="not in the paper, which has no experiments",
            comparison=_real,
            bars=_real_bars,
            note=(
                "Every arm takes the best of three settings on the test rows. 8,000 images; 20, 30 or 50 components. At 10 and 20 labels the mixture is ahead by several points, which vary with the labelled images; at 100 both are about even: "
                "what the wrong model costs (see wrong-model-floor) begins to count."
            ),
        ),
        Claim(
            name="wrong-model-floor",
            statement="A model that is wrong leaves an error that labels do not remove: with many labels, logistic regression is ahead of the mixture.",
            published="not in the paper, whose models are right",
            comparison=_real,
            bars=_floor_bars,
            note=(
                "How wrong depends on the number of components, here 50 at most: in a pilot on 1,437 digits of 8 x 8 pixels with up to 80, the mixture stayed ahead up to 1,000 labels. "
                "The floor is extrapolated from at most 5,000 labels."
            ),
            scales=("full", "gpu"),
        ),
    ),
    snippet="""
import torch
from ordinate.analyze.sample_planner import SamplePlanner
from ordinate.data.latent_models import FactorProblem
from ordinate.ground.seeds import generator
from ordinate.models.factor_model import FactorModel
from ordinate.models.two_phase import TwoPhaseRegressor

chance = generator(0)
problem = FactorProblem.draw(40, (3.0, 2.0, 1.5), chance)          # 40 coordinates, three factors behind them
x, y = problem.sample(100, chance)                                 # a hundred labels
unlabelled = problem.inputs(10_000, chance)                        # and many rows without
model = TwoPhaseRegressor(FactorModel(3)).fit(x, y, unlabelled)
tests, truth = problem.sample(2_000, chance)
print(model.score(tests, truth))                                   # R^2, near the best that there is

risk = lambda m, n: 3.0 / m + 2.0 / n                              # pilot runs: yours
planner = SamplePlanner().fit([(m, n, risk(m, n)) for m in (100, 400, 1600) for n in (50, 200, 800)])
print(planner.plan(target=0.005, cost_unlabelled=1, cost_labelled=50))
""",
    outside="The bounds themselves, which are theorems; a neural encoder on millions of pairs of images.",
)
