"""In-context learning on representations: below, a network computes the representation; above, it learns linear functions of it."""

from collections.abc import Sequence

from ordinate.data.in_context.dynamics import DynamicsPrompts
from ordinate.experiment.claim import Bar, Claim, gain, level, ratio
from ordinate.experiment.comparison import Comparison, Table
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.nn.fixed_representation import FixedRepresentation
from ordinate.tasks.in_context_dynamics import DynamicsLearning
from ordinate.tasks.in_context_mixture import MixtureLearning
from ordinate.tasks.in_context_representations import RepresentationLearning

__all__ = ["PAPER"]

RATE = 3e-3  # near the best of 1e-3 and 3e-3 by pilots, for the networks of all settings alike
FULL = ("full", "gpu")


def _width(setting: Setting) -> int:
    """d = D of the supervised task."""
    return setting.pick(smoke=3, full=4, gpu=20)


def _representations(setting: Setting) -> Comparison:
    """One network a seed serves the claims about its risk, its layers and its upper part."""
    d = _width(setting)
    task = RepresentationLearning(
        FixedRepresentation(d, d, setting.pick(smoke=1, full=2, gpu=3)),
        setting.pick(smoke=8, full=12, gpu=45),
        steps=setting.pick(smoke=90, full=1_800, gpu=60_000),
        batch_size=setting.pick(smoke=32, full=64),
        lr=setting.pick(smoke=RATE, full=RATE, gpu=1e-4),
        hidden=setting.pick(smoke=32, full=64, gpu=256),
        layers=setting.pick(smoke=3, full=4, gpu=12),
        heads=setting.pick(smoke=4, full=4, gpu=8),
        tested=setting.pick(smoke=200, full=500, gpu=2_000),
        probed=setting.pick(smoke=200, full=2_000, gpu=4_000),
        paste_steps=setting.pick(smoke=10, full=500, gpu=5_000),
        pastes=setting.pick(smoke=("linear_copy",), full=("linear", "linear_copy", "one_layer")),
    )
    names = setting.pick(
        smoke=("transformer", "Phi-ridge", "ridge on x", "zero"),
        full=("transformer", "Phi-ridge", "ridge on x", "kernel ridge", "fitted MLP", "zero"),
    )
    return Comparison("representations", task, [task.arm(name) for name in names], seeds=setting.pick(smoke=1, full=None))


def _dynamics(setting: Setting) -> Comparison:
    d, k, D = setting.pick(smoke=(2, 2, 4), full=(3, 2, 6), gpu=(10, 3, 30))
    source = DynamicsPrompts(FixedRepresentation(k * d, D, 2), d, k, setting.pick(smoke=12, full=16, gpu=60))
    task = DynamicsLearning(
        source,
        steps=setting.pick(smoke=50, full=1_000, gpu=60_000),
        batch_size=setting.pick(smoke=32, full=64),
        lr=setting.pick(smoke=RATE, full=RATE, gpu=1e-4),
        hidden=setting.pick(smoke=32, full=64, gpu=256),
        layers=setting.pick(smoke=3, full=4, gpu=12),
        heads=setting.pick(smoke=4, full=4, gpu=8),
        tested=setting.pick(smoke=200, full=1_000),
        probed=setting.pick(smoke=200, full=2_000),
        places=(2 * D, source.n - 1),
    )
    names = ("transformer", "Phi-ridge", "autoregression", "zero")
    return Comparison("dynamics", task, [task.arm(name) for name in names], seeds=setting.pick(smoke=1, full=None))


def _mixture(setting: Setting) -> Comparison:
    D, n = setting.pick(smoke=(2, 7), full=(2, 8), gpu=(10, 40))
    task = MixtureLearning(
        [FixedRepresentation(D, D, setting.pick(smoke=1, full=2, gpu=3), seed=seed) for seed in range(2)],
        n,
        steps=setting.pick(smoke=50, full=1_400, gpu=60_000),
        batch_size=setting.pick(smoke=32, full=64),
        lr=setting.pick(smoke=RATE, full=RATE, gpu=1e-4),
        hidden=setting.pick(smoke=32, full=64, gpu=256),
        layers=setting.pick(smoke=3, full=4, gpu=12),
        heads=setting.pick(smoke=4, full=4, gpu=8),
        tested=setting.pick(smoke=300, full=1_000, gpu=4_000),
        probed=setting.pick(smoke=200, full=2_000),
    )
    names = ("transformer", "oracle", "Bayes mixture", "selection", "concatenated ridge", "zero")
    return Comparison("mixture", task, [task.arm(name) for name in names], seeds=setting.pick(smoke=1, full=None))


