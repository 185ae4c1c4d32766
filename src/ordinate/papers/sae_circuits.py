"""Circuits identified by the discrete codes of sparse autoencoders."""

from functools import partial

from ordinate.analyze.circuit_codes import Autoencoding
from ordinate.experiment.claim import Claim, gain, level, ratio
from ordinate.experiment.comparison import Comparison
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm
from ordinate.tasks.circuit_edges import EdgeRecovery
from ordinate.tasks.circuits import ByCodes, CircuitRecovery, Compiled, Planted, TrainedInduction

__all__ = ["PAPER"]

FULL = ("full", "gpu")
SEEDS = 8
PLANTED = "A planted induction circuit of two heads among twelve (3 layers, width 128, 24 tokens), 250 pairs of prompts, five autoencoders a model; their AUC is averaged, as the trials of the repository are"
COMPILED = "The circuit is a head that counts, an MLP that turns the count into a place and a head that fetches, among fifteen nodes (three layers of four heads and an MLP); all others are random and read by nobody. On negatives the marker is missing by whose share of attention the count is known. The circuit's nodes say little and always the same, so that they have few codes: their number is small beside that of random heads, and is telling over all of a head's codes (`codes, normalised`). Patching by runs finds all three; gradients do not pass the hard attention."
FEWER = PLANTED.replace("five", "three")


def _circuit(setting: Setting) -> Planted:
    return Planted(pairs=setting.pick(smoke=40, full=250), layers=setting.pick(smoke=2, full=3))


def _planted(setting: Setting) -> Comparison:
    """One planted circuit a seed, all methods that take seconds."""
    task = CircuitRecovery(_circuit(setting))
    names = setting.pick(
        smoke=("codes, one autoencoder", "codes, edges", "output norm"),
        full=(
            "codes",
            "codes, edges",
            "codes, matched sizes",
            "output norm",
            "mean difference",
            "activation patching",
            "attribution patching",
            "HISP",
        ),
    )
    return Comparison("planted", task, [task.arm(name) for name in names], seeds=setting.pick(smoke=1, full=SEEDS))


def _slow(setting: Setting) -> Comparison:
    """The same beside the methods that take minutes, and further readings of the codes."""
    task = CircuitRecovery(_circuit(setting))
    names = ("codes, one autoencoder", "codes, last token", "codes, normalised", "edge pruning", "subnetwork probing")
    return Comparison("slow-methods", task, [task.arm(name) for name in names], seeds=3)


def _edges(setting: Setting) -> Comparison:
    """The same circuits, by their edges."""
    task = EdgeRecovery(_circuit(setting))
    return Comparison("edges", task, [task.arm(name) for name in ("codes", "output norm")], seeds=setting.pick(smoke=1, full=5))


def _trained(setting: Setting) -> Comparison:
    """One trained transformer a seed, its circuit by ablation."""
    task = CircuitRecovery(TrainedInduction())
    names = ("codes", "codes, edges", "output norm", "activation patching", "attribution patching", "HISP")
    return Comparison("trained", task, [task.arm(name) for name in names], seeds=5)


def _program(program: str, setting: Setting) -> Comparison:
    """A program whose weights are written down, among random heads that differ by seed."""
    task = CircuitRecovery(Compiled(program))
    names = (
        "codes",
        "codes, edges",
        "codes, normalised",
        "output norm",
        "mean difference",
        "activation patching",
        "attribution patching",
        "HISP",
    )
    return Comparison(program, task, [task.arm(name) for name in names], seeds=3)


def _reverse(setting: Setting) -> Comparison:
    return _program("reverse", setting)


def _sort(setting: Setting) -> Comparison:
    return _program("sort", setting)


def _varied(name: str, setting: Setting, plans: dict[str, Autoencoding]) -> Comparison:
    count = setting.pick(smoke=2, full=3)
    arms = [Arm(title, partial(ByCodes, how, autoencoders=count), role="ablation") for title, how in plans.items()]
    return Comparison(name, CircuitRecovery(_circuit(setting)), arms, seeds=setting.pick(smoke=1, full=SEEDS))


def _examples(setting: Setting) -> Comparison:
    counts = setting.pick(smoke=(5, 50), full=(5, 200))
    return _varied("examples", setting, {f"{count} examples": Autoencoding(examples=count) for count in counts})


def _features(setting: Setting) -> Comparison:
    return _varied("features", setting, {f"{count} features": Autoencoding(features=count) for count in (10, 50, 200)})


