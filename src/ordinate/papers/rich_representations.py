"""Rich representations: several trainings of one network, side by side, for tasks and distributions that shift."""

import statistics
from collections.abc import Sequence
from functools import partial

from scipy import stats

from ordinate.experiment.claim import Bar, Claim, gain
from ordinate.experiment.comparison import Comparison, Table
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.tasks.class_finetuning import ClassFinetuning
from ordinate.tasks.class_transfer import ClassTransfer, Pretraining
from ordinate.tasks.tinted_digits import Shift, TintedDigits

__all__ = ["PAPER"]


def _digits(setting: Setting) -> Comparison:
    """Deep, narrow perceptrons on half of the digits; six claims share the runs."""
    plan = Pretraining(
        setting.pick(smoke="digits", full="mnist"),
        "perceptron",
        setting.pick(smoke=16, full=32),
        steps=setting.pick(smoke=120, full=470),
        lr=setting.pick(smoke=3e-3, full=1e-3),
        images=setting.pick(smoke=600, full=4000, gpu=25_000),
        labels=setting.pick(smoke=100, full=500),
        tested=setting.pick(smoke=300, full=2000, gpu=4500),
        together=setting.pick(smoke=4, full=5),
        device=setting.device,
    )
    task = ClassTransfer(plan, 4, episodes=setting.pick(smoke=20, full=200), redundant=setting.pick(smoke=0, full=4))
    names = setting.pick(
        smoke=("one", "cat-4", "wide-4"),
        full=(
            "one",
            "cat-2",
            "cat-4",
            "cat-5",
            "snapshots-5",
            "distill-5",
            "distill-wide-5",
            "wide-4",
            "joint-4",
            "ensemble-4",
            "sliced-wide-4",
        ),
    )
    return Comparison("digits", task, [task.arm(name) for name in names], title="Four-layer perceptrons: from digits 0-4 to 5-9")


def _photographs(setting: Setting) -> Comparison:
    """The main claim once more, on photographs and with convolutional networks."""
    plan = Pretraining(
        "cifar10",
        setting.pick(smoke="convnet", full="convnet", gpu="resnet"),
        setting.pick(smoke=4, full=8, gpu=64),
        steps=setting.pick(smoke=10, full=600, gpu=10_000),
        images=setting.pick(smoke=200, full=8000, gpu=25_000),
        together=4,
        device=setting.device,
    )
    task = ClassTransfer(plan, 4)
    names = ("one", "cat-2", "cat-4", "wide-4", "ensemble-4")
    return Comparison(
        "photographs",
        task,
        [task.arm(name) for name in names],
        seeds=3,
        title="Convolutional networks: from five classes of CIFAR-10 to the others",
    )


def _contrastive(setting: Setting) -> Comparison:
    """Members trained without labels."""
    plan = Pretraining(
        "cifar10",
        setting.pick(smoke="convnet", full="convnet", gpu="resnet"),
        setting.pick(smoke=4, full=8, gpu=64),
        steps=setting.pick(smoke=10, full=200, gpu=20_000),
        objective="contrastive",
        images=setting.pick(smoke=200, full=4000, gpu=25_000),
        together=3,
        device=setting.device,
    )
    task = ClassTransfer(plan, 3)
    names = ("one", "cat-3", "wide-3")
    return Comparison(
        "contrastive", task, [task.arm(name) for name in names], seeds=3, title="Members trained by contrast on five classes of CIFAR-10"
    )


