"""The Principles of Deep Learning Theory: networks of finite width, from the initialisation that keeps signals alive to the depth that a width allows for."""

from collections.abc import Sequence
from functools import partial

from ordinate.analyze.criticality import find_criticality
from ordinate.experiment.claim import Bar, Claim, exact, gain, level, ratio
from ordinate.experiment.comparison import Comparison, Table
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm
from ordinate.experiment.trend import across, crossing, rising, spread
from ordinate.nn.activations import Activation
from ordinate.tasks.critical_points import KNOWN, CriticalPoints
from ordinate.tasks.deep_training import DeepPlan, DeepTraining, residual_weight
from ordinate.tasks.finite_width import FiniteWidth, FluctuationGrowth, RandomNets
from ordinate.tasks.signal_flow import SignalFlow

__all__ = ["PAPER"]

FOUR = ("tanh", "relu", "gelu", "silu")
QUANTITIES = ("K", "V", "Theta", "A", "B", "D", "F", "P", "Q")
GAMMA = 0.6
DEPTHS = {"smoke": (2, 12), "full": (2, 4, 8, 16, 32, 64), "gpu": (2, 4, 8, 16, 32, 64, 128)}
SHALLOW = {"smoke": (4, 16), "full": (4, 8, 16, 32), "gpu": (4, 8, 16, 32)}  # for the best learning rate
# What the recursion says of recipes far down: arm -> (metric, at least, at most); nothing is left of He's. A smoke run looks at the first four.
FATES: dict[str, tuple[str, float | None, float | None]] = {
    "gelu, He": ("deep kernel", None, None),
    "gelu": ("deep kernel", 3.56, 3.563),
    "tanh, C_b = 0.1": ("deep cosine", 0.9999, None),
    "tanh": ("deep cosine", 0.16, 0.2),
    "silu, He": ("deep kernel", None, None),
    "silu": ("deep kernel", 14.319, 14.321),
    "tanh, x 1.5": ("deep cosine", None, 0.001),
}


def _known(setting: Setting) -> Comparison:
    task = CriticalPoints()
    return Comparison("critical-points", task, [task.arm(name) for name in KNOWN], seeds=1)


def _band(setting: Setting) -> Comparison:
    depth, width = setting.pick(smoke=(12, 96), full=(50, 512), gpu=(100, 2048))
    task = SignalFlow(depth, width, draws=setting.pick(smoke=30, full=67))
    return Comparison("band", task, [task.arm(name) for name in FOUR], seeds=setting.pick(smoke=2, full=None))


def _beside(setting: Setting) -> Comparison:
    depth, width = setting.pick(smoke=(20, 96), full=(50, 512), gpu=(500, 2048))
    task = SignalFlow(depth, width, draws=setting.pick(smoke=4, full=10))
    names = [f"{name}, {recipe}" for name in _beside_names(setting) for recipe in ("x 0.8", "x 1.25", "torch default")]
    return Comparison("beside-criticality", task, [task.arm(name) for name in names], seeds=setting.pick(smoke=2, full=None))


def _recipes(setting: Setting) -> Comparison:
    depth, width = setting.pick(smoke=(8, 96), full=(20, 512), gpu=(50, 2048))
    task = SignalFlow(depth, width, draws=setting.pick(smoke=8, full=30), deep=setting.pick(smoke=100, full=300))
    return Comparison("recipes", task, [task.arm(name) for name in _fates(setting)], seeds=setting.pick(smoke=1, full=None))


def _ensembles(setting: Setting) -> Comparison:
    width, nets = setting.pick(smoke=(16, (8_000, 1_500, 300)), full=(32, (100_000, 20_000, 2_500)), gpu=(64, (400_000, 50_000, 5_000)))
    arms = [Arm("tanh", partial(RandomNets, Activation.of("tanh"), 0.05, 1.3, 1.35))]
    return Comparison("ensembles", FiniteWidth(width, 3, nets), arms, seeds=setting.pick(smoke=2, full=None))


def _growth(setting: Setting) -> Comparison:
    widths, nets = setting.pick(smoke=((16, 32), 1_500), full=((32, 64), 12_000), gpu=((32, 64, 128), 40_000))
    arms = [Arm(name, partial(RandomNets.critical, name)) for name in ("relu", "linear", "tanh")]
    return Comparison("growth", FluctuationGrowth(widths, 6, nets), arms, seeds=setting.pick(smoke=2, full=None))


def _residual(setting: Setting) -> Comparison:
    widths, nets = setting.pick(smoke=((32,), 1_500), full=((64, 128), 4_000), gpu=((128, 256), 10_000))
    arms = [Arm(name, partial(RandomNets.critical, name, GAMMA)) for name in ("linear", "abs", "relu")]
    return Comparison("residual-growth", FluctuationGrowth(widths, 8, nets, start=2), arms, seeds=setting.pick(smoke=2, full=None))


