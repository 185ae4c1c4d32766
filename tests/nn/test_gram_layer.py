import math

import pytest
import torch
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.nn.gaussian_divergence import gaussian_kl, taylor_divergence
from ordinate.nn.gram import Gram, InputGram
from ordinate.nn.gram_forms import FORMS
from ordinate.nn.gram_kernels import make_gram_kernel
from ordinate.nn.gram_layer import GramLayer, propagate
from ordinate.nn.gram_norm import GramNorm

NAMES = sorted(FORMS)


def kernel(points: int = 5, tests: int = 3, full: bool = False, jitter: float = 1e-4) -> Gram:
    rows = torch.randn(points + tests, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    return make_gram_kernel("sqexp", jitter=jitter, learned=False)(InputGram(4)(rows[:points], rows[points:], full=full))


def away(layer: GramLayer, size: float = 0.3) -> GramLayer:
    """Moved off its start."""
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter += size * torch.randn(parameter.shape, dtype=parameter.dtype, generator=torch.Generator().manual_seed(3))
    return layer


def start(form: str, below: Gram, **options) -> GramLayer:
    layer = GramLayer(below.ii.shape[-1], form=form, **options)
    layer.start(below.ii)
    return layer


@pytest.mark.parametrize("form", NAMES)
def test_a_layer_starts_at_the_kernel_below_and_costs_nothing_there(form: str) -> None:
    below = kernel()
    gram, penalty = start(form, below)(below)
    for block in ("ii", "ti", "tt"):
        torch.testing.assert_close(getattr(gram, block), getattr(below, block))
    assert abs(float(penalty)) < 1e-10


@pytest.mark.parametrize("form", NAMES)
def test_the_penalty_is_the_weighted_divergence(form: str) -> None:
    below = kernel()
    layer = away(start(form, below, nu=2.5))
    factors = layer.factor(below.ii)
    torch.testing.assert_close(factors.penalty, 2.5 * gaussian_kl(factors.gram, below.ii))
    layer.divergence = "taylor"
    torch.testing.assert_close(layer.factor(below.ii).penalty, 2.5 * taylor_divergence(factors.gram, below.ii))
    layer.prior = False
    assert float(layer.factor(below.ii).penalty) == 0.0


@pytest.mark.parametrize("form", NAMES)
def test_a_form_can_be_set_to_any_gram_matrix(form: str) -> None:
    below = kernel().ii
    wanted = below @ below
    made = FORMS[form](5)
    root = torch.linalg.cholesky(below)
    made.set(root, wanted)
    whitened, log_determinant = made(root)
    torch.testing.assert_close(root @ whitened @ whitened.mT @ root.mT, wanted)
    torch.testing.assert_close(log_determinant, torch.logdet(whitened @ whitened.mT))


@pytest.mark.parametrize("form", NAMES)
@pytest.mark.parametrize("full", [False, True])
def test_test_points_follow_as_a_gaussian_process_would_have_it(form: str, full: bool) -> None:
    below = kernel(full=full)
    factors = away(start(form, below)).factor(below.ii)
    gram = propagate(factors, below)
    weights = below.ti @ torch.linalg.inv(below.ii)
    torch.testing.assert_close(gram.ti, weights @ factors.gram)
    rest = kernel(full=True).tt - weights @ below.ti.mT + weights @ factors.gram @ weights.mT
    torch.testing.assert_close(gram.tt, rest if full else rest.diagonal())
    assert bool((gram.t > 0).all())


def test_the_training_points_themselves_get_the_learned_gram_matrix() -> None:
    points = kernel(jitter=0.0).ii
    below = Gram(points, points, points)
    gram, _ = away(start("whitened", below))(below)
    torch.testing.assert_close(gram.ti, gram.ii, atol=1e-6, rtol=0)
    torch.testing.assert_close(gram.tt, gram.ii, atol=1e-6, rtol=0)


def test_at_infinite_width_the_layer_is_the_kernel_below() -> None:
    below = kernel()
    layer = GramLayer(5, nu=math.inf)
    gram, penalty = layer(below)
    assert torch.equal(gram.ti, below.ti) and float(penalty) == 0.0
    assert not list(layer.parameters())


@pytest.mark.parametrize("form", NAMES)
def test_gradients_are_those_of_finite_differences(form: str) -> None:
    layer = away(start(form, kernel(4, 2)))
    names = [name for name, _ in layer.named_parameters()]

    def call(rows: Tensor, *values: Tensor) -> Tensor:
        below = make_gram_kernel("sqexp", learned=False)(InputGram(4)(rows[:4], rows[4:]))
        gram, penalty = torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (below,))
        return torch.cat((gram.ii.flatten(), gram.ti.flatten(), gram.tt, penalty.reshape(1)))

    rows = torch.randn(6, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(call, (rows, *layer.parameters()))


def test_a_batch_of_problems_is_each_problem_alone() -> None:
    rows = torch.randn(2, 8, 4, dtype=torch.float64)
    below = make_gram_kernel("sqexp", batch=(2,), learned=False)(InputGram(4, batch=(2,))(rows[:, :5], rows[:, 5:]))
    layer = GramLayer(5, batch=(2,))
    layer.start(below.ii)
    gram, penalty = away(layer)(below)
    for number in range(2):
        one = GramLayer(5)
        one.load_state_dict({name: value[number] for name, value in layer.state_dict().items()})
        alone, cost = one(Gram(below.ii[number], below.ti[number], below.tt[number]))
        torch.testing.assert_close(gram.ti[number], alone.ti)
        torch.testing.assert_close(gram.tt[number], alone.tt)
        torch.testing.assert_close(penalty[number], cost)


def test_a_stochastic_layer_is_right_on_average_and_keeps_its_ridge_at_test_time() -> None:
    below = kernel()
    layer = away(start("whitened", below, columns=16))
    layer.eval()
    settled, cost = layer(below)
    gram, same = away(start("whitened", below))(below)
    torch.testing.assert_close(settled.ii, gram.ii + 0.1 * torch.eye(5, dtype=torch.float64))
    torch.testing.assert_close(cost, same)
    layer.train()
    with torch.no_grad():
        draws = torch.stack([layer(below)[0].ti for _ in range(2000)])
    assert float(draws.std(dim=0).min()) > 0
    torch.testing.assert_close(draws.mean(dim=0), settled.ti.detach(), atol=0.05, rtol=0)


def test_a_normalised_gram_matrix_has_the_learned_mean_diagonal() -> None:
    norm = GramNorm()
    with torch.no_grad():
        norm.log_scale.fill_(math.log(3.0))
    for full in (False, True):
        gram = kernel(full=full)
        found = norm(gram)
        assert abs(float(found.i.mean()) - 3.0) < 1e-12
        torch.testing.assert_close(found.tt / found.ti.sum(), gram.tt / gram.ti.sum())


def test_bad_layers_and_singular_kernels_are_refused_by_name() -> None:
    for options, message in (
        ({"nu": 0.0}, "nu must be positive"),
        ({"nu": -1.0}, "prior=False"),
        ({"form": "whitenend"}, "did you mean whitened"),
        ({"divergence": "js"}, "unknown divergence"),
        ({"columns": 0}, "at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            GramLayer(3, **options)
    with pytest.raises(InputError, match="the kernel of layer 2 is not positive definite"):
        GramLayer(3, name="the kernel of layer 2").factor(torch.ones(3, 3, dtype=torch.float64))
    with pytest.raises(InputError, match="is of 5 points"):
        GramLayer(3).factor(kernel().ii)