def _over_chance(name: str, *, at_least: float | None = None, at_most: float | None = None) -> Bar:
    """The risk of a paste after 2 D pairs over that of saying 0."""
    return Bar(
        f"risk of {name} over chance",
        lambda table: [row.metrics[name] / row.notes["chance"] for row in table.of("transformer")],
        at_least,
        at_most,
        "x",
    )


def _apart(first: str, second: str, *, at_least: float | None = None, at_most: float | None = None) -> Bar:
    """One number of a network minus another."""
    return Bar(
        f"{first} minus {second}",
        lambda table: [a - b for a, b in zip(table.values("transformer", first), table.values("transformer", second), strict=True)],
        at_least,
        at_most,
    )


def _risk_bars(setting: Setting) -> Sequence[Bar]:
    place = 2 * _width(setting)
    if setting.scale == "smoke":
        return [ratio("transformer", "zero", "risk@7", at_most=0.9, label="risk after 7 pairs over that of saying 0")]
    return [
        ratio("transformer", "zero", f"risk@{place}", at_most=0.15, label=f"risk after {place} pairs over that of saying 0"),
        ratio("transformer", "ridge on x", f"risk@{place}", at_most=0.5, label=f"risk after {place} pairs over ridge regression's on x"),
    ]


def _optimum_bars(setting: Setting) -> Sequence[Bar]:
    place = 2 * _width(setting)
    return [
        gain("transformer", "Phi-ridge", f"risk@{place}", at_most=0.1, label=f"risk after {place} pairs minus Phi-ridge's"),
        gain("transformer", "Phi-ridge", "risk", at_most=0.1, label="risk over all prefixes minus Phi-ridge's"),
    ]


def _gap_to_best_mixture(table: Table, metric: str) -> list[float]:
    """The network's gap to the oracle over the Bayes mixture's."""
    oracle, mixture = table.values("oracle", metric), table.values("Bayes mixture", metric)
    return [(mine - told) / (best - told) for mine, told, best in zip(table.values("transformer", metric), oracle, mixture, strict=True)]


def _split_bars(setting: Setting) -> Sequence[Bar]:
    bars = [
        level("transformer", "Phi(x) at x, dip", at_most=0.6, label="least error of Phi(x) at x tokens over the embedding's"),
        level("transformer", "layers above the best", at_least=1),
        level("transformer", "answer at x, top", at_most=0.3, label="error of Phi-ridge's answer in the last layer"),
        level("transformer", "answer at x, trend", at_most=-0.8, label="rank correlation of that error with depth"),
    ]
    return bars[1:2] if setting.scale == "smoke" else bars


