"""aTLAS: task vectors composed with one learned coefficient a parameter block."""

from collections.abc import Sequence

from ordinate.experiment.claim import Bar, Claim, gain, level, ratio
from ordinate.experiment.comparison import Comparison
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.tasks.unlabelled_domains import UnlabelledDomains
from ordinate.tasks.vector_arithmetic import VectorAddition, VectorNegation
from ordinate.tasks.vector_transfer import FewShotTransfer, TunableSize, VectorBudget

__all__ = ["PAPER"]

WORLD = "A layer-normalised MLP (784-256-128-64) under a frozen random head, MNIST turned and inverted: six domains in the bank, where the paper has CLIP ViT-B/32 and 8 to 22 data sets"
TUNED = "every arm's learning rate is the best of its own short list by check accuracy"


def _addition(setting: Setting) -> Comparison:
    """All domains in one encoder."""
    task = VectorAddition(epochs=setting.pick(smoke=5, full=10, gpu=20))
    names = setting.pick(
        smoke=("search", "scalar", "block"),
        full=("search", "scalar", "block", "weights", "penalised", "block-35", "bases", "everything", "everything-35"),
    )
    return Comparison("addition", task, [task.arm(name) for name in names], seeds=setting.pick(smoke=1, full=None))


def _linear_addition(setting: Setting) -> Comparison:
    """The same with vectors of linearised fine-tuning."""
    task = VectorAddition(epochs=setting.pick(smoke=2, full=6))
    return Comparison("linear-addition", task, [task.arm(name) for name in ("linear-search", "linear-block")])


def _negation(setting: Setting) -> Comparison:
    """One domain forgotten, the rest kept."""
    task = VectorNegation(epochs=setting.pick(smoke=8, full=6, gpu=10))
    names = setting.pick(smoke=("pre-trained", "search", "block"), full=("pre-trained", "search", "scalar", "block"))
    return Comparison("negation", task, [task.arm(name) for name in names], seeds=setting.pick(smoke=1, full=None))


def _transfer(setting: Setting) -> Comparison:
    """Held-out domains from a few labelled images."""
    task = FewShotTransfer(shots=setting.pick(smoke=(1,), full=(1, 4, 16)), epochs=setting.pick(smoke=3, full=10))
    names = setting.pick(
        smoke=("zero-shot", "block", "everything"),
        full=(
            "zero-shot",
            "scalar",
            "block",
            "bases",
            "everything",
            "tip-adapter",
            "lp++",
            "block+tip",
            "block+lp++",
            "low-rank vectors",
        ),
    )
    return Comparison("transfer", task, [task.arm(name) for name in names], seeds=setting.pick(smoke=1, full=None))


def _budget(setting: Setting) -> Comparison:
    """A few of the bank's vectors."""
    task = VectorBudget(budgets=setting.pick(smoke=(1,), full=(1, 2), gpu=(1, 2, 4)), epochs=setting.pick(smoke=2, full=10))
    return Comparison("budget", task, [task.arm(name) for name in ("random", "features", "gradient", "block gradient")])


def _without_labels(setting: Setting) -> Comparison:
    """Held-out domains from unlabelled images."""
    task = UnlabelledDomains(epochs=setting.pick(smoke=3, full=5))
    names = setting.pick(
        smoke=("zero-shot", "block ufm", "norms ufm"),
        full=("zero-shot", "block ufm", "norms ufm", "block entropy", "norms entropy", "block simclr", "norms simclr"),
    )
    return Comparison("without-labels", task, [task.arm(name) for name in names], seeds=setting.pick(smoke=1, full=None))


def _sizes(setting: Setting) -> Comparison:
    """Fine-tuning of a tunable size."""
    task = TunableSize(shares=setting.pick(smoke=(0.05, 1.0), full=(0.01, 0.05, 1.0), gpu=(0.01, 0.05, 0.25, 1.0)))
    return Comparison("sizes", task, [task.arm(name) for name in ("x1", "x5", "x20", "x80", "low-rank-4")])


def _crossing_bars(setting: Setting) -> Sequence[Bar]:
    if setting.scale == "smoke":
        return [gain("block", "everything", "covered@1", at_least=5, unit="%")]
    return [
        gain("block", "everything", "covered@1", at_least=15, unit="%"),
        gain("block", "everything", "covered@4", at_least=8, unit="%"),
        gain("everything", "block", "covered@16", at_least=-5, unit="%"),
    ]


