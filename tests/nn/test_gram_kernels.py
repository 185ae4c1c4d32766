import math

import jaxtyping
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.nn.gram import Gram, InputGram
from ordinate.nn.gram_kernels import GRAM_KERNELS, GramKernel, make_gram_kernel

KERNELS = [*sorted(GRAM_KERNELS.keys() - {"sum"}), {"kernel": "sum", "parts": ["relu", "sqexp", "linear"]}]


def features(points: int, dim: int = 4, seed: int = 0) -> Tensor:
    return torch.randn(points, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def joint(points: int, tests: int, full: bool = False) -> Gram:
    rows = features(points + tests)
    return InputGram(4)(rows[:points], rows[points:], full=full)


def apply(kernel: GramKernel, gram: Tensor) -> Tensor:
    return kernel(Gram.of_inducing(gram)).ii


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@given(points=st.integers(1, 5), tests=st.integers(0, 4), full=st.booleans())
@settings(max_examples=10)
def test_the_blocks_are_those_of_the_joint_matrix(kernel, points: int, tests: int, full: bool) -> None:
    made = make_gram_kernel(kernel, jitter=0.0)
    rows = features(points + tests)
    whole = apply(made, rows @ rows.T / 4)
    found = made(joint(points, tests, full))
    torch.testing.assert_close(found.ii, whole[:points, :points])
    torch.testing.assert_close(found.ti, whole[points:, :points])
    torch.testing.assert_close(found.tt, whole[points:, points:] if full else whole.diagonal()[points:])


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_every_kernel_is_positive_definite_and_permutes_with_the_points(kernel) -> None:
    made = make_gram_kernel(kernel)
    rows = features(7)
    gram = rows @ rows.T / 4
    found = apply(made, gram)
    assert float(torch.linalg.eigvalsh(found.detach()).min()) > 0
    order = torch.randperm(7)
    torch.testing.assert_close(apply(made, gram[order][:, order]), found[order][:, order])


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
def test_a_batch_of_problems_is_each_problem_alone(kernel) -> None:
    batched, alone = make_gram_kernel(kernel, batch=(3,)), make_gram_kernel(kernel)
    rows = features(18).view(3, 6, 4)
    together = batched(InputGram(4, batch=(3,))(rows[:, :4], rows[:, 4:]))
    for number in range(3):
        one = alone(InputGram(4)(rows[number, :4], rows[number, 4:]))
        for block in ("ii", "ti", "tt"):
            torch.testing.assert_close(getattr(together, block)[number], getattr(one, block))


@pytest.mark.parametrize("kernel", KERNELS, ids=str)
@pytest.mark.parametrize("full", [False, True])
def test_gradients_are_those_of_finite_differences(kernel, full: bool) -> None:
    made = make_gram_kernel(kernel)

    def call(rows: Tensor) -> Tensor:
        found = made(InputGram(3)(rows[:3], rows[3:], full=full))
        return torch.cat((found.ii.flatten(), found.ti.flatten(), found.tt.flatten()))

    assert torch.autograd.gradcheck(call, (features(5, 3).requires_grad_(),))


def test_relu_keeps_the_diagonal_is_the_arc_cosine_formula_and_twice_the_mean_of_rectified_features() -> None:
    rows = features(4)
    gram = rows @ rows.T / 4
    found = apply(make_gram_kernel("relu", jitter=0.0), gram)
    torch.testing.assert_close(found.diagonal(), gram.diagonal())
    i, j = 0, 3
    theta = torch.arccos(gram[i, j] / (gram[i, i] * gram[j, j]).sqrt())
    by_hand = ((gram[i, i] * gram[j, j] - gram[i, j] ** 2).sqrt() + (math.pi - theta) * gram[i, j]) / math.pi
    torch.testing.assert_close(found[i, j], by_hand)
    draws = torch.randn(400_000, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) @ rows.T / 2
    sampled = 2 * draws.relu().T @ draws.relu() / len(draws)
    torch.testing.assert_close(found, sampled, atol=2e-2, rtol=0)


def test_heaviside_is_twice_the_chance_that_both_features_are_positive() -> None:
    rows = features(4)
    found = apply(make_gram_kernel("heaviside", jitter=0.0), rows @ rows.T / 4)
    draws = (torch.randn(400_000, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) @ rows.T > 0).double()
    torch.testing.assert_close(found, 2 * draws.T @ draws / len(draws), atol=1e-2, rtol=0)


def test_squared_exponential_is_of_half_the_squared_distance() -> None:
    rows = features(5)
    found = apply(make_gram_kernel({"kernel": "sqexp", "lengthscale": 2.0}, jitter=0.0), rows @ rows.T)
    torch.testing.assert_close(found, (-torch.cdist(rows, rows).square() / 8).exp())


def test_weights_biases_and_jitter_stand_where_they_should() -> None:
    rows = features(3)
    gram = rows @ rows.T
    made = make_gram_kernel({"kernel": "linear", "weight_var": 2.0, "bias_var": 0.5, "jitter": (1e-2, 1e-3)})
    plain = 2 * gram + 0.5
    found = made(Gram(gram[:2, :2], gram[2:, :2], gram.diagonal()[2:]))
    torch.testing.assert_close(found.ii, plain[:2, :2] + torch.diag(0.01 * plain.diagonal()[:2] + 0.001))
    torch.testing.assert_close(found.ti, plain[2:, :2])
    torch.testing.assert_close(found.tt, plain.diagonal()[2:] * 1.01 + 0.001)
    assert {name for name, _ in made.named_parameters()} == {"log_weight_var", "log_bias_var"}


def test_a_relu_of_points_that_coincide_has_a_finite_gradient_without_jitter() -> None:
    rows = torch.ones(2, 3, dtype=torch.float64, requires_grad=True)
    apply(make_gram_kernel("relu", jitter=0.0), rows @ rows.T).sum().backward()
    assert rows.grad is not None and bool(torch.isfinite(rows.grad).all())


def test_relevances_scale_the_features() -> None:
    inputs = InputGram(4, learned=True)
    with torch.no_grad():
        inputs.log_relevance.copy_(torch.tensor([0.0, math.log(4.0), -50.0, 0.0]))
    rows = features(3)
    scaled = rows * torch.tensor([1.0, 2.0, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(inputs(rows).ii, scaled @ scaled.T / 4)


def test_bad_kernels_and_grams_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for kernel, message in (
        ("sqexpp", "did you mean sqexp"),
        ({"kernel": "relu", "lengthscale": 1.0}, "lengthscale"),
        ({"kernel": "relu", "weight_var": 0.0}, "weight_var > 0"),
        ({"kernel": "sqexp", "lengthscale": -1.0}, "must be positive"),
        ({"kernel": "relu", "jitter": -1.0}, "0 or more"),
        ({"kernel": "relu", "jitter": (1e-4, 1e-4, 1e-4)}, "one number or two"),
        ({"kernel": "sum", "parts": ["relu"]}, "at least two"),
        ({"weight_var": 1.0}, "given by name"),
    ):
        with pytest.raises(InputError, match=message):
            make_gram_kernel(kernel)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the checker of signatures would speak first
    with pytest.raises(InputError, match="must fit"):
        Gram(torch.eye(3), torch.zeros(2, 2), torch.zeros(2))
    with pytest.raises(InputError, match="is square"):
        Gram(torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2))
    with pytest.raises(InputError, match="5 features"):
        InputGram(4)(torch.zeros(2, 5))
    with pytest.raises(InputError, match="at least 1"):
        InputGram(0)
