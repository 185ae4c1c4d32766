"""Active multi-task representation learning: which source tasks to sample, by the L1 norm of their relevance."""

from collections.abc import Sequence
from functools import partial

from ordinate.data.corruptions import CORRUPTIONS
from ordinate.data.linear_sources import near_duplicates, strong_and_weak
from ordinate.experiment.claim import Bar, Claim, exact, level, ratio
from ordinate.experiment.comparison import Comparison, Table
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.tasks.corrupted_sources import EASY, CorruptedSources
from ordinate.tasks.sampling_plans import SamplingPlans
from ordinate.tasks.source_sampling import SourceSampling

__all__ = ["PAPER"]

INSTANCE = "30 inputs, 4 features, 40 sources of which two sum to the target, noise 0.5, 300 target labels, 8,000 samples"


def _plans(setting: Setting) -> Comparison:
    """What rules need, in closed form."""
    task = SamplingPlans(
        tasks=setting.pick(smoke=20, full=40), draws=setting.pick(smoke=20, full=200), small=setting.pick(smoke=(2, 8, 8), full=(3, 12, 40))
    )
    return Comparison("plans", task, [task.arm(name) for name in ("random", "near duplicates", "two prices", "openings")])


def _sampling(setting: Setting) -> Comparison:
    """Learning end to end, with relevances known or estimated."""
    inputs, tasks, budget = setting.pick(smoke=(12, 15, 3_000), full=(30, 40, 8_000))
    task = SourceSampling(partial(strong_and_weak, inputs=inputs, tasks=tasks), budgets=(budget,))
    names = setting.pick(smoke=("uniform", "known l1", "l1"), full=("uniform", "known l2", "known l1", "l2", "l1", "lasso"))
    return Comparison("sampling", task, [task.arm(name) for name in names])


def _growing(setting: Setting) -> Comparison:
    """The same with growing budgets."""
    task = SourceSampling(partial(strong_and_weak, inputs=30, tasks=40), budgets=(4_000, 8_000, 16_000, 32_000, 64_000))
    return Comparison("growing-budgets", task, [task.arm(name) for name in ("known l1", "l1")])


def _few(setting: Setting) -> Comparison:
    """As many sources as features, where weak sources all but repeat each other."""
    task = SourceSampling(partial(near_duplicates, inputs=30, tasks=40))
    return Comparison("few-sources", task, [task.arm(name) for name in ("l1", "few l1", "l2", "few l2")])


def _corrupted(setting: Setting) -> Comparison:
    task = CorruptedSources(
        setting.pick(smoke="digits", full="mnist"),
        setting=setting,
        kinds=setting.pick(smoke=EASY[:3], full=EASY, gpu=CORRUPTIONS),
        images=setting.pick(smoke=1_000, full=8_000, gpu=60_000),
        tested=setting.pick(smoke=None, full=2_000, gpu=10_000),
        components=setting.pick(smoke=16, full=64),
        rank=setting.pick(smoke=5, full=20),
        targets=setting.pick(smoke=2, full=20, gpu=160),
        budget=setting.pick(smoke=800, full=5_000, gpu=30_000),
        explore=0.4,
        target_images=setting.pick(smoke=30, full=100),
        learner=setting.pick(smoke="linear", full="linear", gpu="convnet"),
        steps=setting.pick(smoke=50, full=300, gpu=1_000),
    )
    return Comparison(
        "corrupted", task, [task.arm(name) for name in ("lasso", "l2", "uniform")], seeds=setting.pick(smoke=1, full=4, gpu=3)
    )


def _means(label: str, arm: str, over: str, metric: str, *, at_most: float | None = None, at_least: float | None = None) -> Bar:
    """The mean of one arm over the mean of another, as the paper's averages over runs are compared, with the ratio's spread by the delta method."""
    return Bar(label, partial(_ratio_of_means, arm, over, metric), at_least=at_least, at_most=at_most, unit="x")


def _ratio_of_means(arm: str, over: str, metric: str, table: Table) -> list[float]:
    ours, theirs = table.values(arm, metric), table.values(over, metric)
    mean = sum(theirs) / len(theirs)
    quotient = sum(ours) / sum(theirs)
    # each seed's part of the linearised ratio: their mean is the ratio of the means
    return [quotient + (a - quotient * b) / mean for a, b in zip(ours, theirs, strict=True)]