def _finetuned(setting: Setting) -> Comparison:
    """Weights that may move."""
    plan = Pretraining(
        setting.pick(smoke="digits", full="mnist"),
        "perceptron",
        setting.pick(smoke=16, full=32),
        steps=setting.pick(smoke=120, full=470),
        lr=setting.pick(smoke=3e-3, full=1e-3),
        images=setting.pick(smoke=600, full=4000, gpu=25_000),
        labels=setting.pick(smoke=100, full=1000),
        tested=setting.pick(smoke=300, full=2000, gpu=4500),
        together=4,
        device=setting.device,
    )
    task = ClassFinetuning(
        plan, 4, steps=setting.pick(smoke=80, full=300, gpu=2000), rates=setting.pick(smoke=(1e-2,), full=(1e-3, 3e-3, 1e-2))
    )
    names = setting.pick(smoke=("two-stage", "init-cat"), full=("one", "two-stage", "init-cat", "wide", "joint"))
    return Comparison("fine-tuning", task, [task.arm(name) for name in names], title="Fine-tuned on 1,000 labels of digits 5-9")


def _shifted(setting: Setting) -> Comparison:
    """Heads on frozen members where the grounds mislead."""
    shift = Shift(
        setting.pick(smoke="digits", full="mnist"),
        images=setting.pick(smoke=500, full=2000, gpu=20_000),
        tested=setting.pick(smoke=300, full=2000, gpu=5000),
        width=setting.pick(smoke=16, full=24),
        steps=setting.pick(smoke=100, full=200, gpu=1000),
        device=setting.device,
    )
    n = setting.pick(smoke=2, full=10)
    task = TintedDigits(shift, n, pool=setting.pick(smoke=2, full=30))
    names = setting.pick(smoke=("one", "cat-2"), full=("one", "cat-2", "cat-5", "cat-10"))
    return Comparison("shifted-grounds", task, [task.arm(name) for name in names], title="Digits on grounds that mislead")


def _near(setting: Setting) -> Sequence[Bar]:
    margin = setting.pick(smoke=4.0, full=1.0)
    return [gain("cat-4", "wide-4", "source", at_least=-margin, at_most=margin, unit="%")]


def _far(setting: Setting) -> Sequence[Bar]:
    if setting.scale == "smoke":
        return [gain("cat-4", "one", "target", at_least=0, unit="%")]
    return [
        gain("cat-4", "one", "target", at_least=8, unit="%"),
        gain("cat-4", "wide-4", "target", at_least=3, unit="%"),
        gain("cat-4", "cat-2", "target", at_least=0, unit="%"),
    ]


def _photograph_bars(setting: Setting) -> Sequence[Bar]:
    return [gain("cat-4", "one", "target", at_least=2, unit="%"), gain("cat-4", "wide-4", "target", at_least=0, unit="%")]


def _contrastive_bars(setting: Setting) -> Sequence[Bar]:
    return [gain("cat-3", "one", "target", at_least=2, unit="%"), gain("cat-3", "wide-3", "target", at_least=0, unit="%")]


def _more(table: Table) -> list[float]:
    """What the concatenation gains on the target beyond what it gains on the source."""
    found = [
        [a - b for a, b in zip(table.values("cat-4", where), table.values("one", where), strict=True)] for where in ("target", "source")
    ]
    return [a - b for a, b in zip(*found, strict=True)]


def _left_out(task: str) -> Bar:
    """What a member adds to the other three: the mean over the members."""

    def values(table: Table) -> list[float]:
        return [100 * statistics.mean(row.notes["redundancy"][task]["gains"]) for row in table.of("cat-4")]

    return Bar(
        f"accuracy on the {task} that a member adds to three others",
        values,
        at_least=0.5 if task == "target" else None,
        at_most=0.5 if task == "source" else None,
        unit="%",
    )


def _shots(arm: str, setting: Setting) -> Sequence[Bar]:
    bound = setting.pick(smoke=0, full=2)
    return [gain(arm, "one", f"{shots}-shot", at_least=bound, unit="%") for shots in setting.pick(smoke=(5,), full=(1, 5))]


def _two_stage_bars(setting: Setting) -> Sequence[Bar]:
    if setting.scale == "smoke":
        return [gain("two-stage", "init-cat", "target", at_least=-5, unit="%")]
    return [gain("two-stage", "init-cat", "target", at_least=0.5, unit="%"), gain("two-stage", "wide", "target", at_least=0, unit="%")]