def _hundred(setting: Setting) -> Comparison:
    depth, width, steps = setting.pick(smoke=(24, 32, 40), full=(100, 200, 300), gpu=(500, 1024, 2000))
    rates = setting.pick(smoke=(0.005, 0.02), full=(0.0015, 0.003), gpu=(0.0003, 0.0006, 0.0012))
    factors = {"critical": 1.0, "x 0.8": 0.8, "x 1.25": 1.25}
    arms = [Arm(name, partial(DeepPlan.critical, "tanh", depth, rates, factor=factor)) for name, factor in factors.items()]
    arms.append(Arm("torch default", partial(DeepPlan, Activation.of("tanh"), depth, rates), role="baseline"))
    task = DeepTraining(width, members=1, steps=steps)
    return Comparison("hundred-layers", task, arms, seeds=setting.pick(smoke=1, full=None), title=f"{depth} layers of tanh on digits")


def _aspect(setting: Setting) -> Comparison:
    width, members, steps = setting.pick(smoke=(32, 3, 40), full=(64, 5, 150), gpu=(256, 10, 1000))
    depths, rates = DEPTHS[setting.scale], (0.003, 0.01, 0.03, 0.1)
    arms = []
    for name in ("tanh", "relu"):
        arms += [Arm(f"{name} {depth}", partial(DeepPlan.critical, name, depth, rates)) for depth in depths]
        gamma = residual_weight(name, depths[-1], width, outputs=10)
        plan = partial(DeepPlan.critical, name, depths[-1], rates, residual=gamma)
        arms.append(Arm(f"{name} {depths[-1]}, residual", plan, note=f"weight {gamma:.3f}"))
    return Comparison("aspect-ratio", DeepTraining(width, members, steps), arms, seeds=setting.pick(smoke=1, full=None))


def _rates(setting: Setting) -> Comparison:
    width, members, steps = setting.pick(smoke=(32, 1, 40), full=(128, 2, 100), gpu=(512, 4, 500))
    rates, depths = tuple(2.0**power for power in range(-1, 6)), SHALLOW[setting.scale]
    arms = [
        Arm(f"{rule} {depth}", partial(DeepPlan.critical, "tanh", depth, rates, rule=rule), {"momentum": 0.0})
        for rule in ("layer", "uniform")
        for depth in depths
    ]
    return Comparison("learning-rates", DeepTraining(width, members, steps), arms, seeds=setting.pick(smoke=1, full=None))


def _beside_names(setting: Setting) -> tuple[str, ...]:
    return setting.pick(smoke=("relu",), full=FOUR)


def _fates(setting: Setting) -> list[str]:
    return list(FATES)[: setting.pick(smoke=4, full=None)]


def _band_bars(setting: Setting) -> Sequence[Bar]:
    least = setting.pick(smoke=80, full=90)
    inside = [level(name, "inside", at_least=least, unit="%", label=f"mean squares of {name} inside the band") for name in FOUR]
    label = "error of the mean kernel of {}, beyond sampling's"
    return [*inside, *(level(name, "kernel error", at_most=1, unit="%", label=label.format(name)) for name in FOUR)]


def _critical_bars(setting: Setting) -> Sequence[Bar]:
    return [level(name, "gradient", at_least=-1, at_most=1, unit="decades", label=f"{name}, first layer over last") for name in FOUR]


def _beside_bars(setting: Setting) -> Sequence[Bar]:
    far = setting.pick(smoke=0.5, full=1.5, gpu=15)
    dying = ["relu, x 0.8", *(f"{name}, torch default" for name in _beside_names(setting))]
    bounds = [level(name, "gradient", at_most=-far, unit="decades") for name in dying]
    return [level("relu, x 1.25", "gradient", at_least=far, unit="decades"), *bounds]


def _recipe_bars(setting: Setting) -> Sequence[Bar]:
    bars = []
    for arm in _fates(setting):
        metric, low, high = FATES[arm]
        high = setting.pick(smoke=1e-20, full=1e-70) if arm.endswith("He") else high
        bars.append(exact(f"{metric} of {arm}", partial(Table.value, arm=arm, metric=metric), at_least=low, at_most=high))
        bars.append(level(arm, "cosine error", at_most=0.1, label=f"distance of networks from the recursion's cosine, {arm}"))
    return bars


def _ensemble_bars(setting: Setting) -> Sequence[Bar]:
    loose = 0.05 + 3 / setting.pick(smoke=16, full=32, gpu=64)
    low, high, label = 1 - loose, 1 + loose, "{}, measured over predicted"
    return [level("tanh", each, at_least=low, at_most=high, unit="x", label=label.format(each)) for each in QUANTITIES]


def _rate(arm: str, loose: float, formula: float | None = None) -> Bar:
    """The rate at which fluctuations grow in networks, over a formula's or else the recursion's, which must be 1 but for `loose`."""

    def over(table: Table) -> list[float]:
        return [row.metrics["rate"] / (formula or row.metrics["recursion"]) for row in table.of(arm)]

    return Bar(f"rate of {arm} in networks over the {'formula' if formula else 'recursion'}'s", over, 1 - loose, 1 + loose, "x")