def _known_bars(setting: Setting) -> Sequence[Bar]:
    bars = [_means("risk over that of uniform sampling", "known l1", "uniform", "risk", at_most=setting.pick(smoke=0.7, full=0.25))]
    if setting.scale != "smoke":
        bars.append(_means("risk over that of the L2 rule", "known l1", "known l2", "risk", at_most=0.9))
    return bars


def _estimated_bars(setting: Setting) -> Sequence[Bar]:
    if setting.scale == "smoke":
        return [_means("risk over that of uniform sampling", "l1", "uniform", "risk", at_most=0.9)]
    return [
        _means("risk over that with known relevances", "l1", "known l1", "risk", at_most=1.4),
        _means("risk over that of the L2 rule, estimated too", "l1", "l2", "risk", at_most=1.0),
    ]


PAPER = Paper(
    slug="active-mtrl",
    title="Improved Active Multi-Task Representation Learning via Lasso",
    authors="Yiping Wang, Yifang Chen, Kevin Jamieson, Simon S. Du",
    year=2023,
    venue="ICML 2023",
    arxiv="2306.02556",
    code=None,
    room="tasks",
    summary=(
        "Many source tasks can be labelled at a price, and a target with few labels shares a low-dimensional representation with them. Its head is a combination of the sources' heads, and the combination of smallest 1-norm "
        "says how many samples of which source to buy: it is the best for the total, it uses few sources, and a Lasso on a small exploration estimates it."
    ),
    provides=(
        Part("relevance of source tasks, by 1-norm or 2-norm", "ordinate.analyze.relevance:relevance"),
        Part("the same by the Lasso, for many targets at once", "ordinate.analyze.relevance:relevance_lasso"),
        Part("batched Lasso to a stated precision", "ordinate.analyze.lasso:lasso"),
        Part("whole numbers of samples by a rule", "ordinate.analyze.sample_plan:allocate"),
        Part("joint plan with costs, caps and least numbers", "ordinate.analyze.sample_plan:plan_samples"),
        Part("budget that a rule needs", "ordinate.analyze.sample_plan:required_budget"),
        Part("form of the risk's bound", "ordinate.analyze.sample_plan:predicted_risk"),
        Part("sources that cost something to open", "ordinate.analyze.opening_costs:plan_openings"),
        Part("explore, estimate, buy, learn", "ordinate.analyze.active_mtrl:ActiveMTRL"),
        Part("plan from samples at hand", "ordinate.analyze.sample_study:study_samples"),
        Part("excess risk in closed form", "ordinate.analyze.transfer_risk:excess_risk"),
        Part("linear representation of many tasks", "ordinate.models.linear_mtrl:LinearMTRL"),
        Part("alternating least squares on moments", "ordinate.models.alternating:fit_representation"),
        Part("any encoder as the representation", "ordinate.models.neural_mtrl:NeuralMTRL"),
        Part("the sixteen corruptions of MNIST-C", "ordinate.data.corruptions:corrupt"),
        Part("corrupted images as tasks", "ordinate.data.corrupted_sources:CorruptedTasks"),
        Part("films as tasks", "ordinate.data.rated_films:rated_films"),
        Part("linear source tasks whose truth is known", "ordinate.data.linear_sources:LinearSources"),
        Part("sampling task", "ordinate.tasks.source_sampling:SourceSampling"),
    ),
    claims=(
        Claim(
            name="fewer-samples",
            statement="For the same precision the L1 rule never needs more samples than the L2 rule, and far fewer where weak sources repeat each other.",
            published="N of order sigma^2 K d |nu|_1^2 / eps^2, and a lower bound for the L2 rule on constructed instances (Theorem 3.4)",
            comparison=_plans,
            bars=[
                exact("largest ratio of budgets on any draw", lambda table: max(table.values("random", "worst")), at_most=1.0, unit="x"),
                exact("the same on near duplicates", lambda table: max(table.values("near duplicates", "worst")), at_most=0.5, unit="x"),
            ],
            note="4 features, 40 sources, 200 draws a seed, exact for each draw; budgets are those at which the bound of each rule, with the relevances that it samples by, is the same.",
        ),
        Claim(
            name="known-relevance",
            statement="With known relevances sampling by the L1 rule ends at a lower risk than sampling by the L2 rule or evenly, for the same number of samples.",
            published="the L1 rule strictly dominates the L2 rule (Theorem 3.4 and the lower bound beside it)",
            comparison=_sampling,
            bars=_known_bars,
            note=f"{INSTANCE}; ratios of means over seeds.",
        ),
        Claim(
            name="estimated-relevance",
            statement="Relevances estimated on a small exploration do nearly as well as known ones, and better than the L2 rule's.",
            published="the Lasso's algorithm recovers the rate of known relevances, with an exploration that does not depend on eps",
            comparison=_sampling,
            bars=_estimated_bars,
            note=f"{INSTANCE}, 40 of each source for exploring; by the linear program, the Lasso's limit (its own arm is in the table).",
        ),
        Claim(
            name="budget-and-precision",
            statement="The samples needed grow as the inverse square of the precision, with relevances known or estimated.",
            published="N of order 1 / eps^2",
            comparison=_growing,
            bars=[
                level(arm, "exponent", at_least=-2.3, at_most=-1.7, label=f"exponent of the budget in eps, relevances {words}")
                for arm, words in (("known l1", "known"), ("l1", "estimated"))
            ],
            note="4,000 to 64,000 samples; eps^2 is the representation's part of the risk.",
            scales=("full", "gpu"),
        ),
        Claim(
            name="few-sources",
            statement="The L1 relevance uses no more sources than there are features.",
            published="nu of smallest 1-norm is sparse, with at most K sources",
            comparison=_plans,
            bars=lambda setting: [
                exact("most sources of a linear program", lambda table: max(table.values("random", "nonzeros")), at_most=4),
                exact("most sources of a Lasso", lambda table: max(table.values("random", "lasso nonzeros")), at_most=8),
            ],
        ),
        Claim(
            name="buying-of-few",
            statement="Buying of as few sources as there are features costs the L1 rule little, and the L2 rule much.",
            published="k-task selection (section 5)",
            comparison=_few,
            bars=[
                _means("risk of the L1 rule with 4 sources over that with all", "few l1", "l1", "risk", at_most=1.15),
                _means("risk of the L2 rule with 4 sources over that with all", "few l2", "l2", "risk", at_least=1.3),
            ],
            note="30 inputs, 4 features, 36 weak sources that all but repeat each other and 4 strong ones. Where two strong sources give the target alone both rules pick them, and picking helps the L2 rule.",
            scales=("full", "gpu"),
        ),
        Claim(
            name="prices",
            statement="Where samples have prices, relevances weighed by them make for cheaper plans of the same precision.",
            published="the L1 rule extends to costs of samples (section 3)",
            comparison=_plans,
            bars=lambda setting: [
                level("two prices", "ratio", at_most=0.8, unit="x", label="median cost over that of relevances without prices")
            ],
            note="Prices of 1 and 10 at random; exact for each draw.",
        ),
        Claim(
            name="opening-costs",
            statement="With costs of opening a source as well, sparse plans found step by step are as cheap as the best of all.",
            published="sparse selection is right for costs with a jump (section 3)",
            comparison=_plans,
            bars=lambda setting: [level("openings", "optimal", at_least=90, unit="%", label="plans as cheap as the best of all bases")],
            note="3 features and 12 sources, where all bases can be tried; reweighted linear programs from nine starts, then exchanges of one source.",
        ),
        Claim(
            name="corrupted-images",
            statement="On classes under corruptions, sampling by the L1 rule ends at a lower error of the target than the L2 rule or even sampling, on average over targets.",
            published="L1-A-MTRL is ahead of L2-A-MTRL and of passive sampling on MNIST-C (section 5)",
            comparison=_corrupted,
            bars=[
                ratio("lasso", "uniform", "error", at_most=0.95, label="error over that of even sampling"),
                ratio("lasso", "l2", "error", at_most=1.0, label="error over that of the L2 rule"),
            ],
            note="Six corruptions of 8,000 images, 64 components, 20 features, 20 targets with 100 images each, 5,000 source images a target, 2,000 of them to explore; by the Lasso with its default penalty. The linear program, which has none, follows the errors of the heads with so many features: in a pilot it did no better than even sampling.",
        ),
    ),
    snippet="""
import torch
from ordinate.analyze.relevance import relevance
from ordinate.analyze.sample_plan import allocate, required_budget

W = torch.randn(4, 40, dtype=torch.float64)             # heads of 40 source tasks on 4 shared features
w = W[:, :2].sum(dim=1)                                 # the target's head
nu = relevance(W, w)                                    # of smallest 1-norm: at most 4 sources
print(allocate(nu, 8_000, minimum=10))                  # samples to buy of each source
print(required_budget(nu, 0.01), required_budget(relevance(W, w, 2), 0.01, "l2"))
""",
    outside="The constants of the theorems, and the minimax lower bound as such: what is checked is the form of the bound and its consequences. The paper's own figures on MNIST-C are not at hand.",
)
