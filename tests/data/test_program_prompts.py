import pytest
import torch

from ordinate.data.program_prompts import PROGRAMS, ProgramTokens, program_prompts
from ordinate.ground.errors import InputError


@pytest.mark.parametrize("program", PROGRAMS)
def test_answers_are_those_of_the_program_and_negatives_lack_the_marker_alone(program: str) -> None:
    tokens = ProgramTokens(numbers=9, longest=6)
    contrast = program_prompts(program, 40, tokens=tokens, shortest=2)
    lengths = contrast.positives.lengths
    assert set(lengths.tolist()) == set(range(4, 9))
    for prompt, length, answer in zip(contrast.positives.tokens.tolist(), lengths.tolist(), contrast.right[:, 0].tolist(), strict=True):
        numbers, place = prompt[1 : length - 1], prompt[length - 1] - tokens.place(0)
        assert prompt[0] == tokens.begin and len(set(numbers)) == len(numbers) and max(numbers) < tokens.numbers
        assert answer == (numbers[::-1] if program == "reverse" else sorted(numbers))[place]
    assert bool((contrast.negatives.tokens[:, 0] == tokens.blank).all())
    assert torch.equal(contrast.negatives.tokens[:, 1:], contrast.positives.tokens[:, 1:])
    assert int(contrast.positives.tokens.max()) < tokens.vocabulary and contrast.positives.tokens.shape[1] == tokens.length


def test_the_same_seed_gives_the_same_prompts() -> None:
    one, same, other = (program_prompts("sort", 5, seed=seed).positives.tokens for seed in (0, 0, 1))
    assert torch.equal(one, same) and (one.shape != other.shape or not torch.equal(one, other))


def test_what_is_no_sequence_is_refused() -> None:
    with pytest.raises(InputError, match="at most all 3, not 4"):
        ProgramTokens(numbers=3, longest=4)
    with pytest.raises(InputError, match="unknown program"):
        program_prompts("shuffle")
    for wrong in ({"count": 0}, {"shortest": 9}, {"shortest": 0}):
        with pytest.raises(InputError, match="at least 1 and at most 8"):
            program_prompts("sort", **wrong)