PAPER = Paper(
    slug="atlas",
    title="Knowledge Composition using Task Vectors with Learned Anisotropic Scaling (aTLAS)",
    authors="Frederic Z. Zhang, Paul Albert, Cristian Rodriguez-Opazo, Anton van den Hengel, Ehsan Abbasnejad",
    year=2024,
    venue="NeurIPS 2024",
    arxiv="2407.02880",
    code="github.com/fredzzhang/atlas",
    room="adapt",
    summary=(
        "A task vector is what fine-tuning changed in a model's weights. Task vectors are composed with one learned coefficient for each parameter block and vector, so that a few hundred numbers steer a whole model: to add and negate tasks, "
        "to learn a new one from a few examples or without labels out of a bank of fine-tuned models, and as parameter-efficient fine-tuning of a tunable size. The sum is folded into the weights: inference costs nothing more."
    ),
    provides=(
        Part("task vectors and their arithmetic", "ordinate.adapt.task_vector:TaskVector"),
        Part("a bank of task vectors", "ordinate.adapt.task_vector:TaskBank"),
        Part("composition, by vector, block or partition; folded at the end", "ordinate.adapt.composed_model:ComposedModel"),
        Part("linearised models", "ordinate.adapt.linearised:LinearisedModel"),
        Part("low-rank task vectors, composed lazily", "ordinate.adapt.lora_vectors:LowRankComposedModel"),
        Part("task negation", "ordinate.adapt.negation:learn_negation"),
        Part("task addition", "ordinate.adapt.addition:learn_addition"),
        Part("one coefficient by search", "ordinate.adapt.alpha_search:search_alpha"),
        Part("few-shot adaptation", "ordinate.adapt.few_shot:learn_few_shot"),
        Part("Tip-Adapter-F, trained with the coefficients", "ordinate.adapt.tip_adapter:learn_tip_adapter"),
        Part("LP++", "ordinate.adapt.lp_plus_plus:LPPlusPlus"),
        Part("adaptation without labels", "ordinate.adapt.test_time:learn_unsupervised"),
        Part("unsupervised FixMatch", "ordinate.objectives.ufm:UFM"),
        Part("sharpness-aware entropy", "ordinate.objectives.sharp_entropy:SharpEntropy"),
        Part("choice of vectors under a budget", "ordinate.adapt.vector_choice:choose_blocks_by_gradient"),
        Part("gradients in all coefficients by one backward pass", "ordinate.adapt.vector_choice:coefficient_gradients"),
        Part("disentanglement error", "ordinate.adapt.disentanglement:disentanglement_matrix"),
        Part("random bases", "ordinate.adapt.random_bases:random_bases"),
        Part("coefficients without gradients", "ordinate.adapt.evolution:evolve"),
        Part("CLIP's image encoder, and the official checkpoints' weights", "ordinate.models.clip_vision:CLIPVision"),
        Part("pickled modules as plain weights", "ordinate.adapt.pickled_checkpoint:convert_pickle"),
    ),
    claims=(
        Claim(
            name="addition",
            statement="Coefficients learned by block add tasks better than one searched coefficient, and better than one learned a vector.",
            published="ViT-B/32, 8 data sets, absolute accuracy: search 70.12 %, learned isotropic 70.53 %, aTLAS 84.98 % (Table 2)",
            comparison=_addition,
            bars=lambda setting: [
                gain("block", "search", "accuracy", at_least=setting.pick(smoke=0, full=6), unit="%"),
                gain("block", "scalar", "accuracy", at_least=setting.pick(smoke=-5, full=4), unit="%"),
            ],
            note=f"{WORLD}.",
        ),
        Claim(
            name="disentanglement",
            statement="Vectors as they are scaled by block disturb each other less than under one searched coefficient.",
            published="mean disentanglement error 6.67 % with search, 4.28 % with aTLAS (section 4.2)",
            comparison=_addition,
            bars=[gain("search", "block", "disentanglement error", at_least=0, unit="%")],
            note=(
                f"{WORLD}. The domains share their classes and conflict far more than data sets of their own classes do, and a searched coefficient is so small that its model hardly leaves the start, where nothing is disturbed."
            ),
            scales=("full", "gpu"),
        ),
        Claim(
            name="weights-only",
            statement="Composing the weight matrices alone loses little.",
            published="addition 84.17 % with matrices alone, 84.98 % with all blocks (Table 8)",
            comparison=_addition,
            bars=[gain("weights", "block", "accuracy", at_least=-3, unit="%")],
            note=f"{WORLD}.",
            scales=("full", "gpu"),
        ),
        Claim(
            name="weights-dominate",
            statement="Learned coefficients of weight matrices are larger than those of biases and gains, and larger in deeper layers.",
            published="shown for ViT-B/32 (Figure 4); no number is given, the bars are ours",
            comparison=_addition,
            bars=[
                level(
                    "block",
                    "weights over vectors",
                    at_least=2,
                    unit="x",
                    label="mean |coefficient| of matrices over that of biases and gains",
                ),
                level("block", "last over first", at_least=1, unit="x", label="mean |coefficient| of the last matrix over the first's"),
            ],
            note=f"{WORLD}; three layers are a short depth.",
            scales=("full", "gpu"),
        ),
        Claim(
            name="sparse-penalty",
            statement="An L1 penalty on the coefficients costs little accuracy.",
            published="addition 84.23 % with the penalty, 84.98 % without (Table 9)",
            comparison=_addition,
            bars=[gain("penalised", "block", "accuracy", at_least=-3, unit="%")],
            note=f"{WORLD}.",
            scales=("full", "gpu"),
        ),
        Claim(
            name="fewer-images",
            statement="Learned from 35 % of the images, coefficients lose little, where fine-tuning all weights loses more.",
            published="accuracy holds down to about 35 % of the validation data while that of full fine-tuning falls (Figure 3)",
            comparison=_addition,
            bars=[
                gain("block-35", "block", "accuracy", at_least=-2, unit="%"),
                Bar(
                    "accuracy lost by fine-tuning everything minus lost by block",
                    lambda table: [
                        (full - few) - (most - part)
                        for full, few, most, part in zip(
                            *(table.values(arm, "accuracy") for arm in ("everything", "everything-35", "block", "block-35")), strict=True
                        )
                    ],
                    at_least=0,
                    unit="%",
                ),
            ],
            note=f"{WORLD}; 2,000 images a domain, and as many steps from 35 % of them.",
            scales=("full", "gpu"),
        ),
        Claim(
            name="linear-addition",
            statement="Vectors of linearised fine-tuning, too, are added better by block than by one searched coefficient.",
            published="linear vectors: search 74.67 %, aTLAS 83.42 % (Table 2)",
            comparison=_linear_addition,
            bars=[gain("linear-block", "linear-search", "accuracy", at_least=3, unit="%")],
            note=f"{WORLD}; six epochs.",
            scales=("full", "gpu"),
        ),
        Claim(
            name="negation",
            statement="Coefficients learned by block make a model forget more of a task than one searched coefficient, while 95 % of its control accuracy is kept.",
            published="ViT-B/32, target / control: pre-trained 48.14 / 63.35 %, search 23.22 / 60.71 %, aTLAS 18.76 / 61.21 % (Table 1)",
            comparison=_negation,
            bars=lambda setting: [
                gain("search", "block", "target", at_least=setting.pick(smoke=-5, full=3), unit="%"),
                level("block", "kept", at_least=setting.pick(smoke=80, full=94), unit="%"),
            ],
            note=f"{WORLD}; the control is the other three upright domains. The 95 % are held on the check images, and scored on test images.",
        ),
        Claim(
            name="few-shot",
            statement="From one and four images of each class, coefficients by block learn a domain that the bank covers better than fine-tuning all weights, which catches up with sixteen.",
            published="22 data sets, 1 / 4 / 16 shots: aTLAS 66.2 / 70.0 / 72.9 % from zero-shot 60.4 % (Figure 5); the crossing is of our own reading",
            comparison=_transfer,
            bars=_crossing_bars,
            note=f"{WORLD}; {TUNED}.",
        ),
        Claim(
            name="few-shot-over-adapters",
            statement="From one image of each class, composing is ahead of adapters on frozen features.",
            published="1 shot: aTLAS 66.2 %, Tip-Adapter 64.3 %, LP++ 64.5 % (Figure 5)",
            comparison=_transfer,
            bars=[
                gain("block", "tip-adapter", "covered@1", at_least=1, unit="%"),
                gain("block", "lp++", "covered@1", at_least=1, unit="%"),
            ],
            note=f"{WORLD}; {TUNED}.",
            scales=("full", "gpu"),
        ),
        Claim(
            name="adapters-on-top",
            statement="An adapter on top of the composition adds to it at sixteen shots.",
            published="16 shots: aTLAS 72.9 %, with Tip-Adapter 78.0 %, with LP++ 77.8 % (Figure 5)",
            comparison=_transfer,
            bars=[
                gain("block+tip", "block", "covered@16", at_least=1, unit="%"),
                gain("block+lp++", "block", "covered@16", at_least=1, unit="%"),
            ],
            note=f"{WORLD}; {TUNED}.",
            scales=("full", "gpu"),
        ),
        Claim(
            name="random-bases",
            statement="Task vectors are better bases than as many random directions.",
            published="ahead at every number of bases tried, 2 to 14 (appendix E); the bar is ours",
            comparison=_transfer,
            bars=[gain("block", "bases", f"covered@{shots}", at_least=5, unit="%") for shots in (1, 4, 16)],
            note=f"{WORLD}; {TUNED}.",
            scales=("full", "gpu"),
        ),
        Claim(
            name="low-rank-vectors",
            statement="Low-rank vectors of attention and MLP matrices keep a fraction of the numbers and lose little accuracy.",
            published="3.3 to 4.1 GB of memory in place of 10.7 GB, about 1 point of accuracy (Table 5)",
            comparison=_transfer,
            bars=[
                gain("low-rank vectors", "block", "covered@16", at_least=-3, unit="%"),
                ratio("low-rank vectors", "block", "numbers kept", at_most=0.38, label="numbers kept of the vectors, over the dense ones"),
            ],
            note=f"{WORLD}; rank 4. {TUNED}.",
            scales=("full", "gpu"),
        ),
        Claim(
            name="budget",
            statement="Where one vector may be composed, one put together block by block from the largest gradients is better than a random one.",
            published="16 shots, one vector: random 64.7 %, features 66.2 %, gradient of whole vectors 65.2 %, by block 68.3 % (Figure 6)",
            comparison=_budget,
            bars=[gain("block gradient", "random", "accuracy@1", at_least=2, unit="%")],
            note=f"{WORLD}, three of them held out.",
            scales=("full", "gpu"),
        ),
        Claim(
            name="without-labels",
            statement="Coefficients learned without labels by UFM adapt a model to a domain better than the gains and biases of its normalisation layers do, and better than nothing.",
            published="22 data sets: zero-shot 60.4 %, layer norms 62.2 %, aTLAS 66.9 % (Table 4)",
            comparison=_without_labels,
            bars=lambda setting: [
                gain("block ufm", "norms ufm", "accuracy", at_least=setting.pick(smoke=-5, full=1), unit="%"),
                gain("block ufm", "zero-shot", "accuracy", at_least=setting.pick(smoke=-2, full=3), unit="%"),
            ],
            note=f"{WORLD}; two held-out domains, at 0.3 to 0.5 without adaptation. One rate a kind of parameter, and the last state is scored: there are no labels to choose by.",
        ),
        Claim(
            name="objectives-without-labels",
            statement="UFM adapts coefficients better than the entropy of SAR and the contrast of SimCLR do.",
            published="22 data sets: aTLAS with SimCLR 62.7 %, SAR 62.9 %, UFM 66.9 % (Table 4)",
            comparison=_without_labels,
            bars=[gain("block ufm", f"block {other}", "accuracy", at_least=1, unit="%") for other in ("entropy", "simclr")],
            note=f"{WORLD}.",
            scales=("full", "gpu"),
        ),
        Claim(
            name="tunable-size",
            statement="More partitions a block never cost accuracy where all images are used, and with few images five or twenty of them are ahead of LoRA.",
            published="at 1 / 100 % of the data: aTLAS 68.5 / 76.4 %, x5 69.3 / 78.8, x20 69.5 / 80.5, x80 70.2 / 82.0, LoRA of rank 16 68.8 / 83.6 (Table 6)",
            comparison=_sizes,
            bars=[
                *(
                    gain(more, less, "accuracy@100%", at_least=-0.5, unit="%")
                    for less, more in (("x1", "x5"), ("x5", "x20"), ("x20", "x80"))
                ),
                gain("x5", "low-rank-4", "accuracy@1%", at_least=0, unit="%"),
                gain("x20", "low-rank-4", "accuracy@1%", at_least=0, unit="%"),
            ],
            note=f"{WORLD}; one held-out domain, LoRA of rank 4, which has about as many parameters as x80. {TUNED}.",
            scales=("full", "gpu"),
        ),
    ),
    snippet="""
import torch
from torch import nn
from ordinate.adapt.composed_model import ComposedModel
from ordinate.adapt.task_vector import TaskBank, TaskVector

base, tuned = nn.Linear(4, 2), nn.Linear(4, 2)            # a pre-trained model, and one fine-tuned from it
vector = TaskVector.from_checkpoints(base.state_dict(), tuned.state_dict())
composed = ComposedModel(base, TaskBank({"task": vector}))  # one coefficient a vector and block, all zero
composed(torch.randn(3, 4)).square().sum().backward()     # train composed.coef, and nothing else
print(composed.coef.grad.shape, composed.fold())          # an ordinary model with the sum in its weights
""",
    outside=(
        "CLIP models with the released bank of 22 data sets, their domain shifts of ImageNet, and which images no other method gets right: they need the data sets and a GPU. "
        "The released checkpoints can be read: see the guide."
    ),
)
