"""The Principles of Deep Learning Theory: networks of finite width, from the initialisation that keeps signals alive to the depth that a width allows for."""

import math
import warnings
from collections.abc import Callable, Sequence
from functools import partial

from scipy.stats import spearmanr

from ordinate.analyze.aspect_ratio import gamma_for
from ordinate.analyze.criticality import find_criticality
from ordinate.analyze.signals import Propagation
from ordinate.experiment.claim import Bar, Claim, exact, gain, level, ratio
from ordinate.experiment.comparison import Comparison, Table
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm
from ordinate.nn.activations import Activation
from ordinate.tasks.critical_points import CriticalPoints, KnownPoint
from ordinate.tasks.deep_training import DeepPlan, DeepTraining
from ordinate.tasks.finite_width import FiniteWidth, FluctuationGrowth, RandomNets
from ordinate.tasks.signal_flow import SignalFlow

__all__ = ["PAPER"]

# (C_b, C_W, K*), published or in closed form; None where any variance will do.
KNOWN: dict[str, tuple[float, float, float | None]] = {
    "linear": (0.0, 1.0, None),
    "relu": (0.0, 2.0, None),
    "leaky-relu": (0.0, 2 / (1 + 0.01**2), None),
    "abs": (0.0, 1.0, None),
    "tanh": (0.0, 1.0, 0.0),
    "sin": (0.0, 1.0, 0.0),
    "erf": (0.0, math.pi / 4, 0.0),
    "arctan": (0.0, 1.0, 0.0),
    "asinh": (0.0, 1.0, 0.0),
    "softsign": (0.0, 1.0, 0.0),
    "gelu": (0.17292239, 1.98305826, (3 + math.sqrt(17)) / 2),
    "silu": (0.55514317, 1.98800468, 14.32017362),
}
# (activation, C_b, C_W) of recipes in use and of the critical points beside them; None stands for the critical value.
RECIPES: dict[str, tuple[str, float | None, float | None]] = {
    "gelu, He": ("gelu", 0.0, 2.0),
    "gelu, critical": ("gelu", None, None),
    "silu, He": ("silu", 0.0, 2.0),
    "silu, critical": ("silu", None, None),
    "tanh, biased": ("tanh", 0.1, 1.0),
    "tanh, critical": ("tanh", None, None),
    "tanh, chaotic": ("tanh", 0.0, 1.5),
}
FOUR = ("tanh", "relu", "gelu", "silu")
BESIDE = {"critical": 1.0, "x 0.8": 0.8, "x 1.25": 1.25}
QUANTITIES = ("K", "V", "Theta", "A", "B", "D", "F", "P", "Q")
BRIEF = ("gelu, He", "gelu, critical", "tanh, biased", "tanh, critical")  # of the recipes, what a smoke run looks at
FULL = ("full", "gpu")
GAMMA = 0.6
CLASSES = 10


def _known(setting: Setting) -> Comparison:
    arms = [Arm(name, partial(KnownPoint, Activation.of(name), *values)) for name, values in KNOWN.items()]
    return Comparison("critical-points", CriticalPoints(), arms, seeds=1)


def _propagation(name: str, C_b: float | None = None, C_W: float | None = None, factor: float = 1.0) -> Propagation:
    report = find_criticality(name)
    C_b = report.C_b if C_b is None else C_b
    return Propagation(Activation.of(name), C_b, factor * (report.C_W if C_W is None else C_W), report.K_star or 1.0)


def _band(setting: Setting) -> Comparison:
    depth, width = setting.pick(smoke=(12, 96), full=(50, 512), gpu=(100, 2048))
    task = SignalFlow(depth, width, draws=setting.pick(smoke=30, full=67))
    return Comparison("band", task, [Arm(name, partial(_propagation, name)) for name in FOUR], seeds=setting.pick(smoke=2, full=None))


def _beside_names(setting: Setting) -> tuple[str, ...]:
    return setting.pick(smoke=("relu",), full=FOUR)


