r"""Three behaviours with known circuits as contrasts, in the words of whatever tokenizer they are asked for.

- **Indirect objects**: "When Mary and John went to the shop, John gave a ring to" is followed by "Mary". A negative has three different names. Circuit: 26 heads of GPT-2 small (Wang et al., Interpretability in the Wild, 2023).
- **Greater-than**: "The war lasted from the year 1732 to the year 17" is followed by two digits above 32. A negative begins in a year that ends in 01. Circuit: 9 heads of GPT-2 small (Hanna et al., How Does GPT-2 Compute Greater-Than?, 2023).
- **Docstrings**: a function whose docstring has described its first arguments, in their order, up to the next ":param", which is followed by the next argument's name. A negative describes other names, and has other arguments.
  Circuit: 6 heads of a four-layer attention-only model (Heimersheim and Janiak, A Circuit for Python Docstrings in a 4-layer Attention-only Transformer, 2023).

An answer must be one token, and so must every name, so that a negative is as long as its positive: words that the tokenizer cuts are left out. The numbers of heads are the ones that O'Neill and Bui (2024) score against.
"""

from collections.abc import Callable, Sequence

import torch

from ordinate.data.contrasts import Contrast, Node, Prompts
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["BEHAVIOURS", "DOCSTRING_HEADS", "GREATER_THAN_HEADS", "INDIRECT_OBJECT_HEADS", "docstrings", "greater_than", "indirect_objects"]

Encode = Callable[[str], Sequence[int]]

INDIRECT_OBJECT_HEADS: dict[str, tuple[Node, ...]] = {
    "previous token": ((2, 2), (4, 11)),
    "duplicate token": ((0, 1), (3, 0), (0, 10)),
    "induction": ((5, 5), (6, 9), (5, 8), (5, 9)),
    "S-inhibition": ((7, 3), (7, 9), (8, 6), (8, 10)),
    "negative name mover": ((10, 7), (11, 10)),
    "name mover": ((9, 9), (9, 6), (10, 0)),
    "backup name mover": ((10, 10), (10, 6), (10, 2), (10, 1), (11, 2), (11, 9), (11, 3), (9, 7)),
}
"""The circuit of GPT-2 small by what its heads do."""
GREATER_THAN_HEADS: tuple[Node, ...] = ((0, 3), (0, 5), (0, 1), (5, 5), (6, 1), (6, 9), (7, 10), (8, 11), (9, 1))
DOCSTRING_HEADS: tuple[Node, ...] = ((0, 5), (1, 0), (1, 4), (2, 0), (3, 0), (3, 6))

_PEOPLE = [
    "Mary",
    "John",
    "Tom",
    "James",
    "Dan",
    "Martin",
    "Amy",
    "Mark",
    "Kate",
    "Paul",
    "Anna",
    "Sarah",
    "David",
    "Laura",
    "Peter",
    "Alice",
    "Simon",
    "Emma",
    "Adam",
    "Jane",
    "Jack",
    "Lisa",
    "Ben",
    "Ruth",
    "Sam",
    "Rose",
    "George",
    "Helen",
    "Henry",
    "Julia",
]
_PLACES = ["store", "park", "school", "garden", "office", "station", "house", "market", "museum", "beach"]
_OBJECTS = ["ring", "book", "drink", "bone", "basketball", "computer", "kiss", "letter", "ticket", "map"]
_STORIES = (
    "When{a} and{b} went to the{place},{s} gave a{thing} to",
    "Then,{a} and{b} had a long day at the{place}, and{s} handed a{thing} to",
    "After{a} and{b} came back from the{place},{s} decided to give a{thing} to",
    "While{a} and{b} were working at the{place},{s} offered a{thing} to",
    "Yesterday{a} and{b} met near the{place}, where{s} passed a{thing} to",
)
_NOUNS = [
    "war",
    "campaign",
    "conflict",
    "voyage",
    "trial",
    "siege",
    "festival",
    "project",
    "reign",
    "strike",
    "expedition",
    "debate",
    "revolt",
    "marriage",
    "affair",
]
_WORDS = [
    "name",
    "size",
    "file",
    "path",
    "text",
    "list",
    "code",
    "data",
    "mode",
    "type",
    "time",
    "user",
    "date",
    "line",
    "page",
    "form",
    "item",
    "test",
    "call",
    "task",
    "unit",
    "plan",
    "view",
    "node",
    "root",
    "link",
    "flag",
    "mask",
    "rate",
    "step",
    "port",
    "host",
    "seed",
    "shape",
    "order",
    "label",
    "model",
    "color",
    "width",
    "table",
    "image",
    "value",
    "index",
    "event",
    "group",
    "state",
    "start",
    "limit",
    "field",
    "query",
    "level",
    "point",
    "scale",
    "frame",
    "class",
    "input",
    "level",
    "title",
    "store",
    "board",
]


