import math

import pytest
import torch
from torch import Tensor

from ordinate.analyze.in_context.gaussian import BayesMixture, KernelRidge, average_kernel
from ordinate.analyze.in_context.predictors import Bayes, Predictor, Ridge
from ordinate.analyze.in_context.prompt_mlp import PromptMLP
from ordinate.analyze.in_context.representations import (
    OnRepresentation,
    RightRepresentation,
    SelectByLoss,
    mixture_families,
    representation_families,
)
from ordinate.analyze.in_context.trajectories import predict_trajectory
from ordinate.data.in_context.dynamics import DynamicsPrompts, windows
from ordinate.data.in_context.prompts import Prompts
from ordinate.data.in_context.representations import RepresentationPrompts
from ordinate.ground.errors import InputError
from ordinate.nn.fixed_representation import FixedRepresentation

PHIS = [FixedRepresentation(3, 4, 2, seed=seed) for seed in range(3)]
NOISE = 0.04


def prompts(count: int = 5, n: int = 9, kinds: int = 3) -> Prompts:
    return RepresentationPrompts(PHIS[:kinds], 3, n, noise=NOISE**0.5).sample(count, torch.Generator().manual_seed(0)).double()


def queries(some: Prompts, count: int = 2) -> Tensor:
    return torch.randn(*some.x.shape[:2], count, 3, dtype=torch.float64)


def test_ridge_on_a_rotation_is_ridge_on_x() -> None:
    rotation = FixedRepresentation(4, 4, 1, rho=1.0, normalize=False, square=True)
    x, y = torch.randn(3, 7, 4, dtype=torch.float64), torch.randn(3, 7, dtype=torch.float64)
    torch.testing.assert_close(OnRepresentation(Ridge(0.3), rotation)(x, y), Ridge(0.3)(x, y), atol=1e-9, rtol=0)


def test_ridge_on_a_representation_is_a_solve_of_every_prefix() -> None:
    some = prompts(kinds=1)
    found = OnRepresentation(Bayes(NOISE), PHIS[0])(some.x, some.y)
    for row in range(len(some.x)):
        features = PHIS[0](some.x[row])
        for i in range(9):
            past = features[:i]
            weight = torch.linalg.solve(past.mT @ past + NOISE * torch.eye(4, dtype=torch.float64), past.mT @ some.y[row, :i])
            torch.testing.assert_close(found[row, i], features[i] @ weight, atol=1e-9, rtol=0)


def test_without_noise_the_reference_is_least_squares_and_exact_once_determined() -> None:
    clean = RepresentationPrompts(PHIS[:1], 3, 9, noise=0.0).sample(4, torch.Generator().manual_seed(0))
    x = clean.x.double()
    y = (PHIS[0](x) @ clean.latent["w"].double()[..., None])[..., 0]
    assert (OnRepresentation(Bayes(0.0), PHIS[0])(x, y) - y)[:, 6:].abs().max() < 1e-6


def test_kernel_ridge_on_dot_products_is_ridge() -> None:
    some = prompts(kinds=1)
    kernel, ridge = KernelRidge(average_kernel(PHIS[:1]), 0.2), OnRepresentation(Ridge(0.2), PHIS[0])
    torch.testing.assert_close(kernel(some.x, some.y), ridge(some.x, some.y), atol=1e-9, rtol=0)
    asked = queries(some)
    torch.testing.assert_close(kernel.answer(some.x, some.y, asked), ridge.answer(some.x, some.y, asked), atol=1e-9, rtol=0)


def test_a_kernel_over_several_representations_is_ridge_on_all_of_them_scaled() -> None:
    some = prompts()
    both = OnRepresentation(Ridge(0.2 * 3), *PHIS)  # the mean of three dot products
    torch.testing.assert_close(KernelRidge(average_kernel(PHIS), 0.2)(some.x, some.y), both(some.x, some.y), atol=1e-9, rtol=0)


