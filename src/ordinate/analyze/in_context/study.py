"""A study of one predictor: prompts and fresh queries are drawn from a source, and it is measured against the source's exact predictors.

Source: Akyürek et al., What learning algorithm is in-context learning? (ICLR 2023), section 4.1.
"""

from dataclasses import replace
from typing import cast

from torch import Tensor

from ordinate.analyze.in_context.following import Families, Following, follow
from ordinate.analyze.in_context.predictors import Predictor
from ordinate.data.in_context.prompts import Prompts, PromptSource
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator

__all__ = ["fresh_prompts", "fresh_queries", "study_in_context"]


def fresh_prompts(source: PromptSource, count: int, seed: int = 0) -> Prompts:
    """Prompts to measure predictors on; the same for the same seed.

    Raises:
        InputError: fewer than one.
    """
    return cast(Prompts, source.sample(count, generator(seed, "in-context test")))


def fresh_queries(source: PromptSource, count: int, seed: int = 0) -> Tensor:
    """(count, n, 4 d, d), inputs that are in no prompt, for every prefix of so many prompts.

    Raises:
        InputError: fewer than one.
    """
    each = 4 * source.d
    drawn = cast(Prompts, source.sample(count * source.n, generator(seed, "in-context queries"), n=each))
    return drawn.x.view(count, source.n, each, source.d)


def study_in_context(
    predictor: Predictor, source: PromptSource, families: Families, *, prompts: int = 2_000, asked: int = 128, seed: int = 0
) -> Following:
    """Which algorithm a predictor follows on prompts of a source.

    Args:
        predictor: a trained network as a `ModelPredictor`, or any other.
        source: what prompts are drawn from.
        families: the exact predictors, by algorithm: `reference_families`.
        prompts: how many are drawn.
        asked: how many of them are asked fresh queries too, for weights and linearity; 0 leaves both out.
        seed: of the draws.

    Raises:
        InputError: fewer than two prompts, or prompts that are longer than a network can read or of another width.
    """
    if prompts < 2 or asked < 0:
        raise InputError(f"a study draws at least two prompts, and asks 0 or more of them, not {prompts} and {asked}")
    test = fresh_prompts(source, prompts, seed)
    found = follow(predictor, families, test.x, test.y)
    some = min(asked, prompts)
    if not some:
        return found
    told = follow(predictor, families, test.x[:some], test.y[:some], queries=fresh_queries(source, some, seed))
    # The nearest member is chosen on all prompts: only what queries tell is taken from those that were asked.
    references = {name: replace(each, ilwd=told.references[name].ilwd) for name, each in found.references.items()}
    return replace(found, references=references, linearity=told.linearity)
