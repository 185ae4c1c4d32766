import pickle

import pytest
import torch
from sklearn.base import clone
from torch import nn

from ordinate.data.latent_models import PairsProblem
from ordinate.data.sign_pairs import sign_pairs
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator
from ordinate.models.contrastive_pairs import ContrastivePairs, pair_loss


def problem() -> PairsProblem:
    return PairsProblem.draw(5, 2, generator("pairs"), signal=1.5)


def test_the_loss_is_minus_the_log_of_the_signs_probability_and_has_its_gradient() -> None:
    first, second = (torch.randn(7, 3, dtype=torch.float64, requires_grad=True) for _ in range(2))
    signs = torch.tensor([0.0, 1, 1, 0, 1, 0, 0], dtype=torch.float64)
    inner = (first * second).sum(dim=1)
    by_hand = -(signs * inner.sigmoid().log() + (1 - signs) * (1 - inner.sigmoid()).log()).mean()
    torch.testing.assert_close(pair_loss(first, second, signs), by_hand)
    torch.testing.assert_close(pair_loss(first, second, signs), nn.functional.binary_cross_entropy_with_logits(inner, signs))
    assert torch.autograd.gradcheck(lambda a, b: pair_loss(a, b, signs), (first, second))


def test_an_orthogonal_map_of_the_features_leaves_the_loss_as_it_is() -> None:
    first, second, signs = problem().pairs(50, generator(0))
    theta = problem().theta
    turned = torch.linalg.qr(torch.randn(2, 2, dtype=torch.float64)).Q @ theta
    losses = [pair_loss(first @ each.mT, second @ each.mT, signs) for each in (theta, turned)]
    torch.testing.assert_close(losses[0], losses[1])
    torch.testing.assert_close(ContrastivePairs.of_theta(turned).align_to(ContrastivePairs.of_theta(theta)).theta_, theta)


def test_a_linear_encoder_is_found_up_to_an_orthogonal_map() -> None:
    truth = problem()
    pairs = truth.pairs(20_000, generator(1))
    model = ContrastivePairs(2).fit(*pairs)
    known = ContrastivePairs.of_theta(truth.theta)
    torch.testing.assert_close(model.align_to(known).theta_, truth.theta, atol=0.15, rtol=0)
    assert float(model.log_prob(*pairs).mean()) >= float(known.log_prob(*pairs).mean())
    assert model.loss_ == pytest.approx(-float(model.log_prob(*pairs).mean()))
    x = torch.randn(4, 5, dtype=torch.float64)
    torch.testing.assert_close(torch.from_numpy(model.transform(x)), x @ model.theta_.mT)
    assert model.n_parameters == 9 and torch.equal(model.posterior_covariance(), torch.eye(2, dtype=torch.float64))


def test_the_gradient_vanishes_where_it_ends() -> None:
    first, second, signs = problem().pairs(500, generator(2))
    theta = ContrastivePairs(2).fit(first, second, signs).theta_.clone().requires_grad_()
    pair_loss(first @ theta.mT, second @ theta.mT, signs).backward()
    assert float(theta.grad.abs().max()) < 1e-5


def test_the_signs_may_be_truth_values_or_whole_numbers() -> None:
    first, second, signs = problem().pairs(200, generator(3))
    thetas = [ContrastivePairs(1).fit(first, second, each).theta_ for each in (signs, signs.bool(), signs.long().numpy())]
    assert torch.equal(thetas[0], thetas[1]) and torch.equal(thetas[0], thetas[2])


def test_any_module_can_be_the_encoder_and_is_left_as_it_was() -> None:
    first, second, signs = problem().pairs(600, generator(4))
    encoder = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 2))
    before = [parameter.detach().clone() for parameter in encoder.parameters()]
    model = ContrastivePairs(encoder=encoder, steps=150, lr=2e-2)
    start = pair_loss(encoder(first.float()), encoder(second.float()), signs.float()).item()
    model.fit(first, second, signs)
    assert all(torch.equal(a, b) for a, b in zip(before, encoder.parameters(), strict=True))
    assert -float(model.log_prob(first, second, signs).mean()) < min(start, 0.69)
    assert model.transform(first).shape == (600, 2) and model.n_parameters == 5 * 16 + 16 + 16 * 2 + 2
    again = clone(model).fit(first, second, signs)
    assert torch.equal(again.posterior(first), model.posterior(first))
    with pytest.raises(InputError, match="linear encoders can be aligned"):
        model.align_to(again)


def test_positive_pairs_and_shuffled_negatives_serve_too() -> None:
    centres = torch.randn(300, 1, dtype=torch.float64, generator=generator(5))
    direction = torch.tensor([[3.0, 0, 0]], dtype=torch.float64)
    views = [centres * direction + torch.randn(300, 3, dtype=torch.float64, generator=generator(6 + side)) * 0.5 for side in range(2)]
    theta = ContrastivePairs(1).fit(*sign_pairs(*views, negatives=2)).theta_[0]
    reach = theta.abs() * views[0].std(dim=0)
    assert float(reach[0]) > 5 * float(reach[1:].max())


def test_it_survives_pickling() -> None:
    first, second, signs = problem().pairs(100, generator(7))
    model = ContrastivePairs(1).fit(first, second, signs)
    assert torch.equal(pickle.loads(pickle.dumps(model)).theta_, model.theta_)


def test_what_cannot_be_fitted_is_refused() -> None:
    first, second, signs = problem().pairs(20, generator(0))
    for arguments, words in (
        ((first, second[:-1], signs), "one shape"),
        ((first, second, signs[:-1]), "a sign each"),
        ((first, second, signs + 1), "0 or 1"),
        ((first, second, 2 * signs - 1), "0 or 1"),
        ((first, second, signs * 0.5), "0 or 1"),
        ((first, second, torch.ones(20)), "all the same"),
        ((first[:0], second[:0], signs[:0]), "0 sample"),
        ((first * float("nan"), second, signs), "NaN"),
    ):
        with pytest.raises(ValueError, match=words):
            ContrastivePairs(1).fit(*arguments)
    for dim in (0, 5):
        with pytest.raises(InputError, match="fewer features"):
            ContrastivePairs(dim).fit(first, second, signs)