PAPER = Paper(
    slug="icl-representations",
    title="How Do Transformers Learn In-Context Beyond Simple Functions? A Case Study on Learning with Representations",
    authors="Tianyu Guo, Wei Hu, Song Mei, Huan Wang, Caiming Xiong, Silvio Savarese, Yu Bai",
    year=2024,
    venue="ICLR 2024",
    arxiv="2310.10616",
    code=None,
    room="analyze",
    summary=(
        "Labels are a random linear function of a fixed nonlinear representation of the input. The best algorithm in context is to apply the representation and then ridge regression; a transformer is built by hand that does so, and "
        "trained ones come near it. Probes of their layers, and upper layers pasted on new embeddings, show the split: below, the representation is computed and copied beside the label; above, linear functions are learnt in context."
    ),
    provides=(
        Part("fixed representation", "ordinate.nn.fixed_representation:FixedRepresentation"),
        Part("prompts on one representation, or on a mixture", "ordinate.data.in_context.representations:RepresentationPrompts"),
        Part("linear prompts on the sphere", "ordinate.data.in_context.sphere:SpherePrompts"),
        Part("trajectories of a nonlinear system", "ordinate.data.in_context.dynamics:DynamicsPrompts"),
        Part("predictors on representations, selection by past loss", "ordinate.analyze.in_context.representations:OnRepresentation"),
        Part("Bayes mixture of representations, with its evidence online", "ordinate.analyze.in_context.gaussian:BayesMixture"),
        Part("kernel ridge regression for all prefixes", "ordinate.analyze.in_context.gaussian:KernelRidge"),
        Part("small networks fitted to every prefix", "ordinate.analyze.in_context.prompt_mlp:PromptMLP"),
        Part("online ridge regression of trajectories", "ordinate.analyze.in_context.trajectories:predict_trajectory"),
        Part("probes of all layers at once", "ordinate.analyze.layer_probes:probe_layers"),
        Part("pasting of upper layers", "ordinate.adapt.paste:paste"),
        Part("transformer built by hand", "ordinate.models.ridge_transformer:ridge_transformer"),
        Part("task: one representation", "ordinate.tasks.in_context_representations:RepresentationLearning"),
        Part("task: a mixture of representations", "ordinate.tasks.in_context_mixture:MixtureLearning"),
        Part("task: a nonlinear system", "ordinate.tasks.in_context_dynamics:DynamicsLearning"),
    ),
    claims=(
        Claim(
            name="learns-on-the-representation",
            statement="A trained transformer predicts labels that are linear in a representation far better than linear regression on the inputs can.",
            published="risk curves on those of Phi-ridge for all depths, widths and noises (figures, section 5)",
            comparison=_representations,
            bars=_risk_bars,
            note="d = D = 4, two layers of Phi, noise 0.1; four layers of width 64, 1,800 steps of 64 prompts, where the paper trains 12 layers of 256 for 300,000.",
        ),
        Claim(
            name="near-the-optimum",
            statement="Its risk is near that of ridge regression on the representation.",
            published="nearly Bayes-optimal at every number of examples (figures, section 5)",
            comparison=_representations,
            bars=_optimum_bars,
            note="A tenth of the labels' variance is called near: the paper gives curves and no number.",
            scales=FULL,
        ),
        Claim(
            name="lower-layers-represent",
            statement="The representation is read best at inputs below the last layer, and the optimal answer is read better the higher the layer.",
            published="probe errors of Phi(x) are U-shaped over layers with their least at layers 4 to 5 of 12, those of the answer fall (section 6.1)",
            comparison=_representations,
            bars=_split_bars,
        ),
        Claim(
            name="untrained-networks-do-not",
            statement="The dip of the probe's error comes from training: in an untrained network it is shallower.",
            published="a control that the paper does not have",
            comparison=_representations,
            bars=[_apart("Phi(x) at x, dip untrained", "Phi(x) at x, dip", at_least=0.1)],
            scales=FULL,
        ),
        Claim(
            name="copied-beside-the-label",
            statement="The representation of an input appears beside its label too, and no earlier than at the input itself.",
            published="computed by layer 5, copied at layer 6, regression from layer 7 on, in one network (section 6.1)",
            comparison=_representations,
            bars=[level("transformer", "Phi(x) at y, least", at_most=0.6), level("transformer", "copied after", at_least=0, at_most=2)],
            scales=FULL,
        ),
        Claim(
            name="upper-layers-learn-alone",
            statement="The blocks above the break point, frozen under a linear embedding, learn linear functions in context.",
            published="nearly optimal, a little better with the copied format or one more layer (section 6.2)",
            comparison=_representations,
            bars=[_over_chance(f"pasted, {kind}", at_most=0.5) for kind in ("linear_copy", "one_layer")],
            note="500 steps of training for the embedding, after 8 = 2 D pairs. In the copied format the risk is 0.3 to 0.4 of chance; with a layer more to train it is 0.7 to 0.8, and a pilot of 1,000 steps came to 0.2.",
            scales=FULL,
        ),
        Claim(
            name="linear-embedding-suffices",
            statement="They do so also when inputs are not put beside their labels.",
            published="nearly optimal with a linear embedding (section 6.2)",
            comparison=_representations,
            bars=[_over_chance("pasted, linear", at_most=0.5)],
            note="Two blocks remain above the break point, where the paper pastes seven or eight: they may have no layer to spare for putting inputs beside their labels.",
            scales=FULL,
        ),
        Claim(
            name="embeddings-do-not-learn-alone",
            statement="One layer of the same kind alone stays near chance, and so does a paste on an untrained network.",
            published="one layer without the pasted ones has a risk of about 1.01, which is chance (section 6.2)",
            comparison=_representations,
            bars=[
                _over_chance("one layer alone", at_least=0.8),
                *(_over_chance(f"pasted on untrained, {kind}", at_least=0.8) for kind in ("linear_copy", "one_layer")),
            ],
            note="One layer alone stays at 0.8 to 1 of chance. On untrained blocks the copied format comes to 0.5 to 0.7, behind the 0.3 to 0.4 of trained ones: random blocks pass on enough for an embedding that is trained to use them.",
            scales=FULL,
        ),
        Claim(
            name="systems-in-context",
            statement="Trained on trajectories of nonlinear systems, a transformer predicts them better than linear autoregression, and near the best there is.",
            published="nearly optimal (figures, section 5)",
            comparison=_dynamics,
            bars=lambda setting: (
                [ratio("transformer", "zero", "risk", at_most=1.0)]
                if setting.scale == "smoke"
                else [
                    ratio("transformer", "autoregression", "risk", at_most=1.0),
                    gain("transformer", "Phi-ridge", "risk", at_most=0.1, label="risk minus Phi-ridge's"),
                ]
            ),
            note="d = 3, k = 2, D = 6, noise 0.1, 1,000 steps. Autoregression is the best of its windows, penalties and either kind of intercept: with an intercept it comes nearer, since states have a mean.",
        ),
        Claim(
            name="one-step-back",
            statement="At a state the one before it is read from the layers, and the one two steps earlier much less.",
            published="previous inputs and Phi of the previous window are decodable in middle layers, Phi of the one before not (section 6)",
            comparison=_dynamics,
            bars=[level("transformer", "R2 of x, lag 1 minus lag 2", at_least=0.3)],
            note="States of one trajectory have a mean in common, since features of leaky ReLUs are mostly positive: from the present state alone half of the variance of those before it can be told, and lags are less apart than what is new in them.",
            scales=FULL,
        ),
        Claim(
            name="one-step-back-beyond-the-present",
            statement="Of what the present state does not tell about earlier ones, the layers hold more of the last one than of the one before.",
            published="previous inputs are decodable in middle layers (section 6); the measure is ours",
            comparison=_dynamics,
            bars=[level("transformer", "R2 of x, lag 1 minus lag 2, beyond the present", at_least=0.3)],
            scales=FULL,
        ),
        Claim(
            name="one-representation-back",
            statement="The representation of the window that ended one step earlier is read from the layers, and that of two steps earlier much less.",
            published="Phi of the previous window is decodable in middle layers, that of the one before not (section 6)",
            comparison=_dynamics,
            bars=[level("transformer", "R2 of Phi, lag 1 minus lag 2", at_least=0.3)],
            note="Here two windows of k = 2 states that follow each other share one of them, and all share the trajectory's mean.",
            scales=FULL,
        ),
        Claim(
            name="mixtures-in-context",
            statement="Where each prompt has one of two representations, a transformer comes within twice the Bayes mixture's distance of an oracle that is told which.",
            published="matches the Bayes mixture and selection by past loss (figures, section 6.3)",
            comparison=_mixture,
            bars=lambda setting: (
                [ratio("transformer", "zero", "risk", at_most=1.0)]
                if setting.scale == "smoke"
                else [
                    Bar(
                        f"gap to the oracle over the Bayes mixture's, after {(place := 3 * setting.pick(smoke=2, full=2, gpu=10))} pairs",
                        lambda table: _gap_to_best_mixture(table, f"risk@{place}"),
                        at_most=2,
                        unit="x",
                    )
                ]
            ),
            note="d = D = 2, 8 pairs, 1,400 steps. The Bayes mixture is within a hundredth of the oracle after 6 = 3 D pairs: twice that is a finer mark than so short a training reaches on any of our tasks.",
        ),
        Claim(
            name="below-concatenated-ridge",
            statement="With fewer pairs than all representations together have dimensions, its risk is below that of ridge regression on all of them side by side.",
            published="well below concatenated ridge at few examples (figures, section 6.3)",
            comparison=_mixture,
            note="After 1,400 steps the network is still behind it: what is learnt first is common to both, and the selection that tells them apart comes later in training.",
            bars=lambda setting: [
                ratio("transformer", "concatenated ridge", f"risk@{2 * setting.pick(smoke=2, full=2, gpu=10) - 1}", at_most=1.0)
            ],
            scales=FULL,
        ),
        Claim(
            name="all-representations-are-computed",
            statement="Also the representation that a prompt does not have is computed at its inputs.",
            published="all Phi_k are decodable at x tokens for every prompt (section 6.3)",
            comparison=_mixture,
            bars=[
                level("transformer", "wrong Phi at x, dip", at_most=0.6, label="least error of the wrong Phi(x) over the embedding's"),
                _apart("wrong Phi at x, dip untrained", "wrong Phi at x, dip", at_least=0.1),
            ],
            scales=FULL,
        ),
        Claim(
            name="selection-comes-last",
            statement="The answer of regression on the wrong representation is read worse at the top of the network than in the middle.",
            published="answers of all K regressions are decodable in middle layers, and the wrong ones vanish at the top (section 6.3)",
            comparison=_mixture,
            bars=[level("transformer", "wrong answer at x, rise", at_least=0.02)],
            note="In networks that have not yet learnt to select there is nothing to vanish, and with D = 2 the answers of both regressions are much alike.",
            scales=FULL,
        ),
    ),
    snippet="""
import torch
from ordinate.analyze.in_context.predictors import Bayes
from ordinate.analyze.in_context.representations import OnRepresentation
from ordinate.data.in_context.representations import RepresentationPrompts
from ordinate.nn.fixed_representation import FixedRepresentation

phi = FixedRepresentation(4, 4, layers=2)
prompts = RepresentationPrompts([phi], d=4, n=12, noise=0.1).sample(1_000, torch.Generator().manual_seed(0))
best = OnRepresentation(Bayes(noise=0.1**2), phi)                        # apply Phi, then ridge regression, online
print((best(prompts.x, prompts.y) - prompts.y).square().mean(dim=0))     # from 1 down to little more than the noise's 0.01
""",
    outside="The sizes in the theorems, and their construction for dynamical systems; 12 layers of width 256 trained for 300,000 steps, which a GPU takes hours for.",
)
