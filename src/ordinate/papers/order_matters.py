"""Order Matters: sets in without an order, sequences out in the order that is easiest to learn."""

from collections.abc import Sequence
from math import lgamma

from ordinate.data.words import open_words
from ordinate.experiment.claim import Bar, Claim, exact, gain, level, ratio
from ordinate.experiment.comparison import Comparison, Table
from ordinate.experiment.paper import Paper, Part
from ordinate.experiment.setting import Setting
from ordinate.tasks.input_orders import InputOrders
from ordinate.tasks.language_orders import LanguageOrders
from ordinate.tasks.order_search import OrderedNGrams
from ordinate.tasks.parsing import Parsing
from ordinate.tasks.sorting import Sorting, SortingArm
from ordinate.tasks.star import Star

__all__ = ["PAPER"]

RECIPE = "64 units and Adam at one learning rate for all arms; the paper gives neither widths nor rates"
GRAMS = "5-grams of tinyshakespeare, vocabulary 500, 128 units, 1,000 steps of 64, of which 150 in uniform orders"


def _sorting(setting: Setting, n: int, steps: int) -> Sorting:
    return Sorting(
        (n, n),
        within=(n,),
        steps=steps,
        batch_size=setting.pick(smoke=64, full=128),
        lr=setting.pick(smoke=4e-3, full=2e-3, gpu=1e-3),
        dim=setting.pick(smoke=48, full=64, gpu=128),
        tested=setting.pick(smoke=200, full=1_000, gpu=10_000),
    )