def _shift_bars(setting: Setting) -> Sequence[Bar]:
    largest = setting.pick(smoke="cat-2", full="cat-10")
    return [gain(largest, "one", f"{risk} {protocol}", at_least=2, unit="%") for risk in ("vrex", "erm") for protocol in ("iid", "ood")]


def _spread(table: Table, metric: str) -> tuple[float, float, float]:
    """The standard deviation over all runs of ten networks side by side, over that of one network, with the interval of the F distribution."""
    several, single = ([value for row in table.of(arm) for value in row.notes["each"][metric]] for arm in ("cat-10", "one"))
    ratio = statistics.variance(several) / statistics.variance(single)
    low, high = (ratio / float(stats.f.ppf(part, len(several) - 1, len(single) - 1)) for part in (0.975, 0.025))
    return ratio**0.5, low**0.5, high**0.5


def _spread_bars(setting: Setting) -> Sequence[Bar]:
    return [
        Bar(f"deviation of {metric}, cat-10 over one network", partial(_spread, metric=metric), at_most=0.5, unit="x", method="given")
        for metric in ("vrex iid", "erm iid")
    ]


DEEP = "Members are perceptrons of four layers of 32 units and an embedding of 16, trained on 4,000 images of MNIST digits 0-4; the wide network has as many parameters as four of them; probes see 500 labels of digits 5-9"
RATE = "all networks are trained by AdamW at one rate, which is the best for both the members and the wide network on the target among 0.001, 0.003 and 0.01"

