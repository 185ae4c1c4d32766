import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.analyze.in_context.predictors import OnePass, Ridge
from ordinate.data.in_context.linear import LinearPrompts
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.programs.compiler import compile_program
from ordinate.models.programs.learners import ridge_program, sgd_program


def drawn(d: int, n: int):
    return LinearPrompts(d, n, noise=0.3).sample(6, generator(d, n))


@given(d=st.integers(1, 6), n=st.integers(1, 8))
@settings(max_examples=10)
def test_programs_are_their_algorithms(d: int, n: int) -> None:
    prompts = drawn(d, n)
    for learner, algorithm in ((sgd_program(d, n, 0.03, 0.1), OnePass(0.03, 0.1)), (ridge_program(d, n, 0.5), Ridge(0.5))):
        torch.testing.assert_close(learner.predict(prompts.tokens()), algorithm(prompts.x, prompts.y), atol=1e-10, rtol=1e-10)
        torch.testing.assert_close(learner.learnt(prompts.tokens()), algorithm.weights(prompts.x, prompts.y), atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize(("d", "n"), [(1, 2), (2, 5), (3, 4)])
def test_transformers_are_their_algorithms_to_one_in_a_million(d: int, n: int) -> None:
    prompts = drawn(d, n)
    for learner, algorithm in ((sgd_program(d, n, 0.03, 0.1), OnePass(0.03, 0.1)), (ridge_program(d, n, 0.5), Ridge(0.5))):
        transformer = compile_program(learner.program)
        wanted = algorithm(prompts.x, prompts.y)
        assert float((learner.predict(prompts.tokens(), transformer) - wanted).abs().max()) < 1e-6 * float(wanted.abs().max())


@pytest.mark.parametrize("learner", [sgd_program(2, 4, 0.05), ridge_program(2, 4, 0.5)])
def test_the_error_of_products_falls_with_the_square_of_their_scale(learner) -> None:
    tokens = drawn(2, 4).tokens()
    wanted = learner.predict(tokens)
    coarse, fine, usual = (
        float((learner.predict(tokens, compile_program(learner.program, eps=eps, N=N)) - wanted).abs().max())
        for eps, N in ((1e-2, 1e6), (5e-3, 1e6), (1e-3, 1e5))
    )
    assert fine == pytest.approx(coarse / 4, rel=0.1) and usual < 1e-3 * float(wanted.abs().max())


def test_layers_are_constant_for_each_example_and_rows_grow_as_d_or_its_square() -> None:
    for make, layers, rows in (
        (lambda d, n: sgd_program(d, n, 0.1), 6, lambda d: 3 * d + 3),
        (lambda d, n: ridge_program(d, n, 0.5), 13, lambda d: 3 * d * d + 6 * d + 4),
    ):
        counts = [make(3, n).program.count()["layers"] for n in (2, 3, 4)]
        assert counts[2] - counts[1] == counts[1] - counts[0] == layers
        assert [make(d, 3).program.rows for d in (1, 5)] == [rows(1), rows(5)]


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda: sgd_program(0, 3, 0.1), "at least 1"),
        (lambda: sgd_program(2, 0, 0.1), "at least 1"),
        (lambda: sgd_program(2, 3, 0.0), "rate must be positive"),
        (lambda: sgd_program(2, 3, 0.1, -1.0), "0 or more"),
        (lambda: ridge_program(2, 3, 0.0), "must be positive"),
    ],
)
def test_a_learner_that_cannot_be_is_one_line(make, why: str) -> None:
    with pytest.raises(InputError, match=why):
        make()