def _few(setting: Setting) -> Comparison:
    """Five numbers (three at smoke): readers with and without a glimpse, and what they are taught and given."""
    task = _sorting(setting, setting.pick(smoke=3, full=5), setting.pick(smoke=120, full=800, gpu=10_000))
    names = setting.pick(
        smoke=("process-0", "process-1", "lstm"),
        full=("process-0", "process-1", "lstm", "process-0-glimpse", "lstm-glimpse"),
    )
    shuffled = SortingArm(
        "random-order", task.arm("process-1").make, role="ablation", note="any of the n! orders, drawn anew for every set", order="random"
    )
    presorted = SortingArm(
        "presorted-lstm",
        task.arm("lstm").make,
        {"steps": task.steps // 2},
        role="ablation",
        note="its numbers are given in ascending order; half as many steps",
        presorted=True,
    )
    return Comparison("sorting-few", task, [*map(task.arm, names), shuffled, presorted], seeds=setting.pick(smoke=1, full=3))


def _more(setting: Setting) -> Comparison:
    """Ten numbers."""
    task = _sorting(setting, setting.pick(smoke=4, full=10), setting.pick(smoke=100, full=1_000, gpu=10_000))
    names = setting.pick(smoke=("process-0", "process-5"), full=("process-0", "process-5", "lstm-glimpse", "process-5-glimpse"))
    return Comparison("sorting-more", task, [task.arm(name) for name in names], seeds=setting.pick(smoke=1, full=3))


def _hulls(setting: Setting) -> Comparison:
    """Hulls of six points, as they are drawn, sorted by angle, and read as a set."""
    task = InputOrders(
        setting.pick(smoke=4, full=6, gpu=20),
        steps=setting.pick(smoke=40, full=800, gpu=20_000),
        count=setting.pick(smoke=500, full=20_000, gpu=200_000),
        hidden=setting.pick(smoke=32, full=64, gpu=128),
    )
    names = ("pointer", "pointer-by-angle", "process-5-glimpse")
    return Comparison("hulls", task, [task.arm(name) for name in names], seeds=setting.pick(smoke=1, full=3))


def _texts(setting: Setting) -> Comparison:
    """One text, three orders."""
    words = open_words("tinyshakespeare", most=setting.pick(smoke=100, full=1_000, gpu=10_000), folder=setting.data_dir)
    task = LanguageOrders(
        words.train,
        words.valid,
        len(words.vocabulary),
        steps=setting.pick(smoke=60, full=400, gpu=20_000),
        batch_size=setting.pick(smoke=8, full=32),
        dim=setting.pick(smoke=32, full=96, gpu=650),
        most_tested=setting.pick(smoke=2_000, full=20_000),
        title="Words of tinyshakespeare in three orders",
    )
    return Comparison(
        "texts", task, [task.arm(name) for name in ("natural", "reversed", "three-word")], seeds=setting.pick(smoke=1, full=3)
    )


def _trees(setting: Setting) -> Comparison:
    """One parser, trees depth first and breadth first."""
    task = Parsing(
        steps=setting.pick(smoke=40, full=500, gpu=3_000),
        dim=setting.pick(smoke=32, full=64, gpu=128),
        depth=setting.pick(smoke=3, full=5, gpu=7),
        count=setting.pick(smoke=500, full=10_000, gpu=100_000),
        tested=setting.pick(smoke=50, full=500, gpu=2_000),
    )
    return Comparison("trees", task, [task.arm(name) for name in ("depth-first", "breadth-first")], seeds=setting.pick(smoke=1, full=3))


def _star_few(setting: Setting) -> Comparison:
    """A star of 20 variables, 500 samples."""
    task = Star(n_vars=setting.pick(smoke=8, full=20), steps=setting.pick(smoke=96, full=384), tested=setting.pick(smoke=500, full=2_000))
    return Comparison("star-few", task, [task.arm(name) for name in ("head-first", "head-last")], seeds=setting.pick(smoke=1, full=None))


def _star_many(setting: Setting) -> Comparison:
    """The same stars, 20,000 samples."""
    task = Star(count=20_000, steps=setting.pick(smoke=16, full=2_400, gpu=10_000))
    return Comparison("star-many", task, [task.arm(name) for name in ("head-first", "head-last")], seeds=setting.pick(smoke=1, full=3))


def _grams(setting: Setting) -> Comparison:
    """5-grams in two fixed orders, and in orders that are sought."""
    words = open_words("tinyshakespeare", most=setting.pick(smoke=50, full=500, gpu=10_000), folder=setting.data_dir)
    task = OrderedNGrams(
        words,
        steps=setting.pick(smoke=80, full=1_000, gpu=20_000),
        warmup=setting.pick(smoke=20, full=150, gpu=1_000),
        batch_size=setting.pick(smoke=32, full=64),
        dim=setting.pick(smoke=32, full=128, gpu=512),
        tested=setting.pick(smoke=200, full=2_000),
    )
    names = setting.pick(smoke=("natural", "scattered", "easy"), full=("natural", "scattered", "easy", "hard", "hard-cold"))
    return Comparison("5-grams", task, [task.arm(name) for name in names], seeds=setting.pick(smoke=1, full=3))


def _size(setting: Setting) -> int:
    return setting.pick(smoke=3, full=5)


def _process_bars(setting: Setting) -> Sequence[Bar]:
    accuracy = f"accuracy@{_size(setting)}"
    if setting.scale == "smoke":
        return [gain("process-1", "process-0", accuracy, at_least=0, unit="%")]
    return [gain(arm, "process-0", accuracy, at_least=8, unit="%") for arm in ("process-1", "lstm", "process-0-glimpse", "lstm-glimpse")]


def _glimpse_bars(setting: Setting) -> Sequence[Bar]:
    return [
        gain("process-0-glimpse", "process-0", "accuracy@5", at_least=10, unit="%"),
        gain("lstm-glimpse", "lstm", "accuracy@5", at_least=-3, unit="%"),
    ]


def _more_bars(setting: Setting) -> Sequence[Bar]:
    accuracy = f"accuracy@{setting.pick(smoke=4, full=10)}"
    if setting.scale == "smoke":
        return [gain("process-5", "process-0", accuracy, at_least=0, unit="%")]
    return [
        gain("process-5", "process-0", accuracy, at_least=5, unit="%"),
        gain("process-5-glimpse", "lstm-glimpse", accuracy, at_least=5, unit="%"),
        gain("process-5-glimpse", "process-5", accuracy, at_least=5, unit="%"),
    ]


def _invariance_bars(setting: Setting) -> Sequence[Bar]:
    metric = f"sensitivity@{_size(setting)}"

    def largest(table: Table) -> float:
        return max(row.metrics[metric] for row in table.rows if row.arm.startswith("process"))

    bars = [
        exact("largest mean change of a set reader's log-probability in any run", largest, at_most=1e-4, unit="nats"),
        level("lstm", metric, at_least=0.01, unit="nats", label="mean change of the lstm reader's"),
    ]
    return bars if setting.scale == "smoke" else [*bars, level("presorted-lstm", "accuracy@5", at_least=99, unit="%")]


def _one_order_bars(setting: Setting) -> Sequence[Bar]:
    n = _size(setting)
    floor = lgamma(n + 1)  # log n!
    bars = [
        level(
            "random-order",
            f"nats@{n}",
            at_least=floor - 0.03,  # random answers are scored on a sample of sets
            unit="nats",
            label=f"cross-entropy of answers in random order, of which log {n}! is {floor:.2f}",
        )
    ]
    if setting.scale == "smoke":
        return bars
    return [
        *bars,
        level("process-1", "accuracy@5", at_least=85, unit="%"),
        gain("process-1", "random-order", "accuracy@5", at_least=50, unit="%"),
    ]


def _text_bars(setting: Setting) -> Sequence[Bar]:
    worse = ratio("three-word", "natural", "perplexity", at_least=1.0 if setting.scale == "smoke" else 1.04)
    alike = ratio("reversed", "natural", "perplexity", at_least=0.97, at_most=1.03)
    return [worse] if setting.scale == "smoke" else [alike, worse, ratio("three-word", "natural", "training perplexity", at_least=1.04)]


def _tree_bars(setting: Setting) -> Sequence[Bar]:
    if setting.scale == "smoke":
        return [gain("depth-first", "breadth-first", "F1", at_least=0, unit="%")]
    return [
        gain("depth-first", "breadth-first", "exact", at_least=10, unit="%"),
        gain("depth-first", "breadth-first", "F1", at_least=5, unit="%"),
    ]


def _star_bars(setting: Setting) -> Sequence[Bar]:
    return [ratio("head-first", "head-last", "gap", at_most=1 if setting.scale == "smoke" else 0.95)]


def _easy_bars(setting: Setting) -> Sequence[Bar]:
    if setting.scale == "smoke":
        return [ratio("easy", "scattered", "perplexity", at_most=1.5)]
    return [
        level("easy", "natural", at_least=90, unit="%", label="held-out sets that easy emits in the natural order"),
        ratio("easy", "natural", "perplexity", at_most=1.03),
        ratio("easy", "scattered", "perplexity", at_most=1),
    ]


PAPER = Paper(
    slug="order-matters",
    title="Order Matters: Sequence to sequence for sets",
    authors="Oriol Vinyals, Samy Bengio, Manjunath Kudlur",
    year=2016,
    venue="ICLR 2016",
    arxiv="1511.06391",
    code=None,
    room="models",
    summary=(
        "Sequence-to-sequence models for sets. What is read: an encoder that attends to a set for several steps, blind to the order of its elements, before a pointer network writes. "
        "What is written: any order of a set will do by the chain rule, and some are far easier to learn; a loss searches for the order while training."
    ),
    provides=(
        Part("Process block (Set2Set), padded and ragged", "ordinate.nn.set_process:SetProcess"),
        Part("Read-Process-Write", "ordinate.models.read_process_write:ReadProcessWrite"),
        Part("the search over orders", "ordinate.objectives.order_search:OrderSearch"),
        Part("orders drawn from a model", "ordinate.objectives.order_search:sample_order"),
        Part("the likeliest order", "ordinate.objectives.order_search:best_order"),
        Part("LSTM language model", "ordinate.models.lstm_language_model:LSTMLanguageModel"),
        Part("language model of words with their positions", "ordinate.models.placed_language_model:PlacedLanguageModel"),
        Part("sequence to sequence with attention", "ordinate.models.attentive_translator:AttentiveTranslator"),
        Part("sets of numbers", "ordinate.data.sorting:sorting_batch"),
        Part("three-word reversal", "ordinate.data.word_orders:three_word_reversal"),
        Part("trees as sequences, depth first and breadth first", "ordinate.data.trees:LINEARISATIONS"),
        Part("star models", "ordinate.data.star_model:StarModel"),
        Part("n-grams as sets", "ordinate.data.ngrams:ngram_sets"),
        Part("labelled brackets", "ordinate.analyze.brackets:bracket_f1"),
        Part("sorting task", "ordinate.tasks.sorting:Sorting"),
        Part("texts in several orders", "ordinate.tasks.language_orders:LanguageOrders"),
        Part("parsing task", "ordinate.tasks.parsing:Parsing"),
        Part("hulls of points in several orders", "ordinate.tasks.input_orders:InputOrders"),
        Part("star task", "ordinate.tasks.star:Star"),
        Part("the search on n-grams", "ordinate.tasks.order_search:OrderedNGrams"),
    ),
    claims=(
        Claim(
            name="processing-a-set",
            statement="A writer that starts without having processed the set sorts worst of all; one step of processing is enough to mend that.",
            published="5 numbers, no glimpse: accuracy 65 % without processing, 84 % after 1 step, 88 after 5, 90 after 10; pointer network 81 % (Table 1)",
            comparison=_few,
            bars=_process_bars,
            note=f"800 steps of 128 sets; {RECIPE}. What is undecided is the pointer network with a glimpse: 56 to 68 %, against 57 % of the writer that starts blind. The others are 14 points and more ahead of it in every seed.",
        ),
        Claim(
            name="glimpses",
            statement="A glimpse before pointing helps, and most where the set was not processed.",
            published="5 numbers, 0 and 1 glimpse: no processing 65 and 84 %, pointer network 81 and 90 % (Table 1)",
            comparison=_few,
            bars=_glimpse_bars,
            note=f"800 steps of 128 sets; {RECIPE}. After as many steps the pointer network is behind with a glimpse, whose weights have to be learnt too: 56 to 68 % against 70 to 74 %.",
            scales=("full", "gpu"),
        ),
        Claim(
            name="larger-sets",
            statement="On larger sets Read-Process-Write sorts better than a pointer network that reads the numbers in the order given, and better than a writer that has not processed the set.",
            published="10 numbers: with a glimpse 57 % after 5 steps against the pointer network's 28 %; without, 17 % against 7 % without processing (Table 1)",
            comparison=_more,
            bars=_more_bars,
            note=f"10 numbers, 1,000 steps of 128 sets (the paper: 10,000); {RECIPE}.",
        ),
        Claim(
            name="blind-to-order",
            statement="Whatever the order in which the elements of a set are given, Read-Process-Write answers alike; a reader of sequences does not, and sorts without a mistake what is given sorted.",
            published="by construction (section 4.2)",
            comparison=_few,
            bars=_invariance_bars,
        ),
        Claim(
            name="order-of-points",
            statement="A pointer network finds more hulls when the points are given sorted by angle than in any order.",
            published="accuracy up to 10 % higher, sorted by angle (section 4.1)",
            comparison=_hulls,
            bars=lambda setting: [
                gain("pointer-by-angle", "pointer", f"accuracy@{setting.pick(smoke=4, full=6, gpu=20)}", at_least=5, unit="%")
            ],
            note="6 points, 800 steps of 64; a Read-Process-Write that sees no order stands beside them. In two seeds of three the pointer network that reads them unsorted has hardly begun to learn (0 and 2 %), in the third it has 49 %; sorted it has 72 to 75 %.",
            scales=("full", "gpu"),
        ),
        Claim(
            name="one-order-of-many",
            statement="Where a set of answers is right, one of them must be chosen to learn from: taught any of the n! orders, a network learns nothing but that they are orders.",
            published="restricting equivalent answers to one gains 5 points of accuracy and more on triangulations and tours (section 5.1.3)",
            comparison=_few,
            bars=_one_order_bars,
            note="Sorting, where each set has n! orders, stands in for triangulations and tours; those are in pointer-networks, under order-of-triangles.",
        ),
        Claim(
            name="orders-of-words",
            statement="A language model reads a text backwards as well as forwards, and reversed in blocks of three less well, in training too.",
            published="Penn Treebank, perplexity: natural 86, reversed 86, three-word reversal 96, and 10 higher in training too (section 5.1.1)",
            comparison=_texts,
            bars=_text_bars,
            note="Words of tinyshakespeare, the 1,000 most frequent; one layer of 96 units, 400 steps, against two layers of 650 for 39 epochs. A small model that sees 35 words at a time loses more by broken neighbourhoods than a large one does. The reversed text comes within 4 % of the natural one in every seed, which three seeds cannot place within 3 %.",
        ),
        Claim(
            name="orders-of-trees",
            statement="A parser that emits trees depth first is more often right than one that emits them breadth first.",
            published="F1 89.5 % against 81.5 % (section 5.1.2)",
            comparison=_trees,
            bars=_tree_bars,
            note="Sentences of a small grammar, trees of at most 5 levels, instead of the Penn Treebank; 64 units, 500 steps of 64 sentences. Depth first is ahead in every seed, by 9 to 33 points.",
        ),
        Claim(
            name="head-first",
            statement="From few samples of a star model the joint distribution is learnt better with the head emitted first.",
            published="with few samples, and tables that are not peaky, head first is better (section 5.1.4)",
            comparison=_star_few,
            bars=_star_bars,
            note="20 variables of 10 values, 500 samples, stopped early on held-out ones. The gap is smaller head first in every seed, by 13 to 24 %.",
        ),
        Claim(
            name="head-anywhere",
            statement="From many samples both orders reach the same likelihood.",
            published="with 20,000 samples, or peaky tables, both orders reach the same likelihood (section 5.1.4)",
            comparison=_star_many,
            bars=[ratio("head-first", "head-last", "nats", at_least=0.99, at_most=1.01)],
            note="20 variables of 10 values, 20,000 samples, 2,400 steps of 50: six times through them.",
            scales=("full", "gpu"),
        ),
        Claim(
            name="easy-search",
            statement="Given two orders to choose from, the search settles on the natural one and loses nothing by it.",
            published="5-grams, perplexity: natural order 225, (5, 1, 3, 4, 2) 280, search over both 225 (section 5.2)",
            comparison=_grams,
            bars=_easy_bars,
            note=f"{GRAMS}.",
        ),
        Claim(
            name="hard-search",
            statement="Given all 120 orders, the search ends near the perplexity of the natural one, and below that of a bad fixed order.",
            published="5-grams, perplexity 225 as the natural order, against 280 of (5, 1, 3, 4, 2); (1, 2, 3, 4, 5), (5, 4, 3, 2, 1) and small variations of them are settled on (section 5.2)",
            comparison=_grams,
            bars=[
                ratio("hard", "natural", "perplexity", at_most=1.06),
                ratio("hard", "scattered", "perplexity", at_most=1),
            ],
            note=(
                f"{GRAMS}. It does not come to it here. Drawing orders in proportion to their likelihood climbs the likelihood of the set, the sum over its orders, which all of them may share at no loss: "
                "that costs up to log(120)/5 = 0.96 nats a word of one order. Only that some are easier breaks the tie, which takes far longer than 1,000 steps; in pilots on 3-grams, "
                "orders of neighbours come ahead by then. A lower temperature, or the likeliest element at each step, prefers frequent words first, wherever they stand, and ends above the fixed orders too."
            ),
            scales=("full", "gpu"),
        ),
        Claim(
            name="warm-up",
            statement="Without steps of uniform orders at the start, the search settles at once on an arbitrary order.",
            published="without uniform orders at first the order collapses (section 5.2)",
            comparison=_grams,
            bars=[gain("hard-cold", "hard", "favourite", at_least=10, unit="%")],
            note=f"{GRAMS}. At this scale no order is settled on, with those steps or without (see hard-search), so that nothing is there for them to prevent.",
            scales=("full", "gpu"),
        ),
    ),
    snippet="""
import torch
from ordinate.generate.constraints import tour
from ordinate.generate.decoding import greedy
from ordinate.models.registry import create_model
from ordinate.nn.set_process import SetProcess

pool = SetProcess(dim=16, steps=3)                        # pools the nodes of graphs, wherever they stand in the list
print(pool.from_index(torch.randn(6, 16), torch.tensor([0, 2, 0, 2, 2, 0]), num_sets=4).summary.shape)

model = create_model("read-process-write", in_dim=1)      # trained with: ordinate train read-process-write --objective pointing --data sorting:5-10
print(greedy(model, {"points": torch.rand(2, 7, 1)}, most=8, constraint=tour).symbols)
""",
    outside="The Penn Treebank, whose text is not free. Sets of 15 numbers at 10,000 steps, and 5-grams of a large corpus: they need a GPU.",
)
