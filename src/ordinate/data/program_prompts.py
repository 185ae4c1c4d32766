"""Sequences to be reversed or sorted, as contrasts: a marker, numbers of which none occurs twice, and a question for one place of the result.

A prompt is <begin> x_1 ... x_n <place i>, and is followed by number i of the sequence in reverse, or in ascending order. A negative has <blank> where its positive has the marker, and is the same otherwise: whoever counts by the share of
attention that the marker gets (:mod:`ordinate.models.programs.counted`) has nothing to count by.
"""

from dataclasses import dataclass

import torch

from ordinate.data.contrasts import Contrast, Node, Prompts
from ordinate.ground.errors import InputError, choose
from ordinate.ground.seeds import generator

__all__ = ["PROGRAMS", "ProgramTokens", "program_prompts"]

PROGRAMS = ("reverse", "sort")


@dataclass(frozen=True)
class ProgramTokens:
    """What the tokens mean: first the numbers, then the marker, the blank, and the questions.

    Attributes:
        numbers: V, how many numbers there are.
        longest: the most of them in a sequence, at most V.

    Raises:
        InputError: no number in a sequence, or more than there are.
    """

    numbers: int = 12
    longest: int = 8

    def __post_init__(self) -> None:
        if not 1 <= self.longest <= self.numbers:
            raise InputError(f"a sequence has at least 1 number and at most all {self.numbers}, not {self.longest}")

    @property
    def begin(self) -> int:
        """The marker."""
        return self.numbers

    @property
    def blank(self) -> int:
        """What stands for nothing."""
        return self.numbers + 1

    def place(self, number: int) -> int:
        """The question for a place of the result, from 0."""
        return self.numbers + 2 + number

    @property
    def vocabulary(self) -> int:
        """How many tokens there are."""
        return self.numbers + 2 + self.longest

    @property
    def length(self) -> int:
        """Of the longest prompt."""
        return self.longest + 2


def program_prompts(
    program: str,
    count: int = 250,
    *,
    tokens: ProgramTokens | None = None,
    shortest: int = 4,
    seed: int = 0,
    truth: tuple[Node, ...] = (),
    model: str = "",
) -> Contrast:
    """The contrast; sequences of every length are asked for every place.

    Args:
        program: ``"reverse"`` or ``"sort"``.
        count: N prompts of each kind.
        tokens: the vocabulary; None is the default one.
        shortest: the fewest numbers of a sequence.
        seed: of the prompts.
        truth: nodes that are known to run the program.
        model: where they are known to.

    Raises:
        InputError: an unknown program, no prompt, or sequences that are longer than they may be.
    """
    choose("program", program, PROGRAMS)
    tokens = tokens or ProgramTokens()
    if count < 1 or not 1 <= shortest <= tokens.longest:
        raise InputError(
            f"there must be a prompt, of at least 1 and at most {tokens.longest} numbers, not {count} prompts of at least {shortest}"
        )
    draws = generator(seed, program)
    positives, answers = [], []
    for _ in range(count):
        length = int(torch.randint(shortest, tokens.longest + 1, (1,), generator=draws))
        numbers = torch.randperm(tokens.numbers, generator=draws)[:length].tolist()
        place = int(torch.randint(length, (1,), generator=draws))
        positives.append([tokens.begin, *numbers, tokens.place(place)])
        answers.append([(numbers[::-1] if program == "reverse" else sorted(numbers))[place]])
    negatives = [[tokens.blank, *prompt[1:]] for prompt in positives]
    return Contrast(program, Prompts.of(positives), Prompts.of(negatives), torch.tensor(answers), truth=truth, model=model)