def _beside(setting: Setting) -> Comparison:
    depth, width = setting.pick(smoke=(20, 96), full=(50, 512), gpu=(500, 2048))
    task = SignalFlow(depth, width, draws=setting.pick(smoke=4, full=10))
    arms = []
    for name in _beside_names(setting):
        arms += [
            Arm(f"{name}, {title}", partial(_propagation, name, factor=factor), role="ablation")
            for title, factor in BESIDE.items()
            if factor != 1
        ]
        arms.append(Arm(f"{name}, torch default", partial(_propagation, name, 1 / (3 * width), 1 / 3), role="baseline"))
    return Comparison("beside-criticality", task, arms, seeds=setting.pick(smoke=2, full=None))


def _recipe_names(setting: Setting) -> tuple[str, ...]:
    return setting.pick(smoke=BRIEF, full=tuple(RECIPES))


def _recipes(setting: Setting) -> Comparison:
    depth, width = setting.pick(smoke=(8, 96), full=(20, 512), gpu=(50, 2048))
    task = SignalFlow(depth, width, draws=setting.pick(smoke=8, full=30), deep=setting.pick(smoke=100, full=300))
    arms = [
        Arm(title, partial(_propagation, *RECIPES[title]), role="method" if "critical" in title else "baseline")
        for title in _recipe_names(setting)
    ]
    return Comparison("recipes", task, arms, seeds=setting.pick(smoke=1, full=None))


def _ensembles(setting: Setting) -> Comparison:
    width, nets = setting.pick(smoke=(16, (8_000, 1_500, 300)), full=(32, (100_000, 20_000, 2_500)), gpu=(64, (400_000, 50_000, 5_000)))
    arms = [Arm("tanh", partial(RandomNets, Activation.of("tanh"), 0.05, 1.3, 1.35))]
    return Comparison("ensembles", FiniteWidth(width, 3, nets), arms, seeds=setting.pick(smoke=2, full=None))


def _nets(name: str, residual: float = 0.0) -> RandomNets:
    report = find_criticality(name).with_residual(residual)
    return RandomNets(Activation.of(name), report.C_b, report.C_W, report.K_star or 1.0, residual)


def _growth(setting: Setting) -> Comparison:
    widths, nets = setting.pick(smoke=((16, 32), 1_500), full=((32, 64), 12_000), gpu=((32, 64, 128), 40_000))
    arms = [Arm(name, partial(_nets, name)) for name in ("relu", "linear", "tanh")]
    return Comparison("growth", FluctuationGrowth(widths, 6, nets), arms, seeds=setting.pick(smoke=2, full=None))


def _residual(setting: Setting) -> Comparison:
    widths, nets = setting.pick(smoke=((32,), 1_500), full=((64, 128), 4_000), gpu=((128, 256), 10_000))
    arms = [Arm(name, partial(_nets, name, GAMMA)) for name in ("linear", "abs", "relu")]
    return Comparison("residual-growth", FluctuationGrowth(widths, 8, nets, start=2), arms, seeds=setting.pick(smoke=2, full=None))


def _plan(name: str, depth: int, rates: tuple[float, ...], *, factor: float = 1.0, residual: float = 0.0, rule: str = "plain") -> DeepPlan:
    report = find_criticality(name).with_residual(residual)
    return DeepPlan(
        Activation.of(name),
        depth,
        rates,
        report.C_b,
        report.C_W * factor,
        report.K_star or None,
        residual=residual,
        rule=rule,
        report=report,
    )


def _hundred(setting: Setting) -> Comparison:
    depth, width, steps = setting.pick(smoke=(24, 32, 40), full=(100, 200, 400), gpu=(500, 1024, 2000))
    rates = setting.pick(smoke=(0.005, 0.02), full=(0.0015, 0.003), gpu=(0.0003, 0.0006, 0.0012))
    task = DeepTraining(width, members=1, steps=steps)
    arms = [Arm(beside, partial(_plan, "tanh", depth, rates, factor=factor)) for beside, factor in BESIDE.items()]
    arms.append(Arm("torch default", partial(DeepPlan, Activation.of("tanh"), depth, rates), role="baseline"))
    return Comparison(
        "hundred-layers", task, arms, seeds=setting.pick(smoke=1, full=None), title=f"{depth} layers of tanh, trained on digits"
    )


