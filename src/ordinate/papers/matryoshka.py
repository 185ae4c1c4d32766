"""Matryoshka: embeddings every prefix of which is an embedding, and what that saves when they are used."""

from collections.abc import Sequence
from functools import partial

from ordinate.data.augment import Compose, HorizontalFlip, PadCrop
from ordinate.experiment.claim import Bar, Claim, gain, level
from ordinate.experiment.comparison import Comparison, Table
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm
from ordinate.models.convnet import ConvNet
from ordinate.models.mlp import MLP
from ordinate.tasks.nested_embeddings import NestedEmbeddings, fixed_feature, nested, plain, retrofitted
from ordinate.tasks.nested_search import NestedSearch

__all__ = ["PAPER"]

WIDTH = 64
SIZES = (4, 8, 16, 32, 64)
UNIFORM = (4, 19, 34, 49, 64)  # as many sizes from the same smallest to the same largest, evenly spaced
BETWEEN = (6, 12, 24, 48)
FIXED = (4, 8, 16)


def _digits(setting: Setting) -> Comparison:
    """One training run an arm serves six claims."""
    task = NestedEmbeddings(
        setting.pick(smoke="digits", full="mnist"),
        partial(MLP, hidden=(256,), num_features=WIDTH),
        SIZES,
        between=BETWEEN,
        steps=setting.pick(smoke=90, full=330),
        lr=3e-3,
        most_trained=setting.pick(smoke=None, full=7_000),
        most_tested=setting.pick(smoke=None, full=5_000),
    )
    arms = [
        Arm("nested", nested(SIZES)),
        Arm("nested-tied", nested(SIZES, tied=True), note="MRL-E"),
        Arm("boosted", nested(SIZES, weights="8boost"), role="ablation", note="the smallest size counts twice"),
        Arm("uniform", nested(UNIFORM), role="ablation", note="evenly spaced sizes"),
        Arm("plain", plain(("pca",)), role="baseline", note="trained at the full size alone, then cut, or rotated by PCA and cut"),
        *(Arm(f"fixed-{size}", fixed_feature(size), role="baseline", note=f"a model of its own for {size} dimensions") for size in FIXED),
        Arm("retrofit-head", retrofitted(SIZES, train="head"), role="ablation"),
        Arm("retrofit-last", retrofitted(SIZES, train="last"), role="ablation"),
        Arm("retrofit-all", retrofitted(SIZES, train="all"), role="ablation"),
    ]
    return Comparison("digits", task, arms, title="A perceptron on handwritten digits")


def _photographs(setting: Setting) -> Comparison:
    """The main claim once more, on photographs and with a convolutional network."""
    task = NestedEmbeddings(
        "cifar10",
        partial(ConvNet, num_features=WIDTH),
        SIZES,
        between=BETWEEN,
        steps=setting.pick(smoke=10, full=600, gpu=20_000),
        lr=3e-3,
        most_trained=setting.pick(smoke=500, full=10_000, gpu=50_000),
        most_tested=setting.pick(smoke=500, full=5_000, gpu=10_000),
        augment=Compose(PadCrop(4), HorizontalFlip()),
    )
    arms = [
        Arm("nested", nested(SIZES)),
        Arm("plain", plain(("pca",)), role="baseline"),
        *(Arm(f"fixed-{size}", fixed_feature(size), role="baseline") for size in FIXED),
    ]
    return Comparison("photographs", task, arms, seeds=3, title="A convolutional network on CIFAR-10")


def _search(setting: Setting) -> Comparison:
    task = NestedSearch(
        setting.pick(smoke="digits", full="mnist"),
        (16, 32, 64, 128, 256),
        steps=setting.pick(smoke=60, full=600),
        most_trained=setting.pick(smoke=None, full=50_000),
        most_tested=setting.pick(smoke=None, full=2_000),
    )
    return Comparison(
        "search",
        task,
        [task.arm(name) for name in ("full", "adaptive", "funnel", "full-16")],
        title="Search at 256 dimensions, and from 16 on",
    )


