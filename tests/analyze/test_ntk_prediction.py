import math

import pytest
import torch

from ordinate.analyze.kernels import first_kernel, kernel_flow
from ordinate.analyze.ntk_prediction import linearised_curve, ntk_predict
from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation


def kernels(count: int = 7, tests: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.randn(count + tests, 5, dtype=torch.float64)
    tangent = kernel_flow(Activation.of("relu"), first_kernel(x, 0.1, 2.0), 3, 0.1, 2.0).tangent[-1]
    return tangent[:count, :count], tangent[count:, :count]


def test_convergence_is_kernel_regression_and_goes_through_the_targets() -> None:
    train, cross = kernels()
    targets, start, begin = (torch.randn(rows, 2, dtype=torch.float64) for rows in (7, 7, 3))
    found = ntk_predict(train, cross, targets, initial_train=start, initial_test=begin)
    torch.testing.assert_close(found, begin - cross @ torch.linalg.solve(train, start - targets))
    torch.testing.assert_close(ntk_predict(train, train, targets, initial_train=start, initial_test=start), targets)


def test_the_way_there_is_gradient_descent_of_the_linear_model() -> None:
    train, cross = kernels()
    targets = torch.randn(7, 1, dtype=torch.float64)
    rate, steps = 1e-4, 2000
    on_train, on_test = torch.zeros(7, 1, dtype=torch.float64), torch.zeros(3, 1, dtype=torch.float64)
    for _ in range(steps):
        error = on_train - targets
        on_train, on_test = on_train - rate * train @ error, on_test - rate * cross @ error
    torch.testing.assert_close(ntk_predict(train, cross, targets, time=rate * steps), on_test, rtol=2e-2, atol=1e-3)
    curve = linearised_curve(train, targets, torch.tensor([0.0, rate * steps, 1e9]))
    assert float(curve[0]) == pytest.approx(float(targets.square().sum()) / 2)
    assert float(curve[1]) == pytest.approx(float((on_train - targets).square().sum()) / 2, rel=2e-2) and float(curve[2]) < 1e-12


def test_singular_kernels_need_a_jitter_or_an_end() -> None:
    x = torch.randn(4, 3, dtype=torch.float64)
    kernel = first_kernel(torch.cat([x, x[:1]]), 0.0, 1.0)
    targets = torch.randn(5, 1, dtype=torch.float64)
    with pytest.raises(InputError, match="singular: leave repeated inputs out, or give a jitter"):
        ntk_predict(kernel, kernel, targets)
    assert torch.isfinite(ntk_predict(kernel, kernel, targets, jitter=1e-8)).all()
    assert torch.isfinite(ntk_predict(kernel, kernel, targets, time=3.0)).all()
    torch.testing.assert_close(ntk_predict(kernel, kernel, targets, time=0.0), torch.zeros(5, 1, dtype=torch.float64))


def test_shapes_and_numbers_that_do_not_fit_are_refused() -> None:
    train, cross = kernels()
    targets = torch.randn(7, 1, dtype=torch.float64)
    with pytest.raises(InputError, match="6 targets for 7"):
        ntk_predict(train, cross, targets[:6])
    with pytest.raises(InputError, match="6 columns for 7"):
        ntk_predict(train, cross[:, :6], targets)
    with pytest.raises(InputError, match="time is 0 or more"):
        ntk_predict(train, cross, targets, time=math.nan)
    with pytest.raises(InputError, match="jitter is 0 or more"):
        ntk_predict(train, cross, targets, jitter=-1.0)
    with pytest.raises(InputError, match="symmetric"):
        ntk_predict(train + torch.rand(7, 7), cross, targets)