def test_evidence_is_the_joint_density_of_every_prefix() -> None:
    some = prompts()
    found = BayesMixture(PHIS, NOISE, 2.0).log_evidence(some.x, some.y)
    assert found.shape == (5, 10, 3) and found[:, 0].abs().max() == 0
    for k, phi in enumerate(PHIS):
        features = phi(some.x[1])
        for i in range(1, 10):
            covariance = 2.0 * features[:i] @ features[:i].mT + NOISE * torch.eye(i, dtype=torch.float64)
            left = some.y[1, :i] @ torch.linalg.solve(covariance, some.y[1, :i]) + torch.logdet(covariance) + i * math.log(2 * math.pi)
            torch.testing.assert_close(found[1, i, k], -0.5 * left, atol=1e-8, rtol=0)


def test_a_mixture_of_one_is_ridge_on_it_also_for_other_queries() -> None:
    some = prompts(kinds=1)
    mixture, ridge = BayesMixture(PHIS[:1], NOISE), OnRepresentation(Bayes(NOISE), PHIS[0])
    torch.testing.assert_close(mixture(some.x, some.y), ridge(some.x, some.y), atol=1e-9, rtol=0)
    asked = queries(some)
    torch.testing.assert_close(mixture.answer(some.x, some.y, asked), ridge.answer(some.x, some.y, asked), atol=1e-9, rtol=0)


def test_posteriors_sum_to_one_and_follow_the_order_of_the_representations() -> None:
    some = prompts()
    found = BayesMixture(PHIS, NOISE).posterior(some.x, some.y)
    torch.testing.assert_close(found.sum(dim=2), torch.ones(5, 10, dtype=torch.float64))
    torch.testing.assert_close(BayesMixture([PHIS[2], PHIS[0], PHIS[1]], NOISE).posterior(some.x, some.y), found[..., [2, 0, 1]])
    right = found[torch.arange(5), -1, some.latent["kind"].long()]
    assert right.mean() > 0.8


def test_a_mixture_weighs_its_answers_by_the_posterior() -> None:
    some = prompts()
    answers = torch.stack([OnRepresentation(Bayes(NOISE), phi)(some.x, some.y) for phi in PHIS], dim=2)
    mixture = BayesMixture(PHIS, NOISE)
    torch.testing.assert_close(mixture(some.x, some.y), (answers * mixture.posterior(some.x, some.y)[:, :-1]).sum(dim=2))


def test_the_mixture_has_the_least_risk_of_all_that_are_not_told() -> None:
    source = RepresentationPrompts(PHIS, 3, 14, noise=NOISE**0.5)
    some = source.sample(1_500, torch.Generator().manual_seed(1))
    risks = {
        name: min(float((predictor(some.x, some.y) - some.y)[:, 1:].square().mean()) for predictor in members)
        for name, members in mixture_families(source).items()
    }
    oracle = RightRepresentation(PHIS, NOISE)(some.x, some.y, some.latent["kind"])
    assert float((oracle - some.y)[:, 1:].square().mean()) < risks["Bayes mixture"] == min(risks.values())
    assert risks["selection"] < risks["zero"]


def test_the_right_representation_is_ridge_on_it() -> None:
    some = prompts()
    kind = some.latent["kind"].long()
    found = RightRepresentation(PHIS, NOISE)(some.x, some.y, kind)
    for row in range(5):
        alone = OnRepresentation(Bayes(NOISE), PHIS[int(kind[row])])(some.x[row : row + 1], some.y[row : row + 1])
        torch.testing.assert_close(found[row : row + 1], alone)


def test_selection_takes_the_predictor_with_the_least_loss_so_far() -> None:
    some = prompts()
    predictors: list[Predictor] = [OnRepresentation(Bayes(NOISE), phi) for phi in PHIS]
    select = SelectByLoss(predictors)
    answers = torch.stack([predictor(some.x, some.y) for predictor in predictors], dim=2)
    found, chosen = select(some.x, some.y), select.chosen(some.x, some.y)
    assert chosen[:, 0].abs().max() == 0
    for row in range(5):
        for i in range(1, 9):
            losses = (answers[row, :i] - some.y[row, :i, None]).square().sum(dim=0)
            assert chosen[row, i] == losses.argmin() and found[row, i] == answers[row, i, losses.argmin()]


