"""Exact predictors and fresh queries against straightforward code: a loop over prompts and prefixes with scikit-learn, and a network that reads the whole prompt again for every query.

Prefixes of 0 pairs are not timed with scikit-learn, which cannot fit them.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from sklearn.linear_model import LinearRegression
from sklearn.linear_model import Ridge as OneRidge
from sklearn.neighbors import KNeighborsRegressor
from torch import Tensor

from ordinate.analyze.in_context.model import ModelPredictor
from ordinate.analyze.in_context.predictors import LeastSquares, Neighbours, Ridge
from ordinate.bench.base import Bench, BenchResult, Timing
from ordinate.data.in_context.linear import LinearPrompts
from ordinate.data.in_context.prompts import interleave, query_tokens
from ordinate.experiment.measure import measure_time
from ordinate.models.in_context_transformer import InContextTransformer

__all__ = ["BENCHES", "asked_one_by_one", "fitted_one_by_one"]

D = 8
PENALTY = 0.1


def fitted_one_by_one(make: Callable[[int], Any], x: Tensor, y: Tensor) -> Tensor:
    """The peer of a `Predictor`: every prefix of every prompt is fitted by an estimator of its own, `make(pairs)`; (B, n), 0 where there is no pair."""
    found = torch.zeros(y.shape, dtype=torch.float64)
    for row, (inputs, labels) in enumerate(zip(x.double().numpy(), y.double().numpy(), strict=True)):
        for pairs in range(1, len(inputs)):
            fitted = make(pairs).fit(inputs[:pairs], labels[:pairs])
            found[row, pairs] = float(fitted.predict(inputs[pairs : pairs + 1])[0])
    return found


@torch.no_grad()
def asked_one_by_one(model: InContextTransformer, x: Tensor, y: Tensor, queries: Tensor) -> Tensor:
    """The peer of `ModelPredictor.answer`: for every prefix and query the whole sequence is read anew, all prompts at once."""
    tokens, found = interleave(x, y), torch.zeros(queries.shape[:3])
    for pairs in range(x.shape[1]):
        for number in range(queries.shape[2]):
            asked = query_tokens(queries[:, pairs, number])[:, None]
            found[:, pairs, number] = model(torch.cat((tokens[:, : 2 * pairs], asked), dim=1))[:, -1, 0]
    return found


def _predictors(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    prompts = 8 if quick else 64
    for n in sizes or ((10,) if quick else BENCHES["in-context-predictors"].sizes):
        drawn = LinearPrompts(D, n).sample(prompts, torch.Generator().manual_seed(n))
        calls: dict[str, Callable[[], Any]] = {
            "OLS": partial(LeastSquares(), drawn.x, drawn.y),
            "OLS, scikit-learn": partial(fitted_one_by_one, lambda pairs: LinearRegression(fit_intercept=False), drawn.x, drawn.y),
            "ridge": partial(Ridge(PENALTY), drawn.x, drawn.y),
            "ridge, scikit-learn": partial(fitted_one_by_one, lambda pairs: OneRidge(PENALTY, fit_intercept=False), drawn.x, drawn.y),
            "3-NN": partial(Neighbours(3), drawn.x, drawn.y),
            "3-NN, scikit-learn": partial(fitted_one_by_one, lambda pairs: KNeighborsRegressor(min(3, pairs)), drawn.x, drawn.y),
        }
        for contender, call in calls.items():
            watch(f"{contender}, {prompts} prompts of {n} pairs")
            rows.append(Timing(contender, n, measure_time(call, repeats=3)))
    return BenchResult(rows, peer="ridge", size_name="pairs", remarks=[f"{prompts} prompts of d = {D}, all prefixes"])


def _queries(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    rows: list[Timing] = []
    d, prompts = 4, 2 if quick else 16
    for n in sizes or ((6,) if quick else BENCHES["in-context-queries"].sizes):
        torch.manual_seed(0)
        model = InContextTransformer(token_width=d + 1, hidden=64, layers=4, heads=4, max_length=2 * n + 2).to(device).eval()
        drawn = LinearPrompts(d, n).sample(prompts, torch.Generator().manual_seed(n))
        queries = torch.randn(prompts, n, 4 * d, d)
        here = [each.to(device) for each in (drawn.x, drawn.y, queries)]
        calls: dict[str, Callable[[], Any]] = {
            "ordinate": partial(ModelPredictor(model, device=device).answer, drawn.x, drawn.y, queries),
            "whole sequences": partial(asked_one_by_one, model, *here),
        }
        for contender, call in calls.items():
            watch(f"{contender}, {prompts} prompts of {n} pairs")
            rows.append(Timing(contender, n, measure_time(call, repeats=3, device=device)))
    return BenchResult(rows, peer="ordinate", size_name="pairs", remarks=[f"{4 * d} queries for every prefix of {prompts} prompts"])


BENCHES = {
    "in-context-predictors": Bench(
        "Exact predictors of all prefixes at once, against scikit-learn one prefix at a time", _predictors, (10, 40)
    ),
    "in-context-queries": Bench("Fresh queries on one reading of the context, against reading it anew", _queries, (6, 12, 24)),
}
