import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from ordinate.ground.errors import InputError
from ordinate.nn.gram import Gram, InputGram
from ordinate.nn.gram_forms import FORMS
from ordinate.nn.gram_kernels import make_gram_kernel
from ordinate.nn.inducing_output import InducingOutput
from ordinate.nn.likelihoods import GaussianLikelihood

NOISE = torch.tensor(0.2, dtype=torch.float64)


def kernel(points: int = 5, tests: int = 7, full: bool = False, jitter: float = 1e-4) -> Gram:
    rows = torch.randn(points + tests, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return make_gram_kernel("sqexp", jitter=jitter, learned=False)(InputGram(3)(rows[:points], rows[points:], full=full))


def away(output: InducingOutput) -> InducingOutput:
    with torch.no_grad():
        for parameter in output.parameters():
            parameter += 0.4 * torch.randn(parameter.shape, dtype=parameter.dtype, generator=torch.Generator().manual_seed(2))
    return output


def held(output: InducingOutput, below: Gram) -> tuple[Tensor, Tensor]:
    """The mean and covariance that are held, in the units of the values."""
    root = torch.linalg.cholesky(below.ii)
    spread, _ = output.covariance(root)
    return (root @ output.mean if output.covariance.relative else output.mean), root @ spread @ spread.mT @ root.mT


@pytest.mark.parametrize("form", sorted(FORMS))
def test_values_and_divergence_are_those_of_the_formulas(form: str) -> None:
    below = kernel(full=True)
    output = InducingOutput(5, 2, form=form)
    output.start(below.ii, torch.randn(5, 2, dtype=torch.float64))
    away(output)
    mean, covariance = held(output, below)
    values = output(below)
    weights = below.ti @ torch.linalg.inv(below.ii)
    torch.testing.assert_close(values.mean, weights @ mean)
    torch.testing.assert_close(values.variance, below.tt - weights @ below.ti.mT + weights @ covariance @ weights.mT)
    torch.testing.assert_close(output(kernel()).variance, values.variance.diagonal())
    prior = MultivariateNormal(torch.zeros(5, dtype=torch.float64), below.ii)
    torch.testing.assert_close(values.divergence, sum(kl_divergence(MultivariateNormal(mean[:, c], covariance), prior) for c in range(2)))


@pytest.mark.parametrize("form", sorted(FORMS))
def test_it_starts_at_the_values_given(form: str) -> None:
    below = kernel(jitter=0.0)
    output = InducingOutput(5, 2, form=form)
    values = torch.randn(5, 2, dtype=torch.float64)
    output.start(below.ii, values)
    found = output(Gram(below.ii, below.ii, below.i))
    torch.testing.assert_close(found.mean, values)
    torch.testing.assert_close(found.variance, below.i)


@pytest.mark.parametrize("form", sorted(FORMS))
def test_the_collapsed_bound_is_what_the_best_values_give_and_no_others_give_more(form: str) -> None:
    below, targets = kernel(), torch.randn(7, 2, dtype=torch.float64)
    output = InducingOutput(5, 2, form=form)
    likelihood = GaussianLikelihood(noise=float(NOISE), learned=False)

    def bound() -> Tensor:
        values = output(below)
        return likelihood.expected_log_prob(values.mean, values.variance, targets).sum() - values.divergence

    output.start(below.ii, torch.zeros(5, 2, dtype=torch.float64))
    collapsed = output.collapsed_bound(below, targets, NOISE)
    output.collapse(below, targets, NOISE)
    torch.testing.assert_close(bound(), collapsed)
    for gradient in torch.autograd.grad(bound(), list(output.parameters())):
        assert float(gradient.abs().max()) < 1e-8
    away(output)
    assert float(bound()) < float(collapsed)


def test_with_all_points_inducing_the_bound_is_the_evidence_of_the_process() -> None:
    points = kernel(jitter=0.0).ii
    targets = torch.randn(5, 3, dtype=torch.float64)
    bound = InducingOutput(5, 3).collapsed_bound(Gram(points, points, points.diagonal()), targets, NOISE)
    noisy = MultivariateNormal(torch.zeros(5, dtype=torch.float64), points + NOISE * torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(bound, noisy.log_prob(targets.T).sum())


def test_bad_sizes_are_refused() -> None:
    with pytest.raises(InputError, match="at least 1"):
        InducingOutput(0, 1)
    with pytest.raises(InputError, match="holds values at 4"):
        InducingOutput(4, 1)(kernel())
