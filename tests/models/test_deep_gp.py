import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from ordinate.generate.hamiltonian import sample_hamiltonian
from ordinate.ground.errors import InputError
from ordinate.models.deep_gp import DeepGaussianProcess
from ordinate.models.deep_kernel_machine import DeepKernelMachine
from ordinate.nn.gram import Gram, InputGram
from ordinate.nn.gram_kernels import make_gram_kernel


def problem(points: int = 4) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(points, 2, dtype=torch.float64, generator=generator)
    return InputGram(2)(x).ii, torch.randn(points, 1, dtype=torch.float64, generator=generator)


def process(replicate: int = 1, widths: tuple[int, ...] = (3, 5)) -> DeepGaussianProcess:
    gram, y = problem()
    return DeepGaussianProcess(gram, y, kernels=["sqexp"] * (len(widths) + 1), widths=widths, noise=0.2, replicate=replicate)


def test_the_density_is_that_of_the_layers_one_by_one() -> None:
    made = process(replicate=7)
    gram, y = problem()
    state = made.prior_state(2, torch.Generator().manual_seed(1))
    first, second = made.features(state)
    assert first.shape == (2, 4, 3) and second.shape == (2, 4, 5)
    kernel = make_gram_kernel("sqexp", learned=False)
    zero, identity = torch.zeros(4, dtype=torch.float64), torch.eye(4, dtype=torch.float64)
    for chain in range(2):
        below = kernel(Gram.of_inducing(gram)).ii
        above = kernel(Gram.of_inducing(first[chain] @ first[chain].T / 3)).ii
        top = kernel(Gram.of_inducing(second[chain] @ second[chain].T / 5)).ii
        layers = (
            MultivariateNormal(zero, below).log_prob(first[chain].T).sum() + MultivariateNormal(zero, above).log_prob(second[chain].T).sum()
        )
        likelihood = MultivariateNormal(zero, top + 0.2 * identity).log_prob(y.T).sum()
        # Whitening divides each layer's density by the determinant of its kernel's factor, once a column.
        change = 3 * torch.logdet(below) / 2 + 5 * torch.logdet(above) / 2
        constant = 0.5 * made.size * torch.log(torch.tensor(2 * torch.pi))
        torch.testing.assert_close(made(state)[chain], layers + change + constant + 7 * likelihood, atol=1e-5, rtol=1e-6)


def test_gradients_are_those_of_finite_differences() -> None:
    made = process()
    state = made.prior_state(2, torch.Generator().manual_seed(1)).requires_grad_()
    assert torch.autograd.gradcheck(made, (state,))


def test_a_wide_process_with_replicated_targets_is_near_the_deep_kernel_machine_and_far_from_the_nngp() -> None:
    gram, y = problem()
    machine = DeepKernelMachine(4, None, 1, kernels=["sqexp", "sqexp"], noise=0.2, learned=False).initialise(gram, y)
    tied = machine.grams[0]
    machine.solve(gram, y)
    learned = machine.grams[0]
    wide = DeepGaussianProcess(gram, y, kernels=["sqexp", "sqexp"], widths=[48], noise=0.2, replicate=48)
    generator = torch.Generator().manual_seed(0)
    found = sample_hamiltonian(
        wide, wide.prior_state(48, generator), draws=25, warmup=25, generator=generator, observe=lambda state: wide.grams(state)[0]
    )
    mean = found.observed.mean(dim=(0, 1))
    assert float((mean - learned).norm()) < 0.05 * float(learned.norm())
    assert float((mean - tied).norm()) > 3 * float((mean - learned).norm())


def test_bad_processes_are_refused() -> None:
    gram, y = problem()
    with pytest.raises(InputError, match="1 layers stand between 2 kernels, not 3"):
        DeepGaussianProcess(gram, y, kernels=["sqexp"] * 3, widths=[4])
    with pytest.raises(InputError, match="at least 1 and noise positive"):
        DeepGaussianProcess(gram, y, kernels=["sqexp"] * 2, widths=[0])
    with pytest.raises(InputError, match="a state holds 32 numbers"):
        process()(torch.zeros(1, 3, dtype=torch.float64))
