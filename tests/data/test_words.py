"""A text as words, in several orders, and as sets of n."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.data.ngrams import ngram_sets, placed
from ordinate.data.word_orders import WORD_ORDERS, reverse_blocks, three_word_reversal
from ordinate.data.words import OTHER, open_words, split_words
from ordinate.ground.errors import InputError


def test_the_papers_example() -> None:
    assert " ".join(three_word_reversal(["This", "is", "a", "sentence", "."])) == "a is This <pad> . sentence"


@given(words=st.lists(st.integers(), max_size=12), block=st.integers(1, 5))
def test_blocks_are_reversed_and_reversing_again_gives_the_words_back(words: list[int], block: int) -> None:
    once = reverse_blocks(words, block, -1)
    assert len(once) % block == 0 and len(once) - len(words) < block
    assert reverse_blocks(once, block, -1)[: len(words)] == words


def test_orders_of_a_stream_keep_its_words() -> None:
    ids = torch.arange(8)
    assert {name: order(ids).tolist() for name, order in WORD_ORDERS.items()} == {
        "natural": [0, 1, 2, 3, 4, 5, 6, 7],
        "reversed": [7, 6, 5, 4, 3, 2, 1, 0],
        "three-word": [2, 1, 0, 5, 4, 3, 6, 7],
    }


def test_words_of_a_text(tmp_path: Path) -> None:
    assert split_words("Don't stop,\nO'er 12 Hills--!") == ["don't", "stop", ",", "o'er", "1", "2", "hills", "-", "-", "!"]
    path = tmp_path / "text.txt"
    path.write_text("the cat and the dog and the end. " * 20 + "a new word " * 6)
    words = open_words(path, most=4)
    assert words.vocabulary[:2] == [OTHER, "the"] and len(words.vocabulary) == 4
    assert words.train[0] == 1 and (words.train == 0).any() and words.train.max() == 3
    assert (words.valid == 0).double().mean() > 0.9
    with pytest.raises(InputError, match="at least one word beside"):
        open_words(path, most=1)
    path.write_text("word " * 30 + " " * 300)
    with pytest.raises(InputError, match="has no words"):
        open_words(path)


def test_ngrams_overlap_and_carry_positions() -> None:
    ids = torch.tensor([3, 1, 4, 1])
    assert ngram_sets(ids, 3, 10).tolist() == [[3, 11, 24], [1, 14, 21]]
    assert placed(ids, 10).tolist() == [3, 11, 24, 31]
    for n in (0, 5):
        with pytest.raises(InputError, match=f"no {n}-grams"):
            ngram_sets(ids, n, 10)
    with pytest.raises(InputError, match="from 0 to 3"):
        placed(ids, 4)


def test_blocks_have_words() -> None:
    with pytest.raises(InputError, match="at least one word"):
        reverse_blocks([1], 0, 0)
