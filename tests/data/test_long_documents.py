import random
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.data.key_values import answered, recall_batch, recall_vocabulary
from ordinate.data.long_documents import PLACES, alter_numeric, first_number_match, lines_prompt, place_answer, presence_accuracy
from ordinate.ground.errors import InputError


@given(st.integers(1, 40), st.integers(0, 99))
def test_every_line_has_a_key_of_its_own_and_one_answer(lines: int, seed: int) -> None:
    found = lines_prompt(lines, seed)
    keys = re.findall(r"line (\S+): REGISTER_CONTENT is <(\d+)>", found.prompt)
    assert len(keys) == lines == len({key for key, _ in keys})
    asked = re.search(r"in line (\S+)\? I need", found.prompt)[1]
    assert dict(keys)[asked] == found.answer
    assert 0 <= found.place < 1
    assert lines_prompt(lines, seed) == found


def test_a_line_can_be_asked_for_and_thousands_fit() -> None:
    many = lines_prompt(2000, 0, asked=1999)
    assert many.place > 0.99
    assert many.prompt.count("REGISTER_CONTENT is") == 2000


def test_answers_are_first_numbers_and_present_spans() -> None:
    assert first_number_match("It is 01234, not 5.", "1234")
    assert not first_number_match("I do not know.", "1234")
    assert not first_number_match("5 or 1234", "1234")
    assert presence_accuracy(["New  York it is", "new york"], ["New York", "New York"]) == 0.5


@given(st.integers(60, 400), st.sampled_from(PLACES), st.booleans(), st.integers(0, 50))
def test_a_placed_answer_is_in_the_kept_text_and_where_it_is_wanted(length: int, place: str, first: bool, seed: int) -> None:
    document = "word " * 400 + "the ANSWER here. " + "more " * 400
    found = place_answer(document, "What?", "ANSWER", length=length, place=place, question_first=first, seed=seed)
    kept = found.prompt.removeprefix("What?\n\n") if first else found.prompt.removesuffix("\n\nWhat?")
    assert len(kept) <= length
    assert kept.count("ANSWER") == 1
    low, high = {"first": (0, 0.1), "middle": (0.1, 0.9), "last": (0.85, 1.0)}[place]
    slack = 10 / length
    assert low - slack <= found.place <= high + slack


@given(st.integers(0, 3_000_000), st.integers(0, 20))
def test_every_occurrence_of_a_number_is_altered_and_no_other(number: int, seed: int) -> None:
    answer = str(number)
    other_number = f"9{answer}"
    document = f"In {answer}, {answer} people; not {other_number}, nor {answer}.5 of them. {answer}"
    altered, question, new = alter_numeric(document, f"How many in {answer}?", answer, random.Random(seed))
    assert new != answer
    assert len(new) == len(answer)
    assert not re.search(rf"(?<![\d.]){answer}(?![\d.])", altered.replace(f"{answer}.5", ""))
    assert altered.count(other_number) == 1
    assert f"{answer}.5" in altered
    assert new in question
    if len(answer) == 4 and 1000 <= number <= 2100:
        assert 1 <= abs(int(new) - number) <= 10


def test_bad_documents_are_one_line() -> None:
    with pytest.raises(InputError, match="line"):
        lines_prompt(0, 0)
    with pytest.raises(InputError, match="line"):
        lines_prompt(3, 0, asked=3)
    with pytest.raises(InputError, match="span"):
        place_answer("abc", "?", "d", length=3, place="first", question_first=True)
    with pytest.raises(InputError, match="middle"):
        place_answer("abc", "?", "b", length=3, place="centre", question_first=True)
    with pytest.raises(InputError, match="numeric"):
        alter_numeric("In 12.", "?", "twelve", random.Random(0))
    with pytest.raises(InputError, match="by itself"):
        alter_numeric("In 123.", "?", "12", random.Random(0))
    with pytest.raises(InputError, match="as many"):
        presence_accuracy([], [])


@given(st.integers(1, 16), st.integers(0, 30))
def test_recall_asks_for_values_of_keys_that_were_given(pairs: int, seed: int) -> None:
    keys, values = 16, 5
    batch = recall_batch(3, 4 * pairs, keys, values, torch.Generator().manual_seed(seed))
    tokens = torch.cat([batch["input"], torch.full((3, 1), -1)], dim=1)
    assert recall_vocabulary(keys, values) == 21
    for row, target in zip(tokens, batch["target"], strict=True):
        given_pairs = dict(zip(row[: 2 * pairs : 2].tolist(), row[1 : 2 * pairs : 2].tolist(), strict=True))
        assert len(given_pairs) == pairs
        asked = [(int(row[at]), int(target[at])) for at in range(4 * pairs - 1) if target[at] != -100]
        assert dict(asked) == given_pairs
        assert len(asked) == pairs
    logits = torch.nn.functional.one_hot(batch["target"].clamp(min=0), 21).float()
    assert answered(logits, batch["target"]) == (3 * pairs, 3 * pairs)


def test_recall_refuses_what_does_not_fit() -> None:
    for length in (0, 6, 4 * 17):
        with pytest.raises(InputError, match="recall"):
            recall_batch(1, length, 16, 5, torch.Generator())
