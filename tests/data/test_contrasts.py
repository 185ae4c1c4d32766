import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.data.contrasts import Contrast, Prompts
from ordinate.data.repeated_tokens import repeated_tokens, sample_repeats
from ordinate.ground.errors import InputError


@settings(max_examples=20)
@given(st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=5))
def test_prompts_are_padded_on_the_right(rows: list[list[int]]) -> None:
    prompts = Prompts.of(rows)
    assert prompts.lengths.tolist() == [len(row) for row in rows]
    assert [tokens[mask].tolist() for tokens, mask in zip(prompts.tokens, prompts.mask, strict=True)] == rows
    both = prompts.followed_by(Prompts.of([[7] * 8]))
    assert len(both) == len(rows) + 1 and both.lengths.tolist()[-1] == 8 and both.lengths.tolist()[:-1] == prompts.lengths.tolist()


def test_prompts_that_are_none_are_refused() -> None:
    for rows in ([], [[1], []]):
        with pytest.raises(InputError, match="every prompt must have a token"):
            Prompts.of(rows)
    with pytest.raises(InputError, match="differ in shape"):
        Prompts(torch.zeros(1, 2, dtype=torch.int64), torch.ones(1, 3, dtype=torch.bool))
    with pytest.raises(InputError, match="after a prompt's tokens"):
        Prompts(torch.zeros(1, 3, dtype=torch.int64), torch.tensor([[True, False, True]]))


def contrast(wrong: torch.Tensor | None) -> Contrast:
    prompts = Prompts.of([[1, 2], [3, 4]])
    return Contrast("c", prompts, prompts, torch.tensor([[0], [2]]), wrong)


def test_preference_is_a_difference_of_logits_for_one_right_and_one_wrong_token() -> None:
    logits = torch.tensor([[3.0, 1.0, 9.0], [0.0, 5.0, 7.0]])
    assert torch.allclose(contrast(torch.tensor([[1], [0]])).preference(logits), torch.tensor([2.0, 7.0]))
    assert contrast(torch.tensor([[1], [0]])).accuracy(logits) == 1.0
    assert contrast(None).accuracy(logits) == 0.5
    against_all = float(contrast(None).preference(logits)[0])
    assert against_all == pytest.approx(3 - math.log(math.exp(1) + math.exp(9)), rel=1e-5)


def test_minus_one_is_no_token_and_counts_must_agree() -> None:
    logits = torch.randn(2, 3)
    assert torch.equal(contrast(torch.tensor([[1, -1], [0, -1]])).preference(logits), contrast(torch.tensor([[1], [0]])).preference(logits))
    with pytest.raises(InputError, match="as many of each, not 2 positives, 2 negatives, 2 right answers, 3 wrong answers"):
        contrast(torch.zeros(3, 1, dtype=torch.int64))
    with pytest.raises(InputError, match="there are logits of 1"):
        contrast(None).preference(logits[:1])


@settings(max_examples=20)
@given(st.integers(2, 6), st.integers(0, 3), st.integers(0, 9))
def test_repeats_repeat_and_their_successor_is_the_answer(least: int, more: int, seed: int) -> None:
    length = 2 * (least + more) + 1
    made = repeated_tokens(8, length=length, periods=(least, least + more), vocabulary=12, seed=seed)
    for tokens, other, answer in zip(
        made.positives.tokens.tolist(), made.negatives.tokens.tolist(), made.right[:, 0].tolist(), strict=True
    ):
        period = next(p for p in range(least, least + more + 1) if all(tokens[i] == tokens[i - p] for i in range(p, length)))
        assert answer == tokens[length - period] and len(set(tokens)) == period
        assert other[length - period :] == tokens[length - period :]
    assert not torch.equal(made.positives.tokens, made.negatives.tokens)


def test_repeats_that_do_not_fit_are_refused() -> None:
    for arguments in ((0, 5, (2, 2), 9), (3, 5, (5, 5), 9), (3, 20, (10, 12), 9), (3, 5, (3, 2), 9)):
        with pytest.raises(InputError, match="cannot repeat"):
            sample_repeats(*arguments, torch.Generator())