def _depths(setting: Setting) -> tuple[int, ...]:
    return setting.pick(smoke=(2, 12), full=(2, 4, 8, 16, 32, 64), gpu=(2, 4, 8, 16, 32, 64, 128))


def _gamma(name: str, depth: int, width: int) -> float:
    with warnings.catch_warnings():  # that depth over width is large is what this is about
        warnings.simplefilter("ignore")
        return gamma_for(depth, width, CLASSES, find_criticality(name), skewed=False)


def _aspect(setting: Setting) -> Comparison:
    width, members, steps = setting.pick(smoke=(32, 3, 40), full=(64, 5, 150), gpu=(256, 10, 1000))
    task = DeepTraining(width, members, steps)
    deepest, rates = _depths(setting)[-1], (0.003, 0.01, 0.03, 0.1)
    arms = []
    for name in ("tanh", "relu"):
        arms += [Arm(f"{name} {depth}", partial(_plan, name, depth, rates)) for depth in _depths(setting)]
        gamma = _gamma(name, deepest, width)
        arms.append(Arm(f"{name} {deepest}, residual", partial(_plan, name, deepest, rates, residual=gamma), note=f"weight {gamma:.3f}"))
    return Comparison("aspect-ratio", task, arms, seeds=setting.pick(smoke=1, full=None))


def _rate_depths(setting: Setting) -> tuple[int, ...]:
    return setting.pick(smoke=(4, 16), full=(4, 8, 16, 32))


def _rates(setting: Setting) -> Comparison:
    width, members, steps = setting.pick(smoke=(32, 1, 40), full=(128, 2, 100), gpu=(512, 4, 500))
    rates = tuple(2.0**power for power in range(-1, 6))
    arms = [
        Arm(
            f"{rule} {depth}",
            partial(_plan, "tanh", depth, rates, rule=rule),
            {"momentum": 0.0},
            "method" if rule == "layer" else "baseline",
        )
        for rule in ("layer", "uniform")
        for depth in _rate_depths(setting)
    ]
    return Comparison("learning-rates", DeepTraining(width, members, steps), arms, seeds=setting.pick(smoke=1, full=None))


def _band_bars(setting: Setting) -> Sequence[Bar]:
    return [
        *(
            level(name, "inside", at_least=setting.pick(smoke=80, full=90), unit="%", label=f"mean squares of {name} inside the band")
            for name in FOUR
        ),
        *(
            level(name, "kernel error", at_most=1, unit="%", label=f"error of the mean kernel of {name}, beyond sampling's")
            for name in FOUR
        ),
    ]


def _critical_bars(setting: Setting) -> Sequence[Bar]:
    return [level(name, "gradient", at_least=-1, at_most=1, unit="decades", label=f"{name}, first layer over last") for name in FOUR]


def _beside_bars(setting: Setting) -> Sequence[Bar]:
    far = setting.pick(smoke=0.5, full=1.5, gpu=15)
    return [
        level("relu, x 0.8", "gradient", at_most=-far, unit="decades", label="relu, C_W x 0.8"),
        level("relu, x 1.25", "gradient", at_least=far, unit="decades", label="relu, C_W x 1.25"),
        *(
            level(f"{name}, torch default", "gradient", at_most=-far, unit="decades", label=f"{name}, torch's default")
            for name in _beside_names(setting)
        ),
    ]


def _recipe_bars(setting: Setting) -> Sequence[Bar]:
    # arm: (metric of the recursion far down, at least, at most)
    far: dict[str, tuple[str, float | None, float | None]] = {
        "gelu, He": ("deep kernel", None, setting.pick(smoke=1e-20, full=1e-70)),
        "gelu, critical": ("deep kernel", 3.56, 3.563),
        "silu, He": ("deep kernel", None, setting.pick(smoke=1e-20, full=1e-70)),
        "silu, critical": ("deep kernel", 14.319, 14.321),
        "tanh, biased": ("deep cosine", 0.9999, None),
        "tanh, critical": ("deep cosine", 0.16, 0.2),
        "tanh, chaotic": ("deep cosine", None, 0.001),
    }
    bars = []
    for arm in _recipe_names(setting):
        metric, low, high = far[arm]
        bars.append(exact(f"{metric} of {arm}", lambda table, arm=arm, metric=metric: table.value(arm, metric), at_least=low, at_most=high))  # type: ignore[misc]
        bars.append(level(arm, "cosine error", at_most=0.1, label=f"distance of networks from the recursion's cosine, {arm}"))
    return bars


