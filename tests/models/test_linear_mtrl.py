import pickle
import warnings

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.linear_model import LinearRegression
from sklearn.utils.estimator_checks import check_estimator

from ordinate.ground.errors import InputError
from ordinate.models.linear_mtrl import LinearMTRL


def rows(seed: int = 0, noise: float = 0.05) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    chance = np.random.default_rng(seed)
    B, W, levels = chance.standard_normal((6, 2)), chance.standard_normal((2, 5)), chance.standard_normal(5)
    X, tasks = chance.standard_normal((200, 6)) + 1, chance.integers(0, 5, 200)
    return X, (X @ B @ W)[np.arange(200), tasks] + levels[tasks] + noise * chance.standard_normal(200), tasks


@pytest.mark.parametrize("options", [{}, {"intercept": False}, {"rank": 1}])
def test_it_passes_scikit_learns_own_checks(options: dict) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        check_estimator(LinearMTRL(**options), on_skip=None)


def test_tasks_share_what_they_have_in_common() -> None:
    X, y, tasks = rows()
    model = LinearMTRL(2, tolerance=1e-12).fit(X, y, tasks)
    assert model.B.shape == (6, 2) and model.heads.shape == (2, 5)
    assert np.abs(model.predict(X, tasks) - y).mean() < 0.1
    every = model.predict(X)
    assert every.shape == (200, 5) and np.allclose(every[np.arange(200), tasks], model.predict(X, tasks))
    assert np.allclose(clone(model).fit(X, y, tasks).predict(X), every)
    assert np.allclose(pickle.loads(pickle.dumps(model)).predict(X), every)


def test_one_task_is_least_squares_and_columns_are_tasks() -> None:
    X, y, _ = rows()
    assert np.allclose(LinearMTRL().fit(X, y).predict(X), LinearRegression().fit(X, y).predict(X), atol=1e-5)
    columns = np.stack([y, -2 * y, y + 1], axis=1)
    model = LinearMTRL(1).fit(X, columns)
    assert model.predict(X).shape == (200, 3)
    assert np.allclose(model.predict(X), LinearRegression().fit(X, columns).predict(X), atol=1e-4)


def test_a_new_head_stands_on_the_representation() -> None:
    X, y, tasks = rows(noise=0.0)
    model = LinearMTRL(2, rounds=300, tolerance=1e-14).fit(X, y, tasks)
    chosen = tasks == 3
    head, level = model.fit_head(torch.from_numpy(X[chosen]), torch.from_numpy(y[chosen]))
    torch.testing.assert_close(head, model.heads[:, 3], atol=1e-4, rtol=1e-4)
    assert level == pytest.approx(float(model.intercept_[3]), abs=1e-4)
    few, _ = model.fit_head(torch.from_numpy(X[:1]), torch.from_numpy(y[:1]))
    assert bool(few.isfinite().all())
    assert LinearMTRL(2, intercept=False).fit(X, y, tasks).fit_head(torch.from_numpy(X), torch.from_numpy(y))[1] == 0.0


def test_samples_of_many_dimensions_are_flattened() -> None:
    model = LinearMTRL(1)
    model.begin(2)
    model.add(0, torch.randn(20, 1, 2, 2), torch.randn(20))
    model.add(1, torch.randn(20, 1, 2, 2), torch.randn(20))
    model.learn()
    assert model.encode(torch.randn(3, 1, 2, 2)).shape == (3, 1)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda X, y, t: LinearMTRL(6).fit(X, y, t), "5 tasks share has 1 to 5 features, not 6"),
        (lambda X, y, t: LinearMTRL(2).fit(X, y, t.astype(float)), "integers from 0"),
        (lambda X, y, t: LinearMTRL(2).fit(X, y, t - 1), "integers from 0"),
        (lambda X, y, t: LinearMTRL(2).fit(X, np.stack([y, y], 1), t), r"targets are \(n,\)"),
        (lambda X, y, t: LinearMTRL(2).fit(X, y, t).predict(X, t + 4), "there is no task 8"),
        (lambda X, y, t: LinearMTRL(2).fit(X, y, t).fit_head(torch.zeros(0, 6), torch.zeros(0)), "there are none"),
        (lambda X, y, t: LinearMTRL(2).begin(0), "at least one task"),
    ],
)
def test_bad_input_is_refused(call, words: str) -> None:
    with pytest.raises(InputError, match=words):
        call(*rows())


def test_samples_are_checked_before_they_are_added() -> None:
    model = LinearMTRL(1)
    model.begin(2)
    for task, X, y, words in [
        (2, torch.zeros(3, 2), torch.zeros(3), "there is no task 2"),
        (0, torch.zeros(3, 2), torch.zeros(4), "inputs .* and targets"),
        (0, torch.full((3, 2), torch.nan), torch.zeros(3), "must be finite"),
    ]:
        with pytest.raises(InputError, match=words):
            model.add(task, X, y)
    with pytest.raises(InputError, match="there are none"):
        model.learn()