def _one_token(encode: Encode, words: Sequence[str], lead: str = " ") -> dict[str, int]:
    """Words that are one token after a space, and that token."""
    before = len(encode("a"))
    found = {}
    for word in dict.fromkeys(words):
        tokens = encode(f"a{lead}{word}")
        if len(tokens) == before + 1:
            found[word] = int(tokens[-1])
    return found


def _enough(found: dict[str, int], least: int, kind: str) -> list[str]:
    if len(set(found.values())) < least:
        raise InputError(
            f"this tokenizer has only {len(set(found.values()))} {kind} as single tokens, and {least} are needed: it is not one of words"
        )
    return list(found)


def _pick(words: Sequence[str], count: int, draws: torch.Generator) -> list[str]:
    """Different words, in an order that is drawn."""
    return [words[place] for place in torch.randperm(len(words), generator=draws)[:count].tolist()]


def indirect_objects(encode: Encode, count: int = 250, *, seed: int = 0) -> Contrast:
    """The contrast of indirect objects: right is the other name, wrong the one that is repeated.

    Args:
        encode: text to token numbers, such as a `transformers` tokenizer's `encode`.
        count: N prompts of each kind; in half of them the repeated name comes first.
        seed: of the prompts.

    Raises:
        InputError: a tokenizer without enough names, or no prompt.
    """
    _positive(count)
    draws = generator(seed, "indirect objects")
    names = _one_token(encode, _PEOPLE)
    people = _enough(names, 5, "names")
    positives: list[Sequence[int]] = []
    negatives: list[Sequence[int]] = []
    right: list[list[int]] = []
    wrong: list[list[int]] = []
    for number in range(count):
        subject, other, *third = _pick(people, 5, draws)
        first, second = (subject, other) if number % 2 else (other, subject)
        (story,), (place,), (thing,) = (_pick(words, 1, draws) for words in (_STORIES, _PLACES, _OBJECTS))
        scene = {"place": f" {place}", "thing": f" {thing}"}
        positives.append(encode(story.format(a=f" {first}", b=f" {second}", s=f" {subject}", **scene)))
        negatives.append(encode(story.format(a=f" {third[0]}", b=f" {third[1]}", s=f" {third[2]}", **scene)))
        right.append([names[other]])
        wrong.append([names[subject]])
    truth = tuple(node for nodes in INDIRECT_OBJECT_HEADS.values() for node in nodes)
    return Contrast(
        "indirect objects", Prompts.of(positives), Prompts.of(negatives), torch.tensor(right), torch.tensor(wrong), truth, "GPT-2 small"
    )


