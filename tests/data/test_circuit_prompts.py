import re

import pytest

from ordinate.data.circuit_prompts import (
    BEHAVIOURS,
    DOCSTRING_HEADS,
    GREATER_THAN_HEADS,
    INDIRECT_OBJECT_HEADS,
    docstrings,
    greater_than,
    indirect_objects,
)
from ordinate.ground.errors import InputError


class Words:
    """A tokenizer of words with their space, of years cut in two as GPT-2 cuts them, and of signs."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def encode(self, text: str) -> list[int]:
        parts = re.findall(r" ?\d{2}(?=\d{2}\b)| ?\d+| ?[A-Za-z]+|\s+|.", text)
        return [self.numbers.setdefault(part, len(self.numbers)) for part in parts]

    def text(self, tokens: list[int]) -> str:
        return "".join(list(self.numbers)[token] for token in tokens)


def letters(text: str) -> list[int]:
    return list(text.encode())


def test_indirect_objects_name_two_people_and_negatives_three() -> None:
    words = Words()
    made = indirect_objects(words.encode, 20)
    assert made.positives.mask.equal(made.negatives.mask)
    orders = set()
    for row in range(20):
        prompt, other = (words.text(part.tokens[row][part.mask[row]].tolist()) for part in (made.positives, made.negatives))
        right, wrong = words.text(made.right[row].tolist()), words.text(made.wrong[row].tolist())
        assert prompt.count(wrong) == 2 and prompt.count(right) == 1 and prompt.endswith(" to")
        assert right not in other and wrong not in other
        orders.add(prompt.index(right) < prompt.index(wrong))
    assert orders == {True, False} and len(made.truth) == 26 == sum(map(len, INDIRECT_OBJECT_HEADS.values()))


def test_greater_than_has_the_years_above_as_right_answers() -> None:
    words = Words()
    made = greater_than(words.encode, 30)
    assert made.positives.mask.equal(made.negatives.mask) and made.truth == GREATER_THAN_HEADS and len(made.truth) == 9
    for row in range(30):
        prompt, other = (words.text(part.tokens[row].tolist()) for part in (made.positives, made.negatives))
        found = re.fullmatch(r"The \w+ lasted from the year (1\d)(\d\d) to the year (1\d)", prompt)
        assert found and found[1] == found[3] and 2 <= int(found[2]) <= 98
        assert other == prompt.replace(found[1] + found[2], f"{found[1]}01")
        right = {int(words.text([token])) for token in made.right[row].tolist() if token >= 0}
        wrong = {int(words.text([token])) for token in made.wrong[row].tolist() if token >= 0}
        assert min(right) == int(found[2]) + 1 and max(wrong) == int(found[2]) and max(right) == 99


def test_docstrings_are_followed_by_the_third_argument() -> None:
    words = Words()
    made = docstrings(words.encode, 10)
    assert made.positives.mask.equal(made.negatives.mask) and made.truth == DOCSTRING_HEADS and len(made.truth) == 6
    for row in range(10):
        prompt = words.text(made.positives.tokens[row][made.positives.mask[row]].tolist())
        arguments = re.search(r"\(self,(.*)\):", prompt)[1].replace(" ", "").split(",")
        described = re.findall(r":param (\w+):", prompt)
        assert len(arguments) == 6 and described == arguments[2:4] and prompt.endswith(":param")
        assert words.text(made.right[row].tolist()).strip() == arguments[4]
        assert {words.text([token]).strip() for token in made.wrong[row].tolist()} == set(arguments) - {arguments[4]}


@pytest.mark.parametrize("name", sorted(BEHAVIOURS))
def test_seeds_decide_and_tokenizers_without_words_are_refused(name: str) -> None:
    words = Words()
    one, same, other = (BEHAVIOURS[name](words.encode, 6, seed=seed) for seed in (0, 0, 1))
    assert one.positives.tokens.equal(same.positives.tokens) and not one.positives.tokens.equal(other.positives.tokens)
    with pytest.raises(InputError, match="tokenizer"):
        BEHAVIOURS[name](letters, 6)
    with pytest.raises(InputError, match="at least one prompt"):
        BEHAVIOURS[name](words.encode, 0)