def _growth_bars(setting: Setting) -> Sequence[Bar]:
    loose = setting.pick(smoke=0.3, full=0.1)
    far = exact("rate of tanh at layer 1000 over 2/3", lambda table: 1.5 * table.value("tanh", "asymptote"), at_least=0.999, at_most=1.001)
    return [_rate("relu", loose, 5.0), _rate("linear", loose, 2.0), _rate("tanh", loose), far]


def _residual_bars(setting: Setting, *names: str) -> Sequence[Bar]:
    formula = {name: find_criticality(name).with_residual(GAMMA, skewed=False).nu for name in names}
    return [_rate(name, setting.pick(smoke=0.4, full=0.1), rate) for name, rate in formula.items()]


def _hundred_bars(setting: Setting) -> Sequence[Bar]:
    if setting.scale == "smoke":
        return [gain("critical", over, "train accuracy", at_least=10, unit="%") for over in ("x 0.8", "torch default")]
    low = [level(name, "train accuracy", at_most=50, unit="%") for name in ("x 0.8", "torch default")]
    return [level("critical", "train accuracy", at_least=90, unit="%"), *low]


def _aspect_bars(setting: Setting) -> Sequence[Bar]:
    if setting.scale == "smoke":
        return [ratio("relu 12", "relu 2", "spread", at_least=1)]
    beyond = {"tanh": DEPTHS[setting.scale][2:], "relu": DEPTHS[setting.scale]}  # r*
    label = "rank correlation of depth and spread, {}, beyond r*"
    return [rising(label.format(name), {f"{name} {depth}": depth for depth in beyond[name]}, "spread", at_least=0.8) for name in beyond]


def _same_spread_bars(setting: Setting) -> Sequence[Bar]:
    depths = DEPTHS[setting.scale]
    chosen, tanh = depths[len(depths) // 3], [f"tanh {depth}" for depth in depths]

    def times(table: Table) -> list[float]:
        wanted = table.values(f"relu {chosen}", "spread")
        return [crossing(depths, each, limit) / chosen for each, limit in zip(across(table, tanh, "spread"), wanted, strict=True)]

    return [Bar(f"depth of tanh over that of relu, {chosen}, at the same spread", times, at_least=4, unit="x")]


def _rescue_bars(setting: Setting) -> Sequence[Bar]:
    deepest, most = DEPTHS[setting.scale][-1], setting.pick(smoke=0.5, full=-0.3)
    return [gain(f"{name} {deepest}, residual", f"{name} {deepest}", "test loss", at_most=most, unit="nats") for name in ("tanh", "relu")]


def _narrow_bars(setting: Setting) -> Sequence[Bar]:
    deepest = DEPTHS[setting.scale][-1]
    best = setting.pick(smoke={"tanh": 2, "relu": 2}, full={"tanh": 8, "relu": 2}, gpu={"tanh": 32, "relu": 4})
    return [ratio(f"{name} {deepest}, residual", f"{name} {best[name]}", "spread", at_most=1.5) for name in best]


def _rate_bars(setting: Setting) -> Sequence[Bar]:
    layer, uniform = ([f"{rule} {depth}" for depth in SHALLOW[setting.scale]] for rule in ("layer", "uniform"))
    return [
        spread("largest over smallest best rate, by layers", layer, "best rate", at_most=2),
        spread("largest over smallest best rate, uniform", uniform, "best rate", at_least=setting.pick(smoke=1, full=4)),
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
            note="tanh of width 200, 300 steps of SGD with momentum, the best of two rates. At width 100 (depth over width 1) some seeds do not train in 600 steps, as the theory has it: too deep for the width.",
        ),
        Claim(
            "beside-it-on-the-other-side",
            "With weights 1.25 times as large in variance as at criticality, a hundred layers of tanh do not train either.",
            "anything off criticality is exponential in depth (chapter 3)",
            _hundred,
            [level("x 1.25", "train accuracy", at_most=50, unit="%")],
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
            lambda setting: _residual_bars(setting, "linear", "abs"),
            note=f"gamma = {GAMMA}; the formula was taken from restatements of the book.",
        ),
        Claim(
            "residual-connections-slow-relu",
            "The same formula holds for ReLU.",
            "one formula for the whole scale-invariant class (appendix B)",
            _residual,
            lambda setting: _residual_bars(setting, "relu"),
            note="It fails: a neuron that keeps its sign makes the mean of z_i^2 z_j one of order 1/n, which feeds the fluctuations of an activation that is neither odd nor even. With it, the recursion here gives nearly twice the formula's rate, and networks show that.",
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
            _same_spread_bars,
            note="After a fixed number of steps the spread has more to do with how far training came than with how networks differed at the start.",
            scales=("full", "gpu"),
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
            scales=("full", "gpu"),
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