def greater_than(encode: Encode, count: int = 250, *, seed: int = 0) -> Contrast:
    """The contrast of years: right are the two digits above those of the first year, wrong the others.

    Args:
        encode: text to token numbers.
        count: N prompts of each kind, their first years' last digits from 02 to 98 in turn, of the centuries 12 to 19.
        seed: of the prompts.

    Raises:
        InputError: a tokenizer that does not cut years into two digits and two, or no prompt.
    """
    _positive(count)
    draws = generator(seed, "greater-than")
    lead, before = "The war lasted from the year", len(encode("The war lasted from the year"))
    centuries = [century for century in range(12, 20) if len(encode(f"{lead} {century}")) == before + 1]
    digits: dict[int, int] = {}
    whole: dict[tuple[int, int], bool] = {}
    for century in centuries:
        for last in range(1, 100):
            tokens = encode(f"{lead} {century}{last:02d}")
            fits = len(tokens) == before + 2 and tokens[-2] == encode(f"{lead} {century}")[-1]
            whole[century, last] = fits
            if fits:
                digits.setdefault(last, int(tokens[-1]))
    usable = [century for century in centuries if whole[century, 1]]
    years = [each for each in range(2, 99) if each in digits]
    if not usable or len(years) < 2 or len(digits) < 50:
        raise InputError("this tokenizer does not cut a year such as 1732 into a token for 17 and one for 32")
    nouns = list(_one_token(encode, _NOUNS)) or ["war"]
    positives: list[Sequence[int]] = []
    negatives: list[Sequence[int]] = []
    right: list[list[int]] = []
    wrong: list[list[int]] = []
    for number in range(count):
        year = years[number % len(years)]
        fitting = [century for century in usable if whole[century, year]]
        if not fitting:
            raise InputError(f"this tokenizer cuts every year that ends in {year:02d} otherwise than those that end in 01")
        century = fitting[int(torch.randint(len(fitting), (1,), generator=draws))]
        (noun,) = _pick(nouns, 1, draws)
        for prompts, start in ((positives, year), (negatives, 1)):
            prompts.append(encode(f"The {noun} lasted from the year {century}{start:02d} to the year {century}"))
        right.append([digits[each] if each in digits and each > year else -1 for each in range(100)])
        wrong.append([digits[each] if each in digits and each <= year else -1 for each in range(100)])
    return Contrast(
        "greater-than",
        Prompts.of(positives),
        Prompts.of(negatives),
        torch.tensor(right),
        torch.tensor(wrong),
        GREATER_THAN_HEADS,
        "GPT-2 small",
    )


def docstrings(encode: Encode, count: int = 250, *, seed: int = 0) -> Contrast:
    """The contrast of docstrings: right is the third of the arguments that are described, wrong are the other arguments.

    A function has two arguments before those and one after; the docstring describes the first two of the three, with three words and with two.

    Args:
        encode: text to token numbers.
        count: N prompts of each kind.
        seed: of the prompts.

    Raises:
        InputError: a tokenizer without enough words, or no prompt.
    """
    _positive(count)
    draws = generator(seed, "docstrings")
    words = _one_token(encode, _WORDS)
    names = _enough(words, 24, "argument names")
    positives: list[Sequence[int]] = []
    negatives: list[Sequence[int]] = []
    right: list[list[int]] = []
    wrong: list[list[int]] = []
    for _ in range(count):
        drawn = _pick(names, 24, draws)
        head, arguments, prose, others = drawn[0], drawn[1:7], drawn[7:12], drawn[12:]
        positives.append(encode(_function(head, arguments, arguments[2:4], prose)))
        negatives.append(encode(_function(head, others[:6], others[6:8], prose)))
        right.append([words[arguments[4]]])
        wrong.append([words[each] for each in arguments if each != arguments[4]])
    return Contrast(
        "docstrings",
        Prompts.of(positives),
        Prompts.of(negatives),
        torch.tensor(right),
        torch.tensor(wrong),
        DOCSTRING_HEADS,
        "attention-only model of 4 layers",
    )


def _function(name: str, arguments: Sequence[str], described: Sequence[str], prose: Sequence[str]) -> str:
    signature = ",".join(f" {argument}" for argument in arguments)
    told = (prose[:3], prose[3:])
    lines = "".join(f"\n    :param {argument}: {' '.join(text)}" for argument, text in zip(described, told, strict=True))
    return f'\ndef {name}(self,{signature}):\n    """{" ".join(prose[:2])}\n{lines}\n    :param'


def _positive(count: int) -> None:
    if count < 1:
        raise InputError(f"a contrast needs at least one prompt of each kind, not {count}")


BEHAVIOURS: dict[str, Callable[..., Contrast]] = {
    "indirect-objects": indirect_objects,
    "greater-than": greater_than,
    "docstrings": docstrings,
}
"""Contrasts by name: `contrast(encode, count, seed=...)`."""
