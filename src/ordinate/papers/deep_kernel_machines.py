"""Deep kernel machines: infinitely wide networks whose kernels still learn."""

from collections.abc import Sequence

from ordinate.data.tabular import open_tabular
from ordinate.experiment.claim import Bar, Claim, exact, gain, level, ratio
from ordinate.experiment.comparison import Comparison, Table
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.experiment.trend import rising
from ordinate.tasks.inducing_limit import InducingLimit
from ordinate.tasks.kernel_cost import GROWING, KernelCost
from ordinate.tasks.relative_width import RelativeWidth
from ordinate.tasks.tables import Tables
from ordinate.tasks.tabular import TabularTask
from ordinate.tasks.wide_limit import WideLimit

__all__ = ["PAPER"]

UCI = ("boston", "concrete", "energy", "yacht")
SCORES = {"breast-cancer": "accuracy", "diabetes": "rmse", "digits": "accuracy", "wine": "accuracy"}
OTHERS = ("gp", "svm", "ridge")
WIDTHS = {"nu = 100": -2, "nu = 10": -1, "nu = 1": 0, "nu = 0.1": 1}
TUNED = "every arm chooses among as many candidates on a held-out fifth of its training rows"


def _tables(names: Sequence[str], *, rows: int | None, steps: int, candidates: int) -> Tables:
    return Tables([TabularTask(open_tabular(name), steps=steps, candidates=candidates, most_rows=rows) for name in names])


def _limit(setting: Setting) -> Comparison:
    draws, wide = setting.pick(smoke=15, full=150, gpu=400), setting.pick(smoke=(8, 32), full=(8, 32, 128), gpu=(8, 32, 128, 512))
    task = WideLimit(points=5, chains=setting.pick(smoke=32, full=64), warmup=setting.pick(smoke=20, full=100), draws=draws)
    names = [str(width) for width in wide] + [f"{width} once" for width in (wide[0], wide[-1])]
    return Comparison("wide-limit", task, [task.arm(name) for name in names], seeds=setting.pick(smoke=1, full=None))


def _widths(setting: Setting) -> Comparison:
    task = RelativeWidth(rows=setting.pick(smoke=15, full=40, gpu=100))
    names = ["nu = 1e6", *(WIDTHS if setting.scale != "smoke" else ("nu = 10", "nu = 0.1"))]
    return Comparison("relative-width", task, [task.arm(name) for name in names], seeds=setting.pick(smoke=1, full=None))


