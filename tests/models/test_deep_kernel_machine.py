import math

import jaxtyping
import pytest
import torch
from torch import Tensor
from torch.distributions import MultivariateNormal

from ordinate.ground.errors import InputError
from ordinate.models.deep_kernel_machine import DeepKernelMachine, deep_linear_solution, gp_log_likelihood
from ordinate.models.registry import load_model, save_model
from ordinate.nn.gram import Gram, InputGram
from ordinate.nn.gram_forms import FORMS
from ordinate.nn.gram_kernels import make_gram_kernel


def data(points: int = 8, dim: int = 3, outputs: int = 2, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(points, dim, dtype=torch.float64, generator=generator)
    return x, torch.randn(points, outputs, dtype=torch.float64, generator=generator)


def machine(points: int = 8, **options) -> DeepKernelMachine:
    return DeepKernelMachine(points, 3, 2, **{"kernels": ["sqexp", "relu", "sqexp"], **options})


@pytest.mark.parametrize("form", sorted(FORMS))
def test_the_optimum_of_a_deep_linear_machine_is_the_closed_form(form: str) -> None:
    rows = torch.randn(5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    inputs = rows @ rows.T / 5 + 0.1 * torch.eye(5)
    _, y = data(5, 3, 8)
    linear = DeepKernelMachine(5, None, 8, kernels=[{"kernel": "linear", "jitter": 0.0}] * 4, output="gram", learned=False, form=form)
    linear.solve(inputs, y)
    for found, expected in zip(linear.grams, deep_linear_solution(inputs, linear.target_gram(), 3), strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-6)


def test_the_closed_form_interpolates_geometrically() -> None:
    inputs = torch.diag(torch.tensor([1.0, 2.0, 4.0], dtype=torch.float64))
    targets = torch.diag(torch.tensor([16.0, 2.0, 0.25], dtype=torch.float64))
    middle = deep_linear_solution(inputs, targets, 3)[1]
    torch.testing.assert_close(middle, torch.diag(torch.tensor([4.0, 2.0, 1.0], dtype=torch.float64)))


def test_the_objective_starts_at_the_evidence_of_the_nngp() -> None:
    x, y = data()
    made = machine(noise=0.3).initialise(x, y)
    gram = InputGram(3)(x)
    for kernel in made.deep.kernels:
        gram = kernel(gram)
    noisy = gram.ii + 0.3 * torch.eye(8, dtype=torch.float64)
    evidence = MultivariateNormal(torch.zeros(8, dtype=torch.float64), noisy).log_prob(y.T).sum()
    torch.testing.assert_close(made(), evidence)
    torch.testing.assert_close(gp_log_likelihood(noisy, y), evidence)
    likelihood, penalty = made.terms()
    torch.testing.assert_close(likelihood, evidence)
    assert abs(float(penalty.detach())) < 1e-10


def test_one_kernel_is_a_gaussian_process() -> None:
    x, y = data()
    tests, _ = data(4, seed=1)
    made = machine(kernels=["sqexp"], noise=0.3).initialise(x, y)
    mean, covariance = made.predict(tests, full=True)
    both = make_gram_kernel("sqexp", learned=False)(InputGram(3)(x, tests, full=True))
    solved = both.ti @ torch.linalg.inv(both.ii + 0.3 * torch.eye(8, dtype=torch.float64))
    torch.testing.assert_close(mean, solved @ y)
    torch.testing.assert_close(covariance, both.tt - solved @ both.ti.mT + 0.3 * torch.eye(4, dtype=torch.float64))
    torch.testing.assert_close(made.predict(tests)[1], covariance.diagonal())


def test_learning_raises_the_objective_and_wide_layers_stay_nearer_to_their_prior() -> None:
    x, y = data()
    moved = []
    for nu in (0.1, 1.0, 10.0, 100.0):
        made = machine(nu=nu, learned=False).initialise(x, y)
        start, before = made.grams[0], float(made().detach())
        assert float(made.solve(x, y, iterations=60)) > before
        moved.append(float((made.grams[0] - start).norm()))
    assert moved[0] > moved[1] > moved[2] > moved[3]


def test_at_great_width_the_machine_is_the_nngp() -> None:
    x, y = data()
    wide, tied = machine(nu=1e6, learned=False), machine(nu=math.inf, learned=False)
    wide.solve(x, y, iterations=60)
    tied.initialise(x, y)
    for found, expected in zip(wide.grams, tied.grams, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-4, rtol=0)
    torch.testing.assert_close(wide.predict(x)[0], tied.predict(x)[0], atol=1e-4, rtol=0)


def test_gradients_are_those_of_finite_differences() -> None:
    x, y = data(4)
    made = machine(4, relevance=True).initialise(x, y)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.2 * torch.randn_like(parameter)
    names = [name for name, _ in made.named_parameters()]

    def call(*values: Tensor) -> Tensor:
        return torch.func.functional_call(made, dict(zip(names, values, strict=True)), ())

    assert torch.autograd.gradcheck(call, tuple(made.parameters()))


def test_permuted_data_give_permuted_gram_matrices_and_the_same_predictions() -> None:
    x, y = data()
    tests, _ = data(3, seed=1)
    order = torch.randperm(8)
    one, other = machine(learned=False), machine(learned=False)
    one.solve(x, y)
    other.solve(x[order], y[order])
    torch.testing.assert_close(other.grams[0], one.grams[0][order][:, order], atol=1e-5, rtol=0)
    torch.testing.assert_close(other.predict(tests)[0], one.predict(tests)[0], atol=1e-5, rtol=0)


def test_a_machine_of_gram_matrices_is_the_machine_of_the_points_they_come_from() -> None:
    x, y = data()
    tests, _ = data(3, seed=1)
    of_points, of_grams = machine(), DeepKernelMachine(8, None, 2, kernels=["sqexp", "relu", "sqexp"])
    joint = InputGram(3)(x, tests)
    of_points.fit(x, y, steps=10)
    of_grams.fit(joint.ii, y, steps=10)
    for one, other in zip(of_points.predict(tests), of_grams.predict(joint), strict=True):
        torch.testing.assert_close(one, other)


def test_a_batch_of_problems_trains_as_each_problem_alone() -> None:
    problems = [data(6, seed=seed) for seed in range(3)]
    tests, _ = data(2, seed=9)
    together = DeepKernelMachine(6, 3, 2, kernels=["sqexp", "sqexp"], relevance=True, batch=[3])
    x, y = torch.stack([x for x, _ in problems]), torch.stack([y for _, y in problems])
    history = together.fit(x, y, steps=10)
    assert history.last("loss") < history.curves["loss"][0][1]
    mean, variance = together.predict(tests.expand(3, -1, -1))
    for number, (one_x, one_y) in enumerate(problems):
        alone = DeepKernelMachine(6, 3, 2, kernels=["sqexp", "sqexp"], relevance=True)
        alone.fit(one_x, one_y, steps=10)
        torch.testing.assert_close(together().detach()[number], alone().detach())
        torch.testing.assert_close(mean[number], alone.predict(tests)[0])
        torch.testing.assert_close(variance[number], alone.predict(tests)[1])


def test_single_precision_is_near_double_where_the_kernels_are_well_conditioned() -> None:
    x, y = data()
    double = machine().initialise(x, y)
    single = machine(dtype="float32").initialise(x.float(), y.float())
    assert single().dtype == torch.float32
    torch.testing.assert_close(single().double(), double(), atol=1e-2, rtol=1e-3)
    single.fit(x.float(), y.float(), steps=5)
    assert single.predict(x.float())[0].dtype == torch.float32


def test_a_saved_machine_predicts_the_same(tmp_path) -> None:
    x, y = data()
    made = machine(nu=[1.0, 2.0])
    made.fit(x, y, steps=5)
    save_model(made, tmp_path / "model")
    again = load_model(tmp_path / "model")
    for one, other in zip(made.predict(x), again.predict(x), strict=True):
        torch.testing.assert_close(one, other, atol=0, rtol=0)


def test_bad_machines_and_data_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = data()
    for options, message in (
        ({"kernels": []}, "at least one"),
        ({"nu": [1.0]}, "have 2 Gram layers between them, and nu names 1"),
        ({"nu": 0.0}, "nu must be positive"),
        ({"output": "grams"}, "did you mean gram"),
        ({"noise": -1.0}, "must be positive"),
        ({"dtype": "float16"}, "unknown dtype"),
    ):
        with pytest.raises(InputError, match=message):
            machine(**options)
    with pytest.raises(InputError, match="x holds NaN"):
        machine().initialise(x * torch.nan, y)
    with pytest.raises(InputError, match="the kernel of layer 1 is not positive definite in float64: remove rows that are duplicates"):
        machine(jitter=0.0).initialise(x[:1].expand(8, -1), y)
    machine().initialise(x[:1].expand(8, -1), y)  # jitter sees to duplicates
    with pytest.raises(InputError, match="G\\^0 is not symmetric"):
        DeepKernelMachine(8, None, 2).initialise(torch.randn(8, 8, dtype=torch.float64), y)
    with pytest.raises(InputError, match="the other kind"):
        machine().initialise(x, y).predict(Gram.of_inducing(x @ x.T))
    with pytest.raises(InputError, match="layers must be at least 1"):
        deep_linear_solution(torch.eye(2), torch.eye(2), 0)
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)  # the checker of signatures would speak first
    with pytest.raises(InputError, match="x must be of shape"):
        machine().initialise(x[:5], y)