PAPER = Paper(
    slug="sae-circuits",
    title="Sparse Autoencoders Enable Scalable and Reliable Circuit Identification in Language Models",
    authors="Charles O'Neill, Thang Bui",
    year=2024,
    venue="arXiv 2024",
    arxiv="2405.12522",
    code="github.com/charlieoneill11/sae-circuits",
    room="analyze",
    summary=(
        "Which attention heads implement a behaviour? Their outputs are collected on prompts that show it and on prompts that cannot; one small sparse autoencoder is trained on ten of these; every output becomes the number of its strongest "
        "feature; and a head scores by the codes that occur on the first prompts alone. No ablation is needed, and the ranking takes seconds."
    ),
    provides=(
        Part("a transformer's heads and MLPs as nodes, and their outputs", "ordinate.analyze.head_outputs:HeadedModel"),
        Part("sparse autoencoder of heads' outputs", "ordinate.models.sparse_autoencoder:CircuitSAE"),
        Part("codes, and scores of nodes and edges by them", "ordinate.analyze.circuit_codes:node_scores"),
        Part("a circuit from a model and two sets of prompts", "ordinate.analyze.circuits:find_circuit"),
        Part("ablation, activation patching, attribution patching, HISP", "ordinate.analyze.head_patching:activation_patching"),
        Part("automatic circuit discovery by pruning edges", "ordinate.analyze.edge_pruning:edge_pruning"),
        Part("subnetwork probing", "ordinate.analyze.subnetwork_probing:subnetwork_probing"),
        Part("ROC curves, faithfulness and completeness of a ranking", "ordinate.analyze.circuit_evaluation:evaluate_circuit"),
        Part("contrasts of prompts, and how much the right answer is preferred", "ordinate.data.contrasts:Contrast"),
        Part("indirect objects, greater-than and docstrings, for any tokenizer", "ordinate.data.circuit_prompts:indirect_objects"),
        Part("repeated tokens", "ordinate.data.repeated_tokens:repeated_tokens"),
        Part("circuits as sets of edges, and what the best of them keep", "ordinate.analyze.edge_circuits:edge_faithfulness"),
        Part("a planted induction circuit", "ordinate.models.planted_induction:planted_induction"),
        Part("reversing and sorting as exact transformers", "ordinate.models.programs.counted:compiled_circuit"),
        Part("sequences to reverse and to sort", "ordinate.data.program_prompts:program_prompts"),
        Part("circuit recovery task", "ordinate.tasks.circuits:CircuitRecovery"),
        Part("edge recovery task", "ordinate.tasks.circuit_edges:EdgeRecovery"),
    ),
    claims=(
        Claim(
            name="known-heads",
            statement="Heads ranked by the codes of an autoencoder trained on 10 examples are those of the known circuit, and the ranking is more than one by the size of the outputs.",
            published="mean AUC of 10 trials, GPT-2 small, by nodes: indirect objects 0.868, greater-than 0.855; docstring 0.869 (repository)",
            comparison=_planted,
            bars=lambda setting: [level("codes", "AUC", at_least=0.85), gain("codes", "output norm", "AUC", at_least=0.05)],
            note=f"{PLANTED}. The paper has no control by size. AUCs move by several hundredths from autoencoder to autoencoder. The noise of the other heads is the loudest at which the model makes no mistake, and was set in sight of pilots: with less of it codes and sizes both rank nearly without a mistake. Patching, by runs or by gradients, finds both planted heads every time, in less time: what codes spare is the metric, and pairs of equal length. Eight seeds leave the mean, 0.84, on the bar of 0.85.",
            scales=FULL,
        ),
        Claim(
            name="known-heads-by-edges",
            statement="So are heads ranked by the ends of the edges whose pairs of codes occur on positive prompts alone.",
            published="mean AUC of 10 trials, by edges: indirect objects 0.840, greater-than 0.873, docstring 0.896 (repository)",
            comparison=_planted,
            bars=[level("codes, edges", "AUC", at_least=0.85), gain("codes, edges", "output norm", "AUC", at_least=0.05)],
            note=PLANTED,
        ),
        Claim(
            name="beyond-size",
            statement="The ranking does not live on the heads' sizes: with all outputs brought to the same size first it still finds the known heads.",
            published="not reported",
            comparison=_planted,
            bars=[level("codes, matched sizes", "AUC", at_least=0.85)],
            note=f"{PLANTED}. Larger outputs spread over more codes; how much of the ranking is that, the paper does not ask.",
            scales=FULL,
        ),
        Claim(
            name="faithful",
            statement="The best heads alone keep more of the accuracy than heads in random order.",
            published="shown as curves, without figures",
            comparison=_planted,
            bars=[level("codes", "over random", at_least=0.2)],
            note=f"{PLANTED}. The others have their mean over all prompts in place; the area is over the number of heads kept. With two heads among twelve, random orders have both late.",
            scales=FULL,
        ),
        Claim(
            name="faithful-by-edges",
            statement="So do the best edges alone, against edges in random order.",
            published="shown as curves, without figures",
            comparison=_edges,
            bars=[level("codes", "over random", at_least=0.2)],
            note=f"{PLANTED}; the edges' scores are the mean over them. An edge that is not kept carries what its source adds on the negative; a head keeps its edge to the output as soon as one of its edges is kept. One edge of 48 is the circuit's.",
            scales=FULL,
        ),
        Claim(
            name="trained-circuit",
            statement="In a transformer that was trained, the ranking by codes finds the heads whose ablation costs accuracy.",
            published="GPT-2 small, by nodes: 0.868 and 0.855; 4-layer docstring model 0.869 (repository)",
            comparison=_trained,
            bars=[level("codes", "AUC", at_least=0.85), gain("codes", "output norm", "AUC", at_least=0.05)],
            note="Three layers of four heads, width 64, relative positions, trained here for 1,000 steps on repeated tokens with periods of 5 to 11; a head is in the circuit if its mean-ablation costs a tenth of the answers. The ranking is good for some seeds and worse than chance for others. It may be that prompts which differ in their first half set the means of all heads apart. Activation patching does best, which is near to the ablation that defines the circuit.",
            scales=FULL,
        ),
        Claim(
            name="compiled-reverse",
            statement="In a transformer that reverses sequences by construction, the ranking by codes finds the heads and the MLP that do it.",
            published="compiled programs stand among the models of the repository's figures, without numbers",
            comparison=_reverse,
            bars=[level("codes", "AUC", at_least=0.85)],
            note=COMPILED,
            scales=FULL,
        ),
        Claim(
            name="compiled-sort",
            statement="So it does in one that sorts.",
            published="compiled programs stand among the models of the repository's figures, without numbers",
            comparison=_sort,
            bars=[level("codes", "AUC", at_least=0.85)],
            note=COMPILED,
            scales=FULL,
        ),
        Claim(
            name="few-examples",
            statement="Five examples to train the autoencoder on are enough; with the same number of steps, more do not help.",
            published="AUC by nodes at 5, 10, 25, 50, 100 and 250 examples: indirect objects 0.879, 0.868, 0.838, 0.831, 0.814, 0.779; greater-than 0.861, 0.850, 0.824, 0.826, 0.723, 0.679; docstring flat (repository)",
            comparison=_examples,
            bars=lambda setting: [gain("5 examples", f"{setting.pick(smoke=50, full=200)} examples", "AUC", at_least=-0.03)],
            note=FEWER,
        ),
        Claim(
            name="enough-features",
            statement="The number of features matters little once it is large: more of them never cost much.",
            published="from 5 to 250 features: indirect objects 0.776 to 0.834, greater-than 0.559 to 0.845, docstring 0.772 to 0.848 (repository)",
            comparison=_features,
            bars=[gain("50 features", "10 features", "AUC", at_least=-0.03), gain("200 features", "50 features", "AUC", at_least=-0.03)],
            scales=FULL,
            note=f"{FEWER}. The bars ask that more features cost nothing; between 10 and 200 they gain much.",
        ),
        Claim(
            name="seconds-not-hours",
            statement="Ranking by codes takes a small part of the time that pruning edges takes.",
            published="seconds in place of hours",
            comparison=_slow,
            bars=[ratio("edge pruning", "codes, one autoencoder", "seconds", at_least=20)],
            scales=FULL,
            note=f"{PLANTED}. One autoencoder, as in the paper; the same 250 pairs for both. Edge pruning has seven thresholds and 60 edges, each of them a run of the model: with 144 heads there are 10,000. Five autoencoders, as the other claims use, take about three times as long as one. Up to a factor of four of pruning's time may be this implementation of it, which carries a copy of the stream for every reader.",
        ),
        Claim(
            name="beside-pruning",
            statement="The ranking by codes is about as good as those by pruning edges and by subnetwork probing.",
            published="nodes, codes against edge pruning and subnetwork probing (divergence): indirect objects 0.868, 0.873, 0.852; greater-than 0.855, 0.890, 0.838; docstring 0.869, 0.391, 0.928 (the two repositories)",
            comparison=_slow,
            bars=[
                gain("codes, one autoencoder", "edge pruning", "AUC", at_least=-0.05),
                gain("codes, one autoencoder", "subnetwork probing", "AUC", at_least=-0.05),
            ],
            scales=FULL,
            note="Three of the planted circuits, and one autoencoder for each. Nothing in them does the circuit's work a second time, so that pruning and probing rank them without a mistake.",
        ),
    ),
    snippet="""
from ordinate.analyze.circuits import find_circuit
from ordinate.data.repeated_tokens import repeated_tokens
from ordinate.models.planted_induction import planted_induction

planted = planted_induction(seed=0)                       # or any model of transformers of the families of GPT-2 and Llama
prompts = repeated_tokens(100)
found = find_circuit(planted.model, prompts.positives, prompts.negatives, autoencoders=2)
print(found.ranking()[:3], planted.roles)                 # names of heads with their scores; beside them what was planted
""",
    outside=(
        "The circuits of GPT-2 small and of the docstring model: their weights are not at hand; the prompts and the known heads are, in ordinate.data.circuit_prompts, for whoever has them. "
        "Programs as Tracr compiles them (ours are compiled by hand), and MLPs through transcoders, which a second repository of the author adds."
    ),
)
