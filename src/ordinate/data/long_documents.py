r"""Long texts with something to be found in them: lines with registers, questions about documents, and numbers that memory gets wrong.

- *Lines* (`lines_prompt`): n lines, each with a key of its own and a number, and a question for one of them. The model's answer is the first integer that it writes.
- *Free-form questions* (`place_answer`): a document and a question whose short answer is a span of it, with the answer in the first tenth, the middle or the last tenth, and the question before or after.
- *Altered numbers* (`alter_numeric`): every occurrence of a numeric answer becomes another number (a year by at most ten, other numbers by one of as many digits), so that an answer from memory is wrong.

Source: Pal et al., Giraffe (2023), section 4; the lines are those of LongEval, whose wording is given here from memory.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

from ordinate.ground.errors import InputError

__all__ = ["PLACES", "Question", "alter_numeric", "first_number_match", "lines_prompt", "place_answer", "presence_accuracy"]

PLACES = ("first", "middle", "last")
_ADJECTIVES = [
    "amber",
    "brave",
    "calm",
    "distant",
    "early",
    "faint",
    "gentle",
    "hidden",
    "idle",
    "jolly",
    "keen",
    "lucky",
    "mellow",
    "narrow",
    "odd",
    "pale",
    "quiet",
    "rapid",
    "silent",
    "tame",
    "urban",
    "vivid",
    "warm",
    "young",
]
_NOUNS = [
    "anchor",
    "basin",
    "cedar",
    "delta",
    "ember",
    "forest",
    "garden",
    "harbour",
    "island",
    "jungle",
    "kettle",
    "lantern",
    "meadow",
    "needle",
    "orchard",
    "pebble",
    "quarry",
    "river",
    "saddle",
    "temple",
    "valley",
    "willow",
    "yarn",
    "zephyr",
]
_YEARS = range(1000, 2101)


@dataclass(frozen=True)
class Question:
    """A prompt, its answer, and where the answer stands.

    Attributes:
        prompt: the whole text.
        answer: what is to be found.
        place: of the answer in the document: the number of its first character, over the document's length.
        kind: ``"lines"``, or the place and order of a question: ``"first, question after"``.
    """

    prompt: str
    answer: str
    place: float
    kind: str


def _keys(count: int, rng: random.Random) -> list[str]:
    names = [f"{adjective}-{noun}" for adjective in _ADJECTIVES for noun in _NOUNS]
    chosen = rng.sample(names, min(count, len(names)))
    while len(chosen) < count:  # more lines than names: numbered ones, still without repetition
        chosen.append(f"{rng.choice(names)}-{len(chosen)}")
    return chosen


def lines_prompt(lines: int, seed: int, *, asked: int | None = None) -> Question:
    """Lines with registers, and a question for one.

    Args:
        lines: how many.
        seed: of keys, numbers and the question.
        asked: the number of the line asked for; random by default.

    Raises:
        InputError: no lines, or no such line.
    """
    if lines < 1 or (asked is not None and not 0 <= asked < lines):
        raise InputError(f"there must be at least one line, and the one asked for among them: not {lines} lines and line {asked}")
    rng = random.Random(seed)
    keys = _keys(lines, rng)
    numbers = [rng.randint(10_000, 99_999) for _ in keys]
    body = [f"line {key}: REGISTER_CONTENT is <{number}>\n" for key, number in zip(keys, numbers, strict=True)]
    number = rng.randrange(lines) if asked is None else asked
    head = "Below is a record of lines I want you to remember. Each line begins with 'line <line index>' and contains a '<REGISTER_CONTENT>' at the end of the line as a numerical value.\n\n"
    tail = f"\nNow the record is over. Tell me what is the <REGISTER_CONTENT> in line {keys[number]}? I need the number."
    before = sum(map(len, body[:number])) / max(1, sum(map(len, body)))
    return Question(head + "".join(body) + tail, str(numbers[number]), before, "lines")


def first_number_match(text: str, answer: str) -> bool:
    """Whether the first integer in `text` is the answer; a text without one is wrong."""
    found = re.search(r"\d+", text)
    return found is not None and int(found[0]) == int(answer)


def _squeezed(text: str) -> str:
    return "".join(text.split())


def presence_accuracy(texts: Sequence[str], answers: Sequence[str]) -> float:
    """The share of texts that contain their answer, spaces aside and case kept.

    Raises:
        InputError: no texts, or not as many answers.
    """
    if not texts or len(texts) != len(answers):
        raise InputError(f"presence accuracy takes as many answers as texts, at least one: {len(texts)} texts, {len(answers)} answers")
    return sum(_squeezed(answer) in _squeezed(text) for text, answer in zip(texts, answers, strict=True)) / len(texts)


def place_answer(document: str, question: str, answer: str, *, length: int, place: str, question_first: bool, seed: int = 0) -> Question:
    """A document cut to a length around its answer, with the answer where it is wanted.

    Args:
        document: has `answer` in it, literally.
        question: put before or after.
        answer: a span of the document.
        length: characters of the document that are kept, at most.
        place: ``"first"``: in its first tenth, ``"middle"``: anywhere between, ``"last"``: in its last tenth; as far as the document has text on both sides.
        question_first: the question stands before the document.
        seed: of the place in the middle.

    Raises:
        InputError: the answer is not in the document, or longer than the length; an unknown place.
    """
    at = document.find(answer)
    if at < 0 or not answer or len(answer) > length:
        raise InputError(f"the answer {answer!r} must be a span of the document, of at most {length} characters")
    rng = random.Random(seed)
    share = {"first": rng.uniform(0, 0.1), "middle": rng.uniform(0.1, 0.9), "last": rng.uniform(0.9, 1.0)}
    if place not in share:
        raise InputError(f"an answer stands first, middle or last, not {place!r}")
    room = length - len(answer)
    start = min(max(0, at - round(share[place] * room)), max(0, len(document) - length))
    start = min(start, at)
    kept = (
        document[start : start + length] if start + length >= at + len(answer) else document[at + len(answer) - length : at + len(answer)]
    )
    prompt = f"{question}\n\n{kept}" if question_first else f"{kept}\n\n{question}"
    where = kept.find(answer) / max(1, len(kept))
    return Question(prompt, answer, where, f"{place}, question {'before' if question_first else 'after'}")


def alter_numeric(document: str, question: str, answer: str, rng: random.Random) -> tuple[str, str, str]:
    """The document, the question and the answer with another number for every occurrence of the answer.

    Args:
        document: has the answer in it, as a whole number.
        question: altered too, where it names the number.
        answer: digits alone.
        rng: what the other number is drawn from.

    Raises:
        InputError: an answer that is no number, or does not stand in the document by itself.
    """
    if not re.fullmatch(r"\d+", answer):
        raise InputError(f"only a numeric answer can be altered, digits alone, not {answer!r}")
    whole = re.compile(rf"(?<![\d.,]){answer}(?!\d|[.,]\d)")
    if not whole.search(document):
        raise InputError(f"the number {answer} does not stand in the document by itself")
    number = int(answer)
    if len(answer) == 4 and number in _YEARS:
        others = [year for year in range(number - 10, number + 11) if year != number and year in _YEARS]
    else:
        least = 10 ** (len(answer) - 1) if len(answer) > 1 else 0
        span = 10 ** len(answer) - least
        shift = rng.randrange(1, span)
        others = [least + (number - least + shift) % span]
    other = str(rng.choice(others)).zfill(len(answer))
    return whole.sub(other, document), whole.sub(other, question), other
