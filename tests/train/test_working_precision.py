import torch

from ordinate.train.working_precision import maximise


def test_a_quadratic_is_maximised_to_the_last_digits() -> None:
    matrix = torch.tensor([[3.0, 1.0], [1.0, 2.0]], dtype=torch.float64)
    target = torch.tensor([1.0, -2.0], dtype=torch.float64)
    place = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    found = maximise(lambda: target @ place - 0.5 * place @ matrix @ place, [place])
    best = torch.linalg.solve(matrix, target)
    torch.testing.assert_close(place.detach(), best, atol=1e-9, rtol=0)
    torch.testing.assert_close(found, 0.5 * target @ best, atol=1e-12, rtol=0)


def test_few_iterations_stop_early() -> None:
    place = torch.full((1,), 5.0, dtype=torch.float64, requires_grad=True)
    after_one = maximise(lambda: -(place - 1).pow(4).sum(), [place], iterations=1)
    assert -256 < float(after_one) < -1e-6


def test_without_parameters_the_objective_is_given_as_it_is() -> None:
    assert float(maximise(lambda: torch.tensor(3.0), [])) == 3.0