def _prefix_bars(setting: Setting) -> Sequence[Bar]:
    near = [gain("nested", f"fixed-{size}", f"knn@{size}", at_least=-2, unit="%") for size in FIXED]
    return [gain("nested", "plain", "knn@4", at_least=12 if setting.scale != "smoke" else 0, unit="%"), *near]


def _over_pca(table: Table) -> list[float]:
    return [a - b for a, b in zip(table.values("nested", "knn@4"), table.values("plain", "pca@4"), strict=True)]


def _between(size: int, low: int, high: int) -> Bar:
    def values(table: Table) -> list[float]:
        at, below, above = (table.values("nested", f"knn@{each}") for each in (size, low, high))
        return [a - min(b, c) for a, b, c in zip(at, below, above, strict=True)]

    return Bar(f"1-NN at {size} minus the lower of {low} and {high}", values, at_least=-1, unit="%")


def _cascade_bars(setting: Setting) -> Sequence[Bar]:
    def lost(table: Table) -> list[float]:
        return [a - b for a, b in zip(table.values("nested", "cascade"), table.values("nested", "cascade_full"), strict=True)]

    return [
        level("nested", "cascade_dim", at_most=WIDTH / 4, label="expected size of the cascade"),
        Bar("accuracy of the cascade minus that of the full size", lost, at_least=-0.5, unit="%"),
    ]


def _flops(arm: str, at_least: float) -> Bar:
    def values(table: Table) -> list[float]:
        return [table.value("full", "flops") / table.value(arm, "flops")]

    return Bar(f"multiply-adds of full search over {arm}'s", values, at_least=at_least, unit="x", method="exact")


def _adaptive_bars(setting: Setting) -> Sequence[Bar]:
    bars = [gain("adaptive", "full", "map@10", at_least=-0.2, unit="%")]
    if setting.scale == "smoke":
        return [*bars, _flops("adaptive", 1)]
    return [*bars, _flops("adaptive", 10), Bar("seconds of full search over adaptive's", _times, at_least=4, unit="x")]


def _times(table: Table) -> list[float]:
    return [a / b for a, b in zip(table.values("full", "seconds"), table.values("adaptive", "seconds"), strict=True)]


SCALED = "7,000 MNIST images, a perceptron of 256 hidden units, an embedding of 64, 330 steps"