def _inducing(setting: Setting) -> Comparison:
    rows = setting.pick(smoke=16, full=40, gpu=100)
    task = InducingLimit(rows=rows)
    return Comparison("inducing-limit", task, [task.arm(str(rows // part)) for part in (4, 2, 1)], seeds=setting.pick(smoke=1, full=None))


def _cost(setting: Setting) -> Comparison:
    exact_rows = setting.pick(smoke=(64, 128, 256), full=(256, 512, 1024), gpu=(512, 1024, 2048))
    rows = setting.pick(smoke=(500, 1000, 2000), full=(1000, 2000, 4000), gpu=(8000, 16000, 32000))
    task = KernelCost(exact=exact_rows, rows=rows, inducing=setting.pick(smoke=(16, 32, 64), full=(64, 128, 256, 512)), repeats=3)
    return Comparison("cost", task, [task.arm(name) for name in GROWING], seeds=setting.pick(smoke=1, full=3))


def _uci(setting: Setting) -> Comparison:
    """The machine, its NNGP and its maximum a posteriori on the same splits."""
    rows, steps = setting.pick(smoke=(60, 20), full=(250, 150), gpu=(900, 400))
    task = _tables(_uci_names(setting), rows=rows, steps=steps, candidates=setting.pick(smoke=2, full=4))
    return Comparison("representation", task, [task.arm(name) for name in ("dkm", "nngp", "map")], seeds=setting.pick(smoke=1, full=None))


def _digits(setting: Setting) -> Comparison:
    rows, steps = setting.pick(smoke=(200, 20), full=(None, 300))
    task = _tables(["digits"], rows=rows, steps=steps, candidates=2)
    return Comparison("digits", task, [task.arm(name) for name in ("dkm", "nngp")], seeds=setting.pick(smoke=1, full=3))


def _small(setting: Setting) -> Comparison:
    rows, steps = setting.pick(smoke=(60, 20), full=(300, 150))
    names = setting.pick(smoke=("diabetes", "wine"), full=tuple(SCORES))
    task = _tables(names, rows=rows, steps=steps, candidates=setting.pick(smoke=2, full=3))
    return Comparison("small-tables", task, [task.arm(name) for name in ("dkm", *OTHERS)], seeds=setting.pick(smoke=1, full=3))


def _uci_names(setting: Setting) -> tuple[str, ...]:
    return setting.pick(smoke=("diabetes",), full=UCI)  # what needs no download, where time is short


def _limit_bars(setting: Setting) -> Sequence[Bar]:
    widest = setting.pick(smoke="32", full="128", gpu="512")

    def times(table: Table) -> list[float]:
        return [row.metrics["learnt"] / row.metrics["error"] for row in table.of(widest)]

    return [
        level(widest, "error", at_most=0.02, label=f"distance from the machine's optimum at width {widest}"),
        ratio(widest, "8", "error", at_most=0.5, label=f"distance at width {widest} over that at 8"),
        Bar(f"distance of the NNGP over that at width {widest}", times, at_least=10, unit="x"),
        level(widest, "excess", at_most=0.1, label=f"excess of features' fourth moments over a Gaussian's 3, at width {widest}"),
    ]


def _usual_bars(setting: Setting) -> Sequence[Bar]:
    widest = setting.pick(smoke="32", full="128", gpu="512")
    return [
        level(f"{widest} once", "nngp error", at_most=0.02, label=f"distance from the inputs' kernel at width {widest}"),
        ratio(f"{widest} once", "8 once", "nngp error", at_most=0.5, label=f"distance at width {widest} over that at 8"),
    ]


def _width_bars(setting: Setting) -> Sequence[Bar]:
    tied = level("nu = 1e6", "from nngp", at_most=1e-4, label="largest difference from the NNGP at nu = 1e6")
    if setting.scale == "smoke":
        return [tied]
    return [
        rising("rank correlation of -log nu and the distance from the kernels below", WIDTHS, "distance", at_least=0.999),
        rising("rank correlation of -log nu and the fit to the training targets", WIDTHS, "fit", at_least=0.999),
        tied,
    ]


def _inducing_bars(setting: Setting) -> Sequence[Bar]:
    rows = setting.pick(smoke=16, full=40, gpu=100)
    return [
        level(str(rows), "gap", at_most=1e-4, unit="nats", label="objectives' difference a row with all rows inducing"),
        level(str(rows), "prediction gap", at_most=1e-3, label="largest difference of predictions, in standard deviations"),
        gain(
            str(rows // 2), str(rows // 4), "gap", at_most=0, unit="nats", label="difference with half of the rows less that with a quarter"
        ),
    ]


def _cost_bars(setting: Setting) -> Sequence[Bar]:
    rows, points = "sparse, rows", "sparse, inducing points"
    return [
        level("exact, rows", "exponent", at_least=2.3, at_most=3.3, label="exponent of the rows, exact"),
        level(rows, "exponent", at_most=1.15, label="exponent of the rows, with inducing points"),
        level(rows, "doubling", at_most=2.3, unit="x", label="time with twice the rows, with inducing points"),
        level(points, "exponent", at_least=1.3, at_most=2.3, label="exponent of the inducing points"),
    ]


def _means(table: Table, metric: str, arm: str, over: str) -> float:
    """The mean of one arm over that of another."""
    return table.value(arm, metric) / table.value(over, metric)


def _representation_bars(setting: Setting) -> Sequence[Bar]:
    names = _uci_names(setting)
    bars = [ratio("dkm", "nngp", f"rmse@{name}", at_most=1.02, label=f"error over the NNGP's on {name}") for name in names]
    if setting.scale == "smoke":
        return bars
    lower = exact(
        "problems on which the mean error is at most 0.95 of the NNGP's",
        lambda table: sum(_means(table, f"rmse@{name}", "dkm", "nngp") <= 0.95 for name in names),
        at_least=2,
    )
    return [lower, *bars]


def _prior_bars(setting: Setting) -> Sequence[Bar]:
    names = _uci_names(setting)

    def better(table: Table) -> list[float]:
        pairs = [zip(table.values("dkm", f"nll@{name}"), table.values("map", f"nll@{name}"), strict=True) for name in names]
        return [float(sum(ours < theirs for ours, theirs in seed)) for seed in zip(*pairs, strict=True)]

    return [Bar(f"of {len(names)} problems, those with the higher test likelihood", better, at_least=setting.pick(smoke=1, full=3))]


def _small_bars(setting: Setting) -> Sequence[Bar]:
    bars = []
    for other in OTHERS:
        for name in setting.pick(smoke=("diabetes", "wine"), full=tuple(SCORES)):
            if SCORES[name] == "rmse":
                bars.append(ratio("dkm", other, f"rmse@{name}", at_most=1.05, label=f"error on {name} over {other}'s"))
            else:
                label = f"accuracy on {name} less {other}'s"
                bars.append(gain("dkm", other, f"accuracy@{name}", at_least=-2, unit="%", label=label))
    return bars


PAPER = Paper(
    slug="deep-kernel-machines",
    title="A theory of representation learning gives a deep generalisation of kernel methods",
    authors="Adam X. Yang, Maxime Robeyns, Edward Milsom, Ben Anson, Nandi Schoots, Laurence Aitchison",
    year=2023,
    venue="ICML 2023",
    arxiv="2108.13097",
    code=None,
    room="models",
    summary="Infinitely wide Bayesian networks have fixed kernels: nothing is learnt in between. Observing the targets as often as the network is wide gives another limit, in which the layers' Gram matrices are still deterministic "
    "but maximise the likelihood less their divergence from the kernels below. Used as a model, with the Gram matrices as parameters, that is a deep kernel machine; with inducing points it is linear in the data.",
    provides=(
        Part("deep kernel machine", "ordinate.models.deep_kernel_machine:DeepKernelMachine"),
        Part("the same with inducing points", "ordinate.models.sparse_deep_kernel_machine:SparseDeepKernelMachine"),
        Part("regressor with scikit-learn's manners", "ordinate.models.kernel_estimators:DeepKernelRegressor"),
        Part("classifier with them", "ordinate.models.kernel_estimators:DeepKernelClassifier"),
        Part("optimum of deep linear machines", "ordinate.models.deep_kernel_machine:deep_linear_solution"),
        Part("kernels of Gram matrices", "ordinate.nn.gram_kernels:GramKernel"),
        Part("layers that hold a Gram matrix", "ordinate.nn.gram_layer:GramLayer"),
        Part("divergence of Gram matrices", "ordinate.nn.gaussian_divergence:gaussian_kl"),
        Part("output with inducing points", "ordinate.nn.inducing_output:InducingOutput"),
        Part("deep Gaussian process of finite width", "ordinate.models.deep_gp:DeepGaussianProcess"),
        Part("Hamiltonian Monte Carlo, many chains at once", "ordinate.generate.hamiltonian:sample_hamiltonian"),
        Part("calibration", "ordinate.analyze.calibration:expected_calibration_error"),
        Part("tables as a task", "ordinate.tasks.tables:Tables"),
    ),
    claims=(
        Claim(
            "posterior-in-the-limit",
            "As a deep Gaussian process widens, with its targets observed as often as it is wide, the posterior of its Gram matrix concentrates on the machine's optimum and its features become Gaussian.",
            "the Bayesian representation learning limit, shown by sampling at widths up to 2048",
            _limit,
            _limit_bars,
            note="One hidden layer on 5 rows of the diabetes table, squared exponential kernels. Where a problem has a second maximum (see one-optimum) chains may stay at it, and the mean with them.",
        ),
        Claim(
            "usual-limit",
            "Observed once, the targets leave no trace: the posterior mean of the Gram matrix tends to the kernel of the inputs.",
            "the NNGP limit, in which representations are fixed",
            _limit,
            _usual_bars,
        ),
        Claim(
            "one-optimum",
            "The machine's objective has one maximum: random starts end at the same value.",
            "the limit has one Gram matrix a layer, and the machine's optimum is it",
            _limit,
            [level("8", "starts", at_most=1e-6, unit="nats", label="largest difference over three starts")],
            note="Not every problem has one: of thirty of 5 random points with squared exponential kernels three had a second maximum, 0.02 to 0.2 nats lower, that a start away from the NNGP could end at.",
        ),
        Claim(
            "relative-width",
            "The relative width nu interpolates between the NNGP and a free representation: as it falls the Gram matrices move further from the kernels below and the training targets are fitted better.",
            "nu weighs the divergence of each layer; to infinity it is the NNGP",
            _widths,
            _width_bars,
            note="40 rows of the diabetes table, two learned layers, every optimum to working precision, the kernels' own numbers held.",
        ),
        Claim(
            "inducing-points-converge",
            "With more inducing points the sparse objective goes to the exact one, and with all rows inducing it is the exact one.",
            "sparse deep kernel machines extend the inducing points of Gaussian processes",
            _inducing,
            _inducing_bars,
        ),
        Claim(
            "cost",
            "A step of the exact machine costs the cube of the rows; with inducing points it is linear in the rows and at most quadratic in the points.",
            "O(L P^3), and O(L (P_i^3 + P_i^2 P)) with inducing points",
            _cost,
            _cost_bars,
            note="One learned layer in float64. Element-wise work, which is linear in the inducing points, keeps the last exponent below 2 at these sizes. The machine was busy with other work while this was timed, and times of short steps spread widely.",
        ),
        Claim(
            "representations-help",
            "Learning the representation at infinite width lowers the test error on small regression problems from that of the NNGP.",
            "better than the NNGP on UCI problems (the paper's table is not at hand)",
            _uci,
            _representation_bars,
            note=f"Four UCI problems, the standard splits, at most 250 training rows, one learned layer; {TUNED}. In pilots neither was ahead on every split: 50 held-out rows choose relative widths and relevances with much noise, and with one target there is little to learn a representation from.",
        ),
        Claim(
            "divergences-help",
            "The divergences from the kernels below make for better test likelihoods than maximum a posteriori, which drops them, on three of four problems or more.",
            "better than MAP (the paper's table is not at hand)",
            _uci,
            _prior_bars,
            note="The same runs.",
        ),
        Claim(
            "digits",
            "With inducing points and a softmax a deep kernel machine reads handwritten digits, better than its NNGP.",
            "sparse deep kernel machines as classifiers (the paper's figures are not at hand)",
            _digits,
            lambda setting: [
                level("dkm", "accuracy@digits", at_least=96, unit="%"),
                gain("dkm", "nngp", "accuracy@digits", at_least=0.5, unit="%"),
            ],
            note=f"scikit-learn's digits, 128 inducing points, 300 steps; {TUNED}.",
        ),
        Claim(
            "small-tables",
            "On scikit-learn's tables a deep kernel machine is about as good as a Gaussian process, a support vector machine and a linear model.",
            "not in the paper: asked of it here",
            _small,
            _small_bars,
            note=f"At most 300 training rows; {TUNED}. Likelihood and calibration of every arm are in the table.",
        ),
    ),
    snippet="""from sklearn.datasets import load_diabetes
from sklearn.model_selection import train_test_split
from ordinate.models.kernel_estimators import DeepKernelRegressor

x, y = load_diabetes(return_X_y=True)
x, tests, y, truth = train_test_split(x[:200], y[:200], random_state=0)
machine = DeepKernelRegressor(depth=1, nu=100.0, steps=50).fit(x, y)     # nu=inf: the NNGP; depth=0: a Gaussian process
mean, deviation = machine.predict(tests, return_std=True)
print(machine.score(tests, truth), machine.machine_.grams[0].shape)
""",
    outside="Bayesian networks whose features are not Gaussian, by normalising flows (the paper's appendix), are not built. The larger UCI problems and convolutional machines (a later paper) are beyond this one's scales.",
)