def _ensemble_bars(setting: Setting) -> Sequence[Bar]:
    loose = 0.05 + 3 / setting.pick(smoke=16, full=32, gpu=64)
    return [
        level("tanh", name, at_least=1 - loose, at_most=1 + loose, unit="x", label=f"{name}, measured over predicted")
        for name in QUANTITIES
    ]


def _over(arm: str, metric: str, denominator: Callable[[Table], float], label: str, loose: float = 0.1) -> Bar:
    """A metric of an arm over a number, which must be 1 to 10 %."""
    return Bar(label, lambda table: [value / denominator(table) for value in table.values(arm, metric)], 1 - loose, 1 + loose, "x")


def _growth_bars(setting: Setting) -> Sequence[Bar]:
    loose = setting.pick(smoke=0.3, full=0.1)
    return [
        _over("relu", "rate", lambda table: 5.0, "rate of relu in networks over 5", loose),
        _over("linear", "rate", lambda table: 2.0, "rate of linear networks over 2", loose),
        _over("tanh", "rate", lambda table: table.value("tanh", "recursion"), "rate of tanh in networks over the recursion's", loose),
        exact("rate of tanh at layer 1000 over 2/3", lambda table: table.value("tanh", "asymptote") * 1.5, at_least=0.999, at_most=1.001),
    ]


def _published_rate(name: str) -> float:
    report = find_criticality(name).with_residual(GAMMA, skewed=False)
    return report.nu or math.nan


def _residual_bars(setting: Setting) -> Sequence[Bar]:
    loose = setting.pick(smoke=0.4, full=0.1)
    return [
        _over(name, "rate", lambda table, name=name: _published_rate(name), f"rate of {name} in networks over the formula's", loose)  # type: ignore[misc]
        for name in ("linear", "abs")
    ]


def _skewed_bars(setting: Setting) -> Sequence[Bar]:
    return [
        _over(
            "relu",
            "rate",
            lambda table: _published_rate("relu"),
            "rate of relu in networks over the formula's",
            setting.pick(smoke=0.4, full=0.1),
        )
    ]


def _third_bars(setting: Setting) -> Sequence[Bar]:
    loose = setting.pick(smoke=0.4, full=0.1)
    return [
        _over(
            "relu",
            "rate",
            lambda table: table.value("relu", "recursion"),
            "rate of relu in networks over the recursion's with third moments",
            loose,
        )
    ]


def _hundred_bars(setting: Setting) -> Sequence[Bar]:
    if setting.scale == "smoke":
        return [gain("critical", over, "train accuracy", at_least=10, unit="%") for over in ("x 0.8", "torch default")]
    return [
        level("critical", "train accuracy", at_least=90, unit="%"),
        level("x 0.8", "train accuracy", at_most=50, unit="%"),
        level("torch default", "train accuracy", at_most=50, unit="%"),
    ]


def _spread_order(name: str, depths: Sequence[int]) -> Bar:
    """The rank correlation of depth and the spread of the test loss, one a seed."""

    def correlation(table: Table) -> list[float]:
        spreads = zip(*(table.values(f"{name} {depth}", "spread") for depth in depths), strict=True)
        return [float(spearmanr(depths, values).statistic) for values in spreads]

    return Bar(f"rank correlation of depth and spread, {name}, beyond r*", correlation, at_least=0.8)


def _aspect_bars(setting: Setting) -> Sequence[Bar]:
    depths = _depths(setting)
    if setting.scale == "smoke":
        return [ratio("relu 12", "relu 2", "spread", at_least=1)]
    return [_spread_order("tanh", [depth for depth in depths if depth >= 8]), _spread_order("relu", depths)]