def test_a_network_fitted_to_the_prompt_sees_the_past_alone_and_learns_from_it() -> None:
    some = prompts(4, 9, 1)
    mlp = PromptMLP(hidden=8, steps=60)
    found = mlp(some.x, some.y)
    changed = some.y.clone()
    changed[:, 5] += 1.0
    after = mlp(some.x, changed)
    assert torch.equal(found[:, :6], after[:, :6]) and (found[:, 6:] - after[:, 6:]).abs().max() > 1e-3
    assert found[:, 0].abs().max() == 0
    again = mlp.answer(some.x, some.y, some.x[:, None].expand(-1, 9, -1, -1))  # every input asked after every prefix
    seen = torch.ones(9, 9).tril(-1).bool()
    assert (again - some.y[:, None])[:, seen].square().mean() < 0.3 * some.y.square().mean()


def test_gradients_of_the_fitted_network_are_those_of_autograd() -> None:
    mlp = PromptMLP(hidden=3)
    shapes = [(2, 4, 3, 3), (2, 4, 3), (2, 4, 3), (2, 4, 1)]
    weights = [torch.randn(shape, dtype=torch.float64, requires_grad=True) for shape in shapes]
    x, y = torch.randn(2, 4, 3, dtype=torch.float64), torch.randn(2, 4, dtype=torch.float64)
    ahead = torch.ones(4, 4, dtype=torch.float64).tril(-1)
    share = ahead / ahead.sum(dim=1, keepdim=True).clamp(min=1)
    said = ((x[:, None] @ weights[0] + weights[1][:, :, None]).tanh() @ weights[2][..., None])[..., 0] + weights[3]
    expected = torch.autograd.grad((0.5 * share * (said - y[:, None]).square()).sum(), weights)
    with torch.no_grad():
        found = mlp._slopes(weights, x[:, None].expand(-1, 4, -1, -1), y[:, None], share)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs)


def test_trajectories_are_predicted_by_a_solve_of_every_prefix() -> None:
    phi = FixedRepresentation(4, 5, 2)
    states = DynamicsPrompts(phi, 2, 2, 8, noise=0.3).sample(3, torch.Generator().manual_seed(0)).states.double()
    found, linear = predict_trajectory(states, 2, 0.09, phi), predict_trajectory(states, 2, 0.5)
    past = windows(states[:, :-1], 2)
    assert found[:, 0].abs().max() == 0
    for i in range(1, 8):
        for predicted, features, penalty in ((found, phi(past), 0.09), (linear, past, 0.5)):
            seen = features[1, :i]
            gram = seen.mT @ seen + penalty * torch.eye(seen.shape[1], dtype=torch.float64)
            weight = torch.linalg.solve(gram, seen.mT @ states[1, 1 : i + 1])
            torch.testing.assert_close(predicted[1, i], features[1, i] @ weight, atol=1e-9, rtol=0)


def test_families_have_what_their_prompts_are_measured_against() -> None:
    single = RepresentationPrompts(PHIS[:1], 3, 9)
    assert set(representation_families(single)) == {"Phi-ridge", "ridge on x", "fitted MLP", "zero"}
    assert "kernel ridge" in representation_families(single, PHIS[1:])
    with pytest.raises(InputError, match="mixture_families"):
        representation_families(RepresentationPrompts(PHIS, 3, 9))


def test_what_cannot_be_predicted_is_refused() -> None:
    with pytest.raises(InputError, match="at least one representation"):
        BayesMixture([], NOISE)
    with pytest.raises(InputError, match="positive variances"):
        BayesMixture(PHIS, 0.0)
    with pytest.raises(InputError, match="positive variances"):
        mixture_families(RepresentationPrompts(PHIS, 3, 9, noise=0.0))
    with pytest.raises(InputError, match="at least one representation"):
        average_kernel([])
    with pytest.raises(InputError, match="must be positive, not 0"):
        KernelRidge(average_kernel(PHIS), 0.0)
    with pytest.raises(InputError, match="a predictor to choose"):
        SelectByLoss([])
    with pytest.raises(InputError, match="a representation to learn on"):
        OnRepresentation(Ridge(1.0))
    with pytest.raises(InputError, match="rate positive"):
        PromptMLP(rate=0.0)
