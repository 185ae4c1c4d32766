from itertools import pairwise

import pytest
import torch
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.models.ridge_transformer import RidgeTransformer, ridge_transformer
from ordinate.nn.fixed_representation import FixedRepresentation


def prompts(phi: FixedRepresentation, batch: int = 3, n: int = 9) -> tuple[Tensor, Tensor]:
    x = torch.nn.functional.normalize(torch.randn(batch, n, phi.d, dtype=torch.float64), dim=-1)
    w = torch.randn(batch, phi.D, 1, dtype=torch.float64)
    return x, (phi(x) @ w)[..., 0] + 0.1 * torch.randn(batch, n, dtype=torch.float64)


def ridge(phi: FixedRepresentation, lam: float, x: Tensor, y: Tensor) -> Tensor:
    """Prompt by prompt and prefix by prefix."""
    found = torch.zeros_like(y)
    for row in range(len(y)):
        features = phi(x[row])
        for i in range(1, y.shape[1]):
            past = features[:i]
            gram = past.mT @ past + i * lam * torch.eye(phi.D, dtype=torch.float64)
            found[row, i] = features[i] @ torch.linalg.solve(gram, past.mT @ y[row, :i])
    return found


@pytest.mark.parametrize(("d", "D", "layers"), [(4, 4, 1), (3, 4, 2), (5, 4, 3)])
def test_it_predicts_as_ridge_regression_on_the_representation(d: int, D: int, layers: int) -> None:
    phi = FixedRepresentation(d, D, layers, normalize=False)
    x, y = prompts(phi)
    with torch.no_grad():
        assert (ridge_transformer(phi, 0.1, 60)(x, y) - ridge(phi, 0.1, x, y)).abs().max() < 1e-2


def test_its_error_falls_geometrically_with_the_steps() -> None:
    phi = FixedRepresentation(4, 4, 1, normalize=False)
    x, y = prompts(phi)
    exact = ridge(phi, 0.1, x, y)
    with torch.no_grad():
        errors = [float((ridge_transformer(phi, 0.1, steps)(x, y) - exact).abs().max()) for steps in (30, 60, 90, 120)]
    worst = (1 - 0.1 / 1.1) ** 30
    assert all(after < 1.5 * worst * before for before, after in pairwise(errors))
    assert errors[-1] < 1e-5


def test_its_lower_blocks_compute_and_copy_the_representation() -> None:
    phi = FixedRepresentation(3, 4, 2, normalize=False)
    x, y = prompts(phi)
    model = ridge_transformer(phi, 0.1, 1)
    h = model.embed(x, y)
    for block in model.blocks[:3]:
        h = block(h)
    torch.testing.assert_close(h[:, 0::2, model.rows.features], phi(x))
    torch.testing.assert_close(h[:, 1::2, model.rows.copied], phi(x))
    assert h[:, 1::2, model.rows.features].abs().max() == 0 and h[:, 0::2, model.rows.copied].abs().max() < 1e-12


def test_it_sees_no_label_before_its_time_and_the_first_answer_is_zero() -> None:
    phi = FixedRepresentation(3, 3, 1, normalize=False)
    x, y = prompts(phi)
    model = ridge_transformer(phi, 0.1, 20)
    before = model(x, y)
    changed = y.clone()
    changed[:, 5] += 1.0
    after = model(x, changed)
    assert torch.equal(before[:, :6], after[:, :6]) and (before[:, 6:] - after[:, 6:]).abs().min() > 1e-6
    assert before[:, 0].abs().max() == 0


def test_its_size_is_as_stated() -> None:
    phi = FixedRepresentation(3, 5, 2, normalize=False)
    model = ridge_transformer(phi, 0.1, 7)
    assert isinstance(model, RidgeTransformer) and len(model.blocks) == 2 + 7 + 3
    assert model.rows.width == 4 * 5 + 3 + 6 and max(len(block.heads) for block in model.blocks) == 3


def test_what_it_cannot_compute_is_refused() -> None:
    phi = FixedRepresentation(3, 3, 1, normalize=False)
    with pytest.raises(InputError, match="not scaled"):
        ridge_transformer(FixedRepresentation(3, 3, 1), 0.1, 5)
    with pytest.raises(InputError, match="leaky-ReLU"):
        ridge_transformer(FixedRepresentation(3, 3, 1, activation="tanh", normalize=False), 0.1, 5)
    with pytest.raises(InputError, match="steps at least 1"):
        ridge_transformer(phi, 0.1, 0)
    with pytest.raises(InputError, match="inputs of width 3, not 4"):
        ridge_transformer(phi, 0.1, 1)(torch.zeros(1, 2, 4, dtype=torch.float64), torch.zeros(1, 2, dtype=torch.float64))