def _same_spread(setting: Setting) -> Sequence[Bar]:
    depths = _depths(setting)
    chosen = depths[len(depths) // 3]

    def times(table: Table) -> list[float]:
        wanted = table.values(f"relu {chosen}", "spread")
        spreads = list(zip(*(table.values(f"tanh {depth}", "spread") for depth in depths), strict=True))
        return [_crossing(depths, values, limit) / chosen for values, limit in zip(spreads, wanted, strict=True)]

    return [Bar(f"depth of tanh over that of relu, {chosen}, at the same spread", times, at_least=4, unit="x")]


def _crossing(depths: Sequence[int], spreads: Sequence[float], limit: float) -> float:
    """The depth at which the spread first passes a limit, interpolated over logarithms; an end where it is past it at once, or never."""
    for (before, low), (after, high) in zip(zip(depths, spreads, strict=True), list(zip(depths, spreads, strict=True))[1:], strict=False):
        if low <= limit < high:
            share = math.log(limit / low) / math.log(high / low)
            return before * (after / before) ** share
    return float(depths[0] if spreads[0] > limit else depths[-1])


def _rescue_bars(setting: Setting) -> Sequence[Bar]:
    deepest = _depths(setting)[-1]
    return [
        gain(f"{name} {deepest}, residual", f"{name} {deepest}", "test loss", at_most=setting.pick(smoke=0.5, full=-0.3), unit="nats")
        for name in ("tanh", "relu")
    ]


def _narrow_bars(setting: Setting) -> Sequence[Bar]:
    deepest = _depths(setting)[-1]
    best = setting.pick(smoke={"tanh": 2, "relu": 2}, full={"tanh": 8, "relu": 2}, gpu={"tanh": 32, "relu": 4})
    return [ratio(f"{name} {deepest}, residual", f"{name} {best[name]}", "spread", at_most=1.5) for name in best]


def _rate_bars(setting: Setting) -> Sequence[Bar]:
    depths = _rate_depths(setting)

    def spread(rule: str) -> Callable[[Table], list[float]]:
        return lambda table: [
            max(found) / min(found) for found in zip(*(table.values(f"{rule} {depth}", "best rate") for depth in depths), strict=True)
        ]

    return [
        Bar("largest over smallest best rate, by layers", spread("layer"), at_most=2, unit="x"),
        Bar("largest over smallest best rate, uniform", spread("uniform"), at_least=setting.pick(smoke=1, full=4), unit="x"),
    ]


PAPER = Paper(
    slug="pdlt",
    title="The Principles of Deep Learning Theory",
    authors="Daniel A. Roberts, Sho Yaida, Boris Hanin",
    year=2022,
    venue="Cambridge University Press 2022",
    arxiv="2106.10165",
    code=None,
    room="analyze",
    summary="An effective theory of multi-layer perceptrons at large but finite width, as an expansion in depth over width. Infinitely wide networks are Gaussian, and one scalar recursion tells which initialisation keeps "
    "their signals alive; the first correction tells how much networks of the same recipe differ, how they learn representations, and how deep they should be.",
    provides=(
        Part("critical initialisation of any activation", "ordinate.analyze.criticality:find_criticality"),
        Part("an initialisation for any network", "ordinate.analyze.critical_init:critical_init_"),
        Part("activations, named or brought along", "ordinate.nn.activations:Activation"),
        Part("ten quantities through the layers, to first order in 1/width", "ordinate.analyze.flow:rg_flow"),
        Part("four-point vertex of two inputs", "ordinate.analyze.flow:four_point_flow"),
        Part("kernels of many inputs", "ordinate.analyze.kernels:kernel_flow"),
        Part("susceptibilities", "ordinate.analyze.kernels:susceptibilities"),
        Part("Gaussian averages", "ordinate.analyze.gaussian:gauss_avg"),
        Part("best depth, and the residual weight for a depth", "ordinate.analyze.aspect_ratio:optimal_depth"),
        Part("learning rates by layer", "ordinate.analyze.layer_rates:layer_lr"),
        Part("prediction by the neural tangent kernel", "ordinate.analyze.ntk_prediction:ntk_predict"),
        Part("tangent kernel of any network, and its differential", "ordinate.analyze.empirical:empirical_ntk"),
        Part("the same of perceptrons, by layers", "ordinate.analyze.layerwise:measure_moments"),
        Part("an activation studied whole", "ordinate.analyze.criticality_study:study_criticality"),
        Part("ensembles of small networks as one", "ordinate.train.ensemble:Ensemble"),
        Part("deep perceptron", "ordinate.nn.deep_mlp:DeepMLP"),
    ),
    claims=(
        Claim(
            "critical-points",
            "Every activation has a critical initialisation of its kind, or none: those of twelve activations come out at their known values.",
            "ReLU C_W = 2, tanh and sine C_W = 1, GELU (C_b, C_W) = (0.173, 1.983), SiLU (0.555, 1.988) (chapter 5)",
            _known,
            [
                exact(
                    "largest error over twelve activations",
                    lambda table: max(table.value(arm, "error") for arm in table.arms),
                    at_most=1e-6,
                )
            ],
        ),
        Claim(
            "kernels-lie-in-the-band",
            "Mean squares of preactivations in single networks lie in the band that the recursion and its first correction in 1/width foretell, layer by layer.",
            "fluctuations of order 1/n around the infinite-width kernel (chapter 4)",
            _band,
            _band_bars,
            note="The band is a Gaussian's 95 %; where depth over width times nu is near 1 the mean squares are skewed, and the band is one of first order.",
        ),
        Claim(
            "gradients-survive-at-criticality",
            "At criticality the gradient changes by less than a factor of ten through fifty layers.",
            "polynomial behaviour at criticality (chapters 3, 5 and 9)",
            _band,
            _critical_bars,
            note="The gradient's norm by preactivations, first layer over last, in layers of 512. tanh's falls as a power of depth, to 1/8 of itself; in narrow networks it falls a little more, to 1/10 at width 128.",
        ),
        Claim(
            "gradients-die-or-explode-beside-it",
            "With weights of 0.8 or 1.25 times the critical variance the gradient of ReLU networks dies or explodes exponentially, and with torch's own initialisation every activation's dies.",
            "exponential behaviour off criticality (chapters 3, 5 and 9)",
            _beside,
            _beside_bars,
            note="In norms: 0.8^(49/2) is 0.004, and its square 2e-5. tanh at 1.25 does not explode; see what training makes of it below.",
        ),
        Claim(
            "hundred-layers-train-at-criticality",
            "A plain network of a hundred layers trains at criticality, and does not with smaller weights or torch's own initialisation.",
            "tuning to criticality solves the exploding and vanishing gradient problem (section 3.4, chapter 9)",
            _hundred,
            _hundred_bars,
            note="tanh of width 200, 400 steps of SGD with momentum, the best of two rates. At width 100 (depth over width 1) some seeds do not train in 600 steps, as the theory has it: too deep for the width.",
        ),
        Claim(
            "beside-it-on-the-other-side",
            "With weights 1.25 times as large in variance as at criticality, a hundred layers of tanh do not train either.",
            "anything off criticality is exponential in depth (chapter 3)",
            _hundred,
            lambda setting: [level("x 1.25", "train accuracy", at_most=50, unit="%")],
            note="It fails: tanh saturates, so that its kernel finds another fixed point, where differences of inputs grow by 4 % a layer; through a hundred layers that is a help, and those networks train faster than critical ones.",
        ),
        Claim(
            "recipes-in-use-are-off-critical",
            "He's initialisation kills the signals of GELU and SiLU in a hundred layers, and tanh with biases makes all inputs one, where the critical points keep them.",
            "smooth ReLU-like activations are critical at C_b > 0 and C_W < 2 only (section 5.3.4); tanh at C_b = 0, C_W = 1 (section 5.3.3)",
            _recipes,
            _recipe_bars,
            note="The recursion is followed to layer 300 (100 at smoke scale) and networks of width 512 to layer 20; further down those of He's recipe spread too widely for a mean to say much.",
        ),
        Claim(
            "ensembles-agree",
            "The kernel, the four-point vertex, the tangent kernel, its fluctuations and its differential are in ensembles of real networks what the recursions in 1/width say.",
            "the recursions of chapters 4, 8 and 11, to first order in 1/n",
            _ensembles,
            _ensemble_bars,
            note="tanh at C_b = 0.05, C_W = 1.3, three layers of width 32; 5 % and 3/n are allowed for higher orders.",
        ),
        Claim(
            "fluctuations-grow-with-depth",
            "Correlations between neurons grow linearly in depth over width, at a rate that is the activation's: 5 for ReLU, 2 for linear networks, 2/3 for tanh.",
            "V/K^2 = nu l with nu = 3 A4/A2^2 - 1 where scale-invariant, 2/3 at K* = 0 (section 5.4)",
            _growth,
            _growth_bars,
        ),
        Claim(
            "residual-connections-slow-it",
            "A residual connection of weight gamma lowers the rate to (1 - gamma^2)[(1 - gamma^2) nu + 4 gamma^2], in linear networks and with the absolute value.",
            "the formula for the scale-invariant class (appendix B)",
            _residual,
            _residual_bars,
            note=f"gamma = {GAMMA}; the formula was taken from restatements of the book.",
        ),
        Claim(
            "residual-connections-slow-relu",
            "The same formula holds for ReLU.",
            "one formula for the whole scale-invariant class (appendix B)",
            _residual,
            _skewed_bars,
            note="It fails: a neuron that keeps its sign makes the mean of z_i^2 z_j one of order 1/n, which feeds the fluctuations of an activation that is neither odd nor even. With it the rate is nearly twice the formula's; see the next claim.",
        ),
        Claim(
            "residual-relu-with-third-moments",
            "With third moments followed too, the recursion tells ReLU's rate with residual connections.",
            "not in the book: derived here",
            _residual,
            _third_bars,
        ),
        Claim(
            "too-deep-for-the-width",
            "Beyond the best depth over width, trained networks of one recipe differ the more the deeper they are.",
            "fluctuations between instantiations dominate beyond r* (section 3.4, appendix A)",
            _aspect,
            _aspect_bars,
            note="Width 64 on digits; the spread is the standard deviation of the test loss over five networks a seed. At 64 layers ReLU hardly trains in 150 steps, and networks that learn nothing are alike.",
        ),
        Claim(
            "tanh-may-be-deeper",
            "At the same spread of the test loss, tanh networks may be four times as deep as ReLU's or more.",
            "r* is 0.12 for tanh and 0.016 for ReLU with ten outputs (appendix A)",
            _aspect,
            _same_spread,
            note="After a fixed number of steps the spread has more to do with how far training came than with how networks differed at the start.",
            scales=FULL,
        ),
        Claim(
            "residual-connections-let-deep-networks-train",
            "With the residual weight that the theory gives for the depth, the deepest networks reach a lower test loss than without.",
            "residual connections push the best depth to any (appendix B)",
            _aspect,
            _rescue_bars,
        ),
        Claim(
            "residual-connections-restore-the-spread",
            "With that weight the spread of the deepest networks is within 1.5 times that of networks of the best depth.",
            "the same r* is reached at any depth (appendix B)",
            _aspect,
            _narrow_bars,
            note="Direction only: the book has no such table. Depth over width is 1 here, outside the expansion, and the deep network is not trained as far.",
            scales=FULL,
        ),
        Claim(
            "one-rate-for-all-depths",
            "With learning rates by layer the best global rate does not depend on depth (within a factor of 2 from 4 to 32 layers); with the same rates in all layers it does (a factor of 4 or more).",
            "learning-rate equivalence for K* = 0 activations (section 9.4)",
            _rates,
            _rate_bars,
            note="tanh of width 128, plain SGD, which is what the rule is derived for; 100 steps. Depth over width reaches 1/4, where the best rate falls a little by itself.",
        ),
    ),
    snippet="""from torch import nn
from ordinate.analyze.aspect_ratio import optimal_depth
from ordinate.analyze.critical_init import critical_init_
from ordinate.analyze.criticality import find_criticality

report = find_criticality("gelu")              # or your own function or module
print(report.kind, report.C_b, report.C_W)     # half_stable 0.1729 1.9831
model = critical_init_(nn.Sequential(nn.Linear(64, 256), nn.GELU(), nn.Linear(256, 10)), "gelu")
print(optimal_depth(256, 10, report))          # 4.2 layers
""",
    outside="Convolutions and transformers are outside the book. Gradient-descent dynamics at order 1/n beyond the tangent kernel's differential (chapter infinity of the book) are not followed.",
)
