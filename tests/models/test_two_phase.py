import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.utils.estimator_checks import check_estimator

from ordinate.data.latent_models import FactorProblem, MixtureProblem, PairsProblem
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.contrastive_pairs import ContrastivePairs
from ordinate.models.factor_model import FactorModel
from ordinate.models.gaussian_mixture import GaussianMixturePretrainer
from ordinate.models.latent_heads import RidgeHead
from ordinate.models.latent_likelihood import LikelihoodRidge, LikelihoodTable
from ordinate.models.two_phase import TwoPhaseClassifier, TwoPhaseRegressor


@pytest.mark.parametrize("estimator", [TwoPhaseRegressor(), TwoPhaseRegressor(limit=4.0), TwoPhaseClassifier()], ids=str)
def test_both_pass_scikit_learns_own_checks(estimator: object) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(estimator, on_skip=None)


def test_few_labels_and_many_rows_beat_few_labels() -> None:
    chance = generator("two phases")
    problem = FactorProblem.draw(20, (3.0, 2.0), chance)
    x, y = problem.sample(30, chance)
    tests, truth = problem.sample(2000, chance)
    model = TwoPhaseRegressor(FactorModel(2)).fit(x, y, problem.inputs(5000, chance))
    alone = RidgeHead().fit(x, y)
    best = 1 - float((truth - tests @ problem.best).square().sum() / (truth - truth.mean()).square().sum())
    assert model.score(tests, truth) > best - 0.05 > alone.score(tests, truth) + 0.05


def test_classes_of_a_mixture_need_a_few_labels_a_component() -> None:
    chance = generator("classes")
    problem = MixtureProblem.draw(6, 4, 2, chance, separation=6.0, flips=0.1)
    x, y = problem.sample(40, chance)
    tests = problem.inputs(1000, chance)
    names = np.array(["no", "yes"])
    model = TwoPhaseClassifier(GaussianMixturePretrainer(4)).fit(x, names[y.numpy()], problem.inputs(1000, chance))
    assert set(model.classes_) == {"no", "yes"}
    assert (model.predict(tests) == names[problem.probabilities(tests).argmax(dim=1).numpy()]).mean() > 0.98


def test_pairs_are_given_as_a_tuple() -> None:
    chance = generator("tuple")
    problem = PairsProblem.draw(6, 1, chance, signal=2.0)
    x, y = problem.sample(50, chance)
    model = TwoPhaseRegressor(ContrastivePairs(1)).fit(x, y, problem.pairs(3000, chance))
    weights = model.pretrainer_.theta_[0] * model.head_.weight_
    assert float(torch.cosine_similarity(weights, problem.best, dim=0)) > 0.98


def test_a_fitted_pretrainer_is_taken_as_it_is() -> None:
    x, y = torch.randn(30, 4, dtype=torch.float64), torch.randn(30, dtype=torch.float64)
    fitted = FactorModel(2, noise="free").fit(torch.randn(100, 4))
    model = TwoPhaseRegressor(fitted, prefit=True).fit(x, y)
    assert model.pretrainer_ is fitted
    with pytest.raises(NotFittedError):
        clone(model).fit(x, y)
    for arguments in ({"prefit": True}, {"prefit": True, "pretrainer": fitted}):
        with pytest.raises(InputError, match="prefit"):
            TwoPhaseRegressor(**arguments).fit(x, y, x if "pretrainer" in arguments else None)


def test_any_head_will_do() -> None:
    x, labels = torch.randn(40, 3, dtype=torch.float64), torch.tensor([0, 1] * 20)
    model = TwoPhaseClassifier(FactorModel(2, noise="free"), LogisticRegression()).fit(x, labels)
    assert isinstance(model.head_, LogisticRegression) and model.predict(x).shape == (40,)


def test_a_head_by_maximum_likelihood_pays_for_a_wrong_model_and_one_by_risk_does_not() -> None:
    """The pretrained model takes its factor for far less certain than it is: long weights, which would explain the labels, are unlikely under it."""
    chance = generator("wrong")
    problem = FactorProblem.draw(10, (4.0,), chance, beta=3.0, noise=0.5)
    x, y = problem.sample(2000, chance)
    wrong = FactorModel.of_loadings(0.1 * problem.loadings)  # the right direction, a tenth of the size
    right = FactorModel.of_loadings(problem.loadings)
    risks = {}
    for name, model in (("wrong", wrong), ("right", right)):
        for phase2 in ("erm", "mle"):
            found = TwoPhaseRegressor(model, prefit=True, phase2=phase2, noise=0.5).fit(x, y)
            risks[name, phase2] = float(np.square(found.predict(x) - (x @ problem.best).numpy()).mean())
    assert risks["right", "erm"] < 0.02 and risks["right", "mle"] < 0.02
    assert risks["wrong", "erm"] < 0.02 and risks["wrong", "mle"] > 0.2, risks


def test_tables_by_maximum_likelihood_are_right_where_the_model_is() -> None:
    chance = generator("table")
    problem = MixtureProblem.draw(4, 4, 2, chance, separation=6.0)
    x, y = problem.sample(2000, chance)
    model = TwoPhaseClassifier(GaussianMixturePretrainer.of_centres(problem.centres), prefit=True, phase2="mle").fit(x, y)
    expected = torch.full((4, 2), 0.1, dtype=torch.float64)
    expected[torch.arange(4), problem.table] = 0.9
    torch.testing.assert_close(model.head_.table_, expected, atol=0.05, rtol=0)
    assert (model.predict(x) == problem.probabilities(x).argmax(dim=1).numpy()).mean() > 0.99


def test_what_cannot_be_fitted_is_refused() -> None:
    x, y = torch.randn(10, 3, dtype=torch.float64), torch.randn(10, dtype=torch.float64)
    codes = torch.tensor([0, 1] * 5)
    model = TwoPhaseRegressor(FactorModel(1, noise="free"))
    for call, words in (
        (lambda: model.fit(x[:0], y[:0]), "0 sample"),
        (lambda: model.fit(x, y, x[:0]), "0 sample"),
        (lambda: model.fit(x, y, x * float("nan")), "NaN"),
        (lambda: model.fit(x, y * float("inf")), "infinity"),
        (lambda: model.fit(x, y, torch.randn(10, 4)), "unlabelled rows have 4 features and labelled ones 3"),
        (lambda: TwoPhaseRegressor(FactorModel(3)).fit(x, y), "fewer factors than coordinates"),
        (lambda: TwoPhaseRegressor(phase2="map").fit(x, y), "unknown second phase"),
        (lambda: TwoPhaseRegressor(GaussianMixturePretrainer(2), phase2="mle").fit(x, y), "posterior_covariance"),
        (lambda: TwoPhaseRegressor(phase2="mle", noise=0.0).fit(x, y), "noise above 0"),
        (lambda: TwoPhaseClassifier().fit(x, codes * 0), "one class only"),
        (lambda: TwoPhaseClassifier(GaussianMixturePretrainer(11)).fit(x, codes), "11 components"),
        (lambda: TwoPhaseClassifier().predict(x), "not fitted"),
        (lambda: LikelihoodTable().fit(x.abs(), codes * 0), "one class only"),
        (lambda: LikelihoodRidge(torch.eye(2), 1.0).fit(x, y), "covariance of 3"),
    ):
        with pytest.raises(ValueError, match=words):
            call()