PAPER = Paper(
    slug="matryoshka",
    title="Matryoshka Representation Learning",
    authors="Aditya Kusupati, Gantavya Bhatt, Aniket Rege, Matthew Wallingford, Aditya Sinha, Vivek Ramanujan, William Howard-Snyder, Kaifeng Chen, Sham Kakade, Prateek Jain, Ali Farhadi",
    year=2022,
    venue="NeurIPS 2022",
    arxiv="2205.13147",
    code="github.com/RAIVNLab/MRL",
    room="objectives",
    summary="One encoder is trained so that every prefix of its embedding, for a short list of sizes, is a good embedding by itself: one loss a prefix, summed. Inference is unchanged; a smaller embedding is a slice of the whole. "
    "That is what makes cheap policies possible from one stored database: a confidence cascade for classification, and shortlist-then-rerank for retrieval.",
    provides=(
        Part("nested loss around any base loss", "ordinate.objectives.matryoshka:MatryoshkaLoss"),
        Part("nested classification of any vision encoder", "ordinate.objectives.matryoshka:NestedClassification"),
        Part("nested heads, separate (MRL) and tied (MRL-E)", "ordinate.nn.nested_head:MatryoshkaHead"),
        Part("nesting lists", "ordinate.nn.nested_head:halving_dims"),
        Part("truncation", "ordinate.objectives.matryoshka:truncate"),
        Part("InfoNCE, on prefixes too", "ordinate.objectives.contrastive:InfoNCE"),
        Part("fixed-feature baseline (FF-m)", "ordinate.nn.nested_head:FixedFeatureHead"),
        Part("embeddings shortened after training", "ordinate.adapt.shorten:shortener"),
        Part("retro-fitting", "ordinate.adapt.retrofit:retrofit"),
        Part("confidence cascade", "ordinate.adapt.cascade:ConfidenceCascade"),
        Part("index with adaptive and funnel retrieval", "ordinate.retrieve.nested_index:NestedIndex"),
        Part("retrieval metrics", "ordinate.retrieve.metrics:retrieval_metrics"),
        Part("oracle routing", "ordinate.analyze.nesting:oracle_routing"),
        Part("accuracy by size", "ordinate.analyze.nesting:size_curve"),
        Part("BlurPool ResNet50 of the released checkpoints", "ordinate.models.blurpool_resnet:BlurPoolResNet"),
        Part("nested embeddings as a task", "ordinate.tasks.nested_embeddings:NestedEmbeddings"),
        Part("search among them as a task", "ordinate.tasks.nested_search:NestedSearch"),
    ),
    claims=(
        Claim(
            "prefix-matches-a-model-of-its-own",
            "A prefix of a nested embedding is as good as a model trained for that size alone, and far better than a prefix of a plain embedding.",
            "1-NN at 8 of 2048: nested 62.19 %, a model of its own 58.93 %, a prefix of a plain model 2.36 % (ImageNet-1K, ResNet50; the ablation tables)",
            _digits,
            _prefix_bars,
            note=f"{SCALED}. The smallest size is 4 for 10 classes.",
        ),
        Claim(
            "prefix-on-photographs",
            "On photographs too a prefix of a nested embedding is as good as a model trained for that size alone, and far better than a prefix of a plain embedding.",
            "ImageNet-1K linear probe at 8: 66.63 % against 65.29 %; at 128: 76.30 against 75.29 (Table 1)",
            _photographs,
            _prefix_bars,
            note="10,000 images of CIFAR-10 for 600 steps. The last layer is linear and spreads what it knows evenly over the dimensions, and at so low an accuracy little is lost with most of them: a prefix of the plain embedding is not as poor as in the paper.",
            scales=("full", "gpu"),
        ),
        Claim(
            "prefix-beats-pca",
            "A nested prefix is better than as many principal components of a plain embedding.",
            "linear probe at 8 dimensions: 66.63 % against 2.34 % by SVD (Table 1)",
            _digits,
            lambda setting: [
                Bar("1-NN at 4, nested minus PCA of plain", _over_pca, at_least=4 if setting.scale != "smoke" else 0, unit="%")
            ],
            note=SCALED,
        ),
        Claim(
            "tied-heads-suffice-above-the-smallest",
            "One tied classifier (MRL-E) serves nearly as well as one classifier a size, except at the smallest sizes.",
            "at 16: 71.94 % against 73.53 %; at 128: 75.80 against 76.30 (Table 1)",
            _digits,
            [gain("nested-tied", "nested", f"head@{size}", at_least=-1.6, unit="%") for size in (16, 32, 64)],
            note=SCALED,
        ),
        Claim(
            "untrained-sizes-interpolate",
            "Sizes between the trained ones are as good as their neighbours.",
            "ALIGN at 128: 66.63 %, between 65.72 at 96 and 67.00 at 192 (appendix)",
            _digits,
            [_between(6, 4, 8), _between(12, 8, 16), _between(24, 16, 32), _between(48, 32, 64)],
        ),
        Claim(
            "cascade",
            "A confidence cascade over the sizes keeps the accuracy of the full size at a fraction of the expected size.",
            "76.30 % at an expected size of 37 instead of 512: 14x smaller (section 4.2)",
            _digits,
            _cascade_bars,
            note=f"{SCALED}. Thresholds are fitted on a fifth of the held-out images and scored on the rest; where the accuracy at the smallest size is near the full one, a thousand images fix a threshold only loosely.",
        ),
        Claim(
            "adaptive-retrieval",
            "A shortlist by 16 dimensions, sorted again at the full size, finds what full search finds at a small part of the cost.",
            "mAP@10 65.27 % against 65.20 % on ImageNet-1K at 128x fewer FLOPs and 14x less time (section 4.3)",
            _search,
            _adaptive_bars,
            note="50,000 MNIST images at 256 dimensions, where the shortlist alone costs a sixteenth.",
        ),
        Claim(
            "funnel-retrieval",
            "A funnel of reranks, doubling the size and halving the list, loses no accuracy to full search.",
            "within 0.1 % top-1 of full search (section 4.3.1)",
            _search,
            lambda setting: [
                gain("funnel", "full", "top1", at_least=-0.1, unit="%"),
                _flops("funnel", 1 if setting.scale == "smoke" else 10),
            ],
        ),
        Claim(
            "boosting-the-smallest",
            "Doubling the weight of the smallest size improves it and costs the others next to nothing.",
            "at 8: 66.63 % to 69.53 %; at most 0.1 lost at 512 and above (appendix, on the weights of the loss)",
            _digits,
            [
                gain("boosted", "nested", "head@4", at_least=0.5, unit="%"),
                *(gain("boosted", "nested", f"head@{size}", at_least=-0.5, unit="%") for size in (16, 32, 64)),
            ],
            note=f"{SCALED}. The gain at the smallest size is about as large as its spread over the seeds.",
        ),
        Claim(
            "logarithmic-spacing",
            "Evenly spaced sizes are worse at the small end than sizes that double.",
            "1-NN at 8: 62.19 % to 58.44 %; at 16: 67.91 to 61.11 (appendix, on the spacing of sizes)",
            _digits,
            [gain("uniform", "nested", f"knn@{size}", at_most=0, unit="%") for size in (4, 8)],
            note=f"{SCALED}. The distance between the two spacings is one octave here and five in the paper.",
        ),
        Claim(
            "retro-fitting",
            "A plain encoder can be made nested afterwards only if more than its head is trained: the head alone fails at small sizes, the last layers help, all of it is best.",
            "at 8: head alone 5.15 %, last block 60.02 %, end to end 66.63 % (appendix, on fine-tuning)",
            _digits,
            lambda setting: [
                gain("retrofit-last", "retrofit-head", "head@4", at_least=10 if setting.scale != "smoke" else 0, unit="%"),
                gain("retrofit-all", "retrofit-last", "head@4", at_least=1 if setting.scale != "smoke" else -5, unit="%"),
            ],
            note=SCALED,
        ),
        Claim(
            "oracle-routing",
            "Different inputs need different sizes: an oracle that picks the right one for each would classify better than the full size.",
            "81.5 % against 76.9 %: 4.6 more (appendix)",
            _digits,
            [level("nested", "oracle_gain", at_least=1, unit="%")],
            note=SCALED,
        ),
    ),
    snippet="""
import torch
from ordinate.nn.nested_head import halving_dims
from ordinate.objectives.matryoshka import MatryoshkaLoss, truncate
from ordinate.retrieve.nested_index import NestedIndex

z, target = torch.randn(32, 64), torch.randn(32, 64)
loss = MatryoshkaLoss(torch.nn.functional.mse_loss, dims=halving_dims(64))   # any base loss; the target is cut with the embedding
total, by_size = loss(z, target)

index = NestedIndex(torch.randn(1000, 64), dims=[8, 16, 32, 64])
distances, ids = index.adaptive(z, k=10, shortlist=100, d_short=8)           # a shortlist by 8 dimensions, sorted again by 64
short = truncate(z, 16)                                                      # and normalised anew
""",
    outside="ImageNet-1K and ImageNet-4K, JFT, ALIGN and BERT are out of reach of these scales. Long-tail few-shot learning (FLUID) and robustness (ImageNet-A) need datasets that are not at hand.",
)
