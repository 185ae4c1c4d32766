import torch

from ordinate.analyze.in_context.affine import with_constant
from ordinate.analyze.in_context.predictors import LeastSquares, Ridge
from ordinate.analyze.in_context.representations import OnRepresentation


def test_a_coordinate_more_is_one() -> None:
    x = torch.randn(2, 3, 4)
    assert torch.equal(with_constant(x)[..., :4], x) and torch.equal(with_constant(x)[..., 4], torch.ones(2, 3))
    assert with_constant(x.double()).dtype == torch.float64


def test_baselines_with_a_constant_fit_an_intercept_exactly() -> None:
    """Labels 2 x_1 - x_2 + 5 without noise: known after d + 1 pairs with the constant, and never without."""
    x = torch.randn(5, 9, 2, dtype=torch.float64)
    y = x @ torch.tensor([2.0, -1.0], dtype=torch.float64) + 5
    assert float((LeastSquares()(with_constant(x), y) - y)[:, 3:].abs().max()) < 1e-8
    assert float((LeastSquares()(x, y) - y)[:, 3:].abs().max()) > 0.1
    fit = OnRepresentation(Ridge(1e-9), with_constant, name="ridge with a constant")
    assert float((fit(x, y) - y)[:, 4:].abs().max()) < 1e-5
    torch.testing.assert_close(
        LeastSquares().weights(with_constant(x), y)[:, 8], torch.tensor([[2.0, -1.0, 5.0]], dtype=torch.float64).expand(5, 3)
    )


def test_a_constant_alone_predicts_the_mean_so_far() -> None:
    y = torch.randn(3, 6, dtype=torch.float64)
    means = y.cumsum(dim=1)[:, :-1] / torch.arange(1, 6)
    torch.testing.assert_close(LeastSquares()(with_constant(torch.zeros(3, 6, 1, dtype=torch.float64)), y)[:, 1:], means)