PAPER = Paper(
    slug="rich-representations",
    title="Learning useful representations for shifting tasks and distributions",
    authors="Jianyu Zhang, Léon Bottou",
    year=2023,
    venue="ICML 2023",
    arxiv="2212.07346",
    code="github.com/TjuJianyu/RRL",
    room="adapt",
    summary=(
        "Training keeps the features that its own task needs, and no more. Networks trained alike but for their seed keep different ones: side by side they serve the training task hardly better than one, and other tasks and "
        "distributions much better, also than one network of their total size. Such a rich representation is probed, fine-tuned in two stages, distilled into one network, or put under heads for few shots or shifted distributions."
    ),
    provides=(
        Part("networks side by side (CAT-n)", "ordinate.models.concatenated:Concat"),
        Part("merged heads (cat_weights)", "ordinate.adapt.concat:merge_heads"),
        Part("members trained by seeds, in processes or as one batch", "ordinate.adapt.members:train_members_at_once"),
        Part("snapshots of one training (CAT-S)", "ordinate.adapt.members:train_snapshots"),
        Part("two-stage fine-tuning", "ordinate.adapt.two_stage:two_stage_finetune"),
        Part("distillation with one head a teacher (DISTILL-n)", "ordinate.adapt.distil:Distillation"),
        Part("all of that around one factory", "ordinate.adapt.rich:RichRepresentation"),
        Part("features computed once", "ordinate.analyze.feature_cache:cached_features"),
        Part("linear probes over a grid of penalties", "ordinate.analyze.linear_probe:LinearProbe"),
        Part("probes of slices that vote", "ordinate.analyze.sliced_probe:SlicedProbe"),
        Part("the probe's head with batch normalisation", "ordinate.nn.probe_head:ProbeHead"),
        Part("cosine head (BASELINE++)", "ordinate.nn.cosine_head:CosineHead"),
        Part("few-shot episodes", "ordinate.analyze.few_shot:episode_accuracy"),
        Part("risks over environments: V-REx, IRMv1, CLOvE", "ordinate.objectives.vrex:VREx"),
        Part("heads over environments, tuned inside or outside", "ordinate.analyze.environment_probe:tune"),
        Part("report of redundancy", "ordinate.analyze.redundancy:redundancy_report"),
        Part("the released networks", "ordinate.models.swav_resnet:SwavResNet"),
        Part("class transfer as a task, with baselines of equal size", "ordinate.tasks.class_transfer:ClassTransfer"),
        Part("fine-tuning on other classes as a task", "ordinate.tasks.class_finetuning:ClassFinetuning"),
        Part("misleading grounds as a task", "ordinate.tasks.tinted_digits:TintedDigits"),
        Part("probes of runs of one's own", "ordinate.tasks.run_probe:probe_runs"),
    ),
    claims=(
        Claim(
            "same-on-the-source",
            "On the task that they were trained for, networks side by side are as good as one network of their size, and no better.",
            "ImageNet top-1: CAT10 about 78.4 %, ResNet50 widened by 4 about 78.5 %, one ResNet50 75.6 % (supervised transfer, figure)",
            _digits,
            _near,
            note=f"{DEEP}.",
        ),
        Claim(
            "better-on-new-classes",
            "On classes that they were not trained on, networks side by side are far better than one of them, better than one network of their size, and the better the more they are.",
            "linear probe on iNaturalist 2018: CAT10 about 49.7 %, one ResNet50 37.9, widened by 2 and 4 37.3 and 38.7; CIFAR-100: 79.6, 73.2, 72.6 and 74.8 (figure)",
            _digits,
            _far,
            note=(
                f"{DEEP}; {RATE}, in pilots of one or two of these seeds, scored on the target's test images. With the first three seeds alone the interval over the wide network reaches below its bar of 3. The same architecture trained jointly from scratch (joint-4) is no worse than the concatenation here; with the paper's ResNet50s, fine-tuned, it is. With one hidden layer instead of four, one pilot had the wide network level with five members at a rate of 0.003 (87.7 and 87.2 %) and behind them at 0.001 (82.9 and 86.7 %)."
            ),
        ),
        Claim(
            "gain-is-where-the-task-has-changed",
            "A further member adds next to nothing on the source, and more on the target.",
            "ten ResNet50s over one: from 75.6 to about 78.4 % on ImageNet, from 37.9 to about 49.7 % on iNaturalist 2018 (figure)",
            _digits,
            lambda setting: [
                Bar("gain of cat-4 over one on the target, minus that on the source", _more, at_least=5, unit="%"),
                _left_out("source"),
                _left_out("target"),
            ],
            note=f"{DEEP}. What a member adds is the probe's accuracy on all four, minus that on the three others.",
            scales=("full", "gpu"),
        ),
        Claim(
            "better-on-new-photographs",
            "On photographs of other classes too, convolutional networks side by side are better than one of them and than one network of their size.",
            "linear probe on CIFAR-10: CAT10 about 93.7 %, one ResNet50 90.6, widened by 2 and 4 90.9 and 92.1 (figure)",
            _photographs,
            _photograph_bars,
            note="8,000 images of the first five classes of CIFAR-10, 600 steps; probes see 500 labels of the other five.",
            scales=("full", "gpu"),
        ),
        Claim(
            "self-supervised",
            "Networks trained without labels gain by standing side by side as well.",
            "SWAV, linear probe on iNaturalist 2018: eight ResNet50s about 50.6 %, one about 42.3, widened by 4 and 5 about 44 and 48 (figure)",
            _contrastive,
            _contrastive_bars,
            note="Contrastive training on 4,000 images of the first five classes of CIFAR-10, 200 steps; probes see 500 labels of the other five.",
            scales=("full", "gpu"),
        ),
        Claim(
            "two-stage-fine-tuning",
            "Fine-tuned each by itself and then joined by a head, members are better than fine-tuned as one network, and than one network of their size.",
            "CIFAR-100 and iNaturalist 2018: two-stage CAT4 88.00 and 68.42 %, end to end 86.54 and 64.54, widened by 4 87.95 and 66.99 (fine-tuning table)",
            _finetuned,
            _two_stage_bars,
            note="1,000 labels of digits 5-9, 300 steps; every arm chooses its rate on a fifth of the labels. Pilots of two or three seeds, with 500 to 2,000 labels and one or four hidden layers, saw no order between the first two either; why the paper's order is not seen at this size has not been tested.",
        ),
        Claim(
            "few-shot",
            "A cosine head learns from few images better on networks side by side than on one.",
            "miniImageNet, 1 and 5 shots: CAT5 about 63.6 and 81.2 %, BASELINE++ about 57.5 and 76.5 (figure)",
            _digits,
            lambda setting: _shots(setting.pick(smoke="cat-4", full="cat-5"), setting),
            note=f"{DEEP}. 200 episodes of all of digits 5-9, 15 queries a class. Deep members were taken after a pilot with shallow ones had come to about 1.5 %, under the bar of 2.",
        ),
        Claim(
            "snapshots",
            "Snapshots of one training, side by side, are better than one network too.",
            "miniImageNet, 1 and 5 shots: CAT5-S about 62.9 and 81.0 %, the best single snapshot about 55.5 and 75.5 (figure)",
            _digits,
            lambda setting: _shots("snapshots-5", setting),
            scales=("full", "gpu"),
        ),
        Claim(
            "distillation",
            "One network that imitates several, a head for each, keeps much of what they hold.",
            "miniImageNet, 1 and 5 shots: DISTILL5 about 62.9 and 81.5 %, BASELINE++ about 57.5 and 76.5 (figure)",
            _digits,
            lambda setting: _shots("distill-5", setting),
            note=(
                "A student of a member's size has an embedding of 16, and five members have 80 between them: a probe on the target finds no more in it than in one network. A student with as many parameters as five (distill-wide-5) is about as good on the target as the wide network trained on the labels, and 8 % behind the five side by side."
            ),
            scales=("full", "gpu"),
        ),
        Claim(
            "out-of-distribution",
            "Under a shift, a head on frozen networks side by side is better than one on a single network, whether it is trained by V-REx or ERM and tuned inside or outside.",
            "Camelyon17, V-REx / ERM, tuned inside: CAT20 76.4 / 76.5 %, one network 69.6 / 66.6; tuned outside: 76.8 / 76.4 and 70.6 / 70.2 (out-of-distribution table)",
            _shifted,
            _shift_bars,
            note="Ten perceptrons of 24 units with an embedding of 12, two training environments of 2,000 MNIST digits whose grounds go with the class for 90 and 80 % of them, and 10 % in the test's.",
        ),
        Claim(
            "less-spread-between-runs",
            "Runs of networks side by side differ far less from each other than runs of one network.",
            "Camelyon17, V-REx tuned inside, deviation over runs: one network 10.5, CAT2 8.0, CAT5 2.9, CAT20 0.5 (out-of-distribution table)",
            _shifted,
            _spread_bars,
            note="Over ten runs of one network and three of ten a seed; the interval of the ratio is the F distribution's.",
            scales=("full", "gpu"),
        ),
    ),
    snippet="""
import torch
from ordinate.adapt.concat import Concat, merge_heads
from ordinate.analyze.linear_probe import LinearProbe
from ordinate.models.registry import create_model

members = [create_model("mlp", num_features=16) for _ in range(3)]     # trained by three seeds: ordinate train mlp --seed 0, 1, 2
concat = Concat(members)                                               # frozen, in evaluation mode
images, labels = torch.randn(60, 1, 28, 28), torch.arange(60) % 3
probe = LinearProbe().fit(concat(images), labels)                      # the penalty is chosen out of a grid
head = merge_heads([member.head for member in members])                # logits: the mean of the members' logits
print(concat.dims, probe.l2_, head)
""",
    outside="ImageNet, iNaturalist, Camelyon17, SEER and vision transformers are out of reach of these scales. Boosted members, which appear in the released settings without a description, are not built.",
)
