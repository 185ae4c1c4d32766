"""The peers of the benches of source tasks do the same work."""

import torch

from ordinate.analyze.lasso import lasso
from ordinate.bench.source_tasks import INPUTS, SHARED, TASKS, fit_touching_data, lasso_one_by_one
from ordinate.models.alternating import fit_representation
from ordinate.models.task_moments import TaskMoments


def test_lassos_one_by_one_are_the_same() -> None:
    W, targets = torch.randn(4, 9).double(), torch.randn(4, 3).double()
    penalties = 0.2 * (W.mT @ targets).abs().amax(dim=0)
    torch.testing.assert_close(lasso_one_by_one(W, targets, penalties), lasso(W, targets, penalties), atol=1e-5, rtol=1e-5)


def test_touching_the_samples_gives_the_same_space() -> None:
    assert INPUTS > SHARED and TASKS >= SHARED
    samples = [(torch.randn(30, 5).double(), torch.randn(30).double()) for _ in range(6)]
    moments = TaskMoments(6, 5)
    for task, (X, y) in enumerate(samples):
        moments.add(task, X, y)
    start = torch.linalg.qr(torch.randn(5, 2).double()).Q
    theirs = fit_touching_data(samples, start, 4)
    for direct in (True, False):
        ours = fit_representation(moments, 2, rounds=4, tolerance=0.0, ridge=0.0, start=start, direct=direct).B
        torch.testing.assert_close(ours @ ours.mT, theirs @ theirs.mT, atol=1e-6, rtol=0)
