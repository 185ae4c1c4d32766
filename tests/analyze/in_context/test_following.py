import pytest
import torch

from ordinate.analyze.in_context.distances import ilwd, implied_weights, linearity_r2, mspd, spd, squared_errors
from ordinate.analyze.in_context.following import follow, reference_families
from ordinate.analyze.in_context.linear_references import linear_families
from ordinate.analyze.in_context.model import ModelPredictor
from ordinate.analyze.in_context.predictors import LeastSquares, Neighbours, Predictor, Ridge, Zero
from ordinate.analyze.in_context.study import fresh_prompts, fresh_queries, study_in_context
from ordinate.data.in_context.linear import LinearPrompts
from ordinate.data.in_context.prompts import LAYOUTS, PromptSource
from ordinate.ground.errors import InputError
from ordinate.models.in_context_transformer import InContextTransformer

SOURCE = LinearPrompts(3, 6, noise=0.4)


class Disguised(Predictor):
    """A linear predictor that does not say so."""

    name = "disguised"

    def answer(self, x: torch.Tensor, y: torch.Tensor, queries: torch.Tensor) -> torch.Tensor:
        return Ridge(0.5).answer(x, y, queries)


def network(layout: str = "label-first") -> InContextTransformer:
    torch.manual_seed(0)
    width = LinearPrompts(3, 6, layout=layout).token_width
    return InContextTransformer(token_width=width, hidden=16, layers=2, heads=2, max_length=13).eval()


def test_distances_of_linear_predictors_are_those_of_their_weights() -> None:
    prompts, queries = fresh_prompts(SOURCE, 5), fresh_queries(SOURCE, 5)
    a, b = Ridge(0.5), LeastSquares()
    assert (spd(a, a, prompts.x, prompts.y) == 0).all()
    wanted = (a.weights(prompts.x, prompts.y) - b.weights(prompts.x, prompts.y)).square().sum(2)
    torch.testing.assert_close(ilwd(a, b, prompts.x, prompts.y, queries), wanted)
    torch.testing.assert_close(ilwd(Disguised(), b, prompts.x, prompts.y, queries), wanted)
    torch.testing.assert_close(linearity_r2(Disguised(), prompts.x, prompts.y, queries), torch.ones(6, dtype=torch.float64))
    assert float(linearity_r2(Neighbours(2), prompts.x, prompts.y, queries)[3:].max()) < 0.99
    torch.testing.assert_close(squared_errors(Zero(), prompts.x, prompts.y), prompts.y.double().square())


def test_mspd_is_over_the_prefixes_that_leave_a_choice() -> None:
    assert mspd(torch.tensor([[9.0, 1.0, 3.0, 9.0]]), 3) == 2
    for d in (1, 5):
        with pytest.raises(InputError, match="under-determined"):
            mspd(torch.zeros(2, 4), d)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_network_answers_queries_as_it_answers_its_prompt(layout: str) -> None:
    source = LinearPrompts(3, 6, layout=layout)
    prompts, predictor = fresh_prompts(source, 5), ModelPredictor(network(layout), layout=layout, at_once=2)
    torch.testing.assert_close(Predictor.__call__(predictor, prompts.x, prompts.y), predictor(prompts.x, prompts.y), atol=1e-5, rtol=1e-4)


def test_a_predictor_is_nearest_to_itself_and_a_study_repeats() -> None:
    families = linear_families(SOURCE)
    found = study_in_context(Ridge(families["ridge"][3].penalty), SOURCE, families, prompts=60, asked=10)  # type: ignore[attr-defined]
    assert found.ranking[0] == "ridge" and set(found.nearest) == {"ridge"} and found.references["ridge"].member == families["ridge"][3].name
    assert found.references["ridge"].spd.over() < 1e-24 < found.references["OLS"].spd.over()
    assert found.linearity is not None and (found.linearity == 1).all()
    again = study_in_context(Ridge(families["ridge"][3].penalty), SOURCE, families, prompts=60, asked=10)  # type: ignore[attr-defined]
    assert again.to_json() == found.to_json()
    assert found.to_json()["references"]["k-NN"]["ilwd"]["mean"][1] > 0


def test_intervals_narrow_with_prompts() -> None:
    few, many = (study_in_context(Zero(), SOURCE, linear_families(SOURCE), prompts=count, asked=0) for count in (50, 5_000))
    assert (many.risk.half[1:] < 0.3 * few.risk.half[1:]).all() and many.linearity is None
    assert float((many.risk.mean - SOURCE.zero_risk).abs().max()) < 3 * float(many.risk.half.max())


def test_a_study_that_cannot_be_is_one_line() -> None:
    families, prompts = linear_families(SOURCE), fresh_prompts(SOURCE, 4)
    with pytest.raises(InputError, match="13 positions, and the prompt has 79 tokens"):
        study_in_context(ModelPredictor(network()), LinearPrompts(3, 40), families, prompts=4)
    with pytest.raises(InputError, match="reads tokens"):
        study_in_context(ModelPredictor(network()), LinearPrompts(2, 6), families, prompts=4)
    with pytest.raises(InputError, match="at least two prompts"):
        study_in_context(Zero(), SOURCE, families, prompts=1)
    with pytest.raises(InputError, match="at least one algorithm"):
        follow(Zero(), {}, prompts.x, prompts.y)
    with pytest.raises(InputError, match="one pair"):
        follow(Zero(), families, prompts.x[:, :1], prompts.y[:, :1])
    with pytest.raises(InputError, match="at least 6 queries"):
        implied_weights(Neighbours(1), prompts.x, prompts.y, torch.zeros(4, 6, 5, 3))
    with pytest.raises(InputError, match="did you mean linear"):
        reference_families("linea", SOURCE)
    with pytest.raises(InputError, match="linear prompts"):
        linear_families(PromptSource.__new__(_Other))
    with pytest.raises(InputError, match="at least one prompt"):
        ModelPredictor(network(), at_once=0)


class _Other(PromptSource):
    def sample(self, count: int, generator: torch.Generator, *, n: int | None = None, alive: int | None = None):
        raise NotImplementedError
