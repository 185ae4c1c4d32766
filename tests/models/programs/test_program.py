import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.models.programs.compiler import CURVATURES, compile_program
from ordinate.models.programs.program import Program

F64 = torch.float64


def held(program: Program, tokens: torch.Tensor, atol: float = 1e-7) -> torch.Tensor:
    """What the program does, once the layers have been found to do the same."""
    wanted = program.run(tokens)
    torch.testing.assert_close(compile_program(program)(tokens), wanted, atol=atol, rtol=0)
    return wanted


def test_mov_copies_from_one_column_to_a_later_one_and_touches_no_other() -> None:
    tokens = torch.randn(2, 4, 3)
    state = held(Program(4, 5, 3).mov(1, 3, (0, 2), (3, 5)), tokens)
    torch.testing.assert_close(state[:, 3, 3:], tokens[:, 1, :2].double())
    assert (state[:, :3, 3:] == 0).all() and torch.equal(state[..., :3], tokens.double())


def test_mov_replaces_what_stood_there_also_within_a_column() -> None:
    tokens = torch.randn(1, 2, 3)
    state = held(Program(2, 3, 3).mov(0, 1, (0, 2), (1, 3)).mov(1, 1, (0, 1), (2, 3)), tokens)
    torch.testing.assert_close(state[0, 1], tokens[0].double()[[1, 0, 1], [0, 0, 0]])


def test_shift_reads_the_token_before() -> None:
    tokens = torch.randn(2, 5, 1)
    state = held(Program(5, 2, 1).shift({t: t - 1 for t in range(1, 5)}, (0, 1), (1, 2)), tokens)
    torch.testing.assert_close(state[:, 1:, 1], tokens[:, :-1, 0].double())


def test_aff_adds_two_maps_and_a_constant_in_place() -> None:
    tokens, W1, W2 = torch.randn(2, 3, 4), torch.randn(2, 2, dtype=F64), torch.randn(2, 2, dtype=F64)
    state = held(Program(3, 4, 4).aff((0, 2), (2, 4), (1, 3), W1, W2, torch.tensor([1.0, -1.0]), columns=[0, 2]), tokens)
    wanted = tokens.double()[:, 0, :2] @ W1.T + tokens.double()[:, 0, 2:] @ W2.T + torch.tensor([1.0, -1.0], dtype=F64)
    torch.testing.assert_close(state[:, 0, 1:3], wanted)
    assert torch.equal(state[:, 1], tokens[:, 1].double())


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 1), (2, 3, 2), (3, 1, 2)])
def test_mul_multiplies_matrices_where_it_is_asked_to(shape: tuple[int, int, int]) -> None:
    a, b, c = shape
    tokens = torch.randn(2, 3, a * b + b * c)
    program = Program(3, a * b + b * c + a * c, a * b + b * c)
    state = held(program.mul(a, b, c, (0, a * b), (a * b, a * b + b * c), (a * b + b * c, program.rows), columns=[0, 1]), tokens)
    wanted = tokens.double()[..., : a * b].unflatten(-1, (a, b)) @ tokens.double()[..., a * b :].unflatten(-1, (b, c))
    torch.testing.assert_close(state[:, :2, -a * c :], wanted.flatten(-2)[:, :2])
    assert (state[:, 2, -a * c :] == 0).all()


@pytest.mark.parametrize("divisor", [3.0, -0.25, 40.0])
def test_div_divides_by_a_magnitude_and_leaves_other_columns_alone(divisor: float) -> None:
    tokens = torch.randn(2, 3, 2)
    none = torch.zeros(1, 1)
    program = Program(3, 6, 2).aff((0, 1), (0, 1), (2, 3), none, none, torch.tensor([divisor])).mov(0, 2, (0, 2), (4, 6))
    state = held(program.div((0, 2), 2, (4, 6), columns=[0, 1]), tokens)
    torch.testing.assert_close(state[:, :2, 4:], tokens[:, :2].double() / abs(divisor))
    torch.testing.assert_close(state[:, 2, 4:], tokens[:, 0].double())


@pytest.mark.parametrize("activation", CURVATURES)
def test_products_can_be_made_of_several_activations(activation: str) -> None:
    tokens = torch.randn(4, 2, 4)
    program = Program(2, 5, 4).mul(1, 2, 1, (0, 2), (2, 4), (4, 5))
    found = compile_program(program, activation=activation, eps=3e-4)(tokens)
    torch.testing.assert_close(found, program.run(tokens), atol=1e-5, rtol=0)


def test_the_identity_behind_products() -> None:
    """sqrt(pi / 2) (G(x + y) - G(x) - G(y)) = x y for small numbers."""
    x, y = torch.meshgrid(torch.linspace(-0.05, 0.05, 11, dtype=F64), torch.linspace(-0.05, 0.05, 11, dtype=F64), indexing="ij")
    gelu = torch.nn.functional.gelu
    assert float(((torch.pi / 2) ** 0.5 * (gelu(x + y) - gelu(x) - gelu(y)) - x * y).abs().max()) < 1e-4


def test_layers_are_causal() -> None:
    program = Program(3, 4, 2).mul(1, 1, 1, (0, 1), (1, 2), (2, 3)).mov(0, 2, (2, 3), (3, 4))
    transformer, tokens = compile_program(program), torch.randn(1, 3, 2)
    changed = tokens.clone()
    changed[:, 2] += 1
    assert torch.equal(transformer(tokens)[:, :2], transformer(changed)[:, :2])


def _program() -> Program:
    return Program(3, 6, 2)


ONE = torch.ones(1, 1)


@pytest.mark.parametrize(
    ("build", "why"),
    [
        (lambda: _program().mov(2, 1, (0, 1), (1, 2)), "column 1 cannot read column 2, which lies in its future"),
        (lambda: _program().mov(0, 3, (0, 1), (1, 2)), "columns 0 to 2"),
        (lambda: _program().mov(0, 1, (0, 2), (1, 2)), "2 rows cannot be written into 1"),
        (lambda: _program().mov(0, 1, (0, 1), (6, 7)), "rows 0 to 6"),
        (lambda: _program().mul(1, 2, 1, (0, 2), (2, 4), (3, 4)), "overlap"),
        (lambda: _program().mul(1, 2, 1, (0, 1), (2, 4), (5, 6)), "reads 2 and 2 rows and writes 1"),
        (lambda: _program().div((0, 2), 2, (3, 5)), "row 2 can be 0"),
        (lambda: _program().mov(0, 1, (0, 1), (2, 3)).div((0, 2), 2, (3, 5)), "in column 0 nothing has written it"),
        (lambda: _program().mov(0, 0, (0, 1), (2, 3)).div((0, 2), 2, (2, 4), columns=[0]), "overlap"),
        (lambda: _program().aff((0, 1), (1, 2), (2, 4), ONE, ONE), "must have the shapes"),
        (lambda: _program().aff((0, 1), (1, 2), (2, 3), ONE, ONE, columns=[]), "columns 0 to 2"),
        (lambda: Program(1, 2, 3), "no more inputs than rows"),
        (lambda: compile_program(_program()), "no instruction"),
        (lambda: compile_program(_program().mov(0, 1, (0, 1), (1, 2)), activation="relu"), "products can be made"),
        (lambda: compile_program(_program().mov(0, 1, (0, 1), (1, 2)), eps=0.0), "positive"),
        (lambda: _program().run(torch.zeros(1, 3, 3)), "runs on tokens"),
        (lambda: compile_program(_program().mov(0, 1, (0, 1), (1, 2)))(torch.zeros(1, 4, 2)), "runs on tokens"),
    ],
)
def test_what_is_no_program_is_one_line(build: object, why: str) -> None:
    with pytest.raises(InputError, match=why):
        build()  # type: ignore[operator]


def test_a_divisor_that_is_0_after_all_is_one_line() -> None:
    program = Program(1, 4, 2).mov(0, 0, (1, 2), (2, 3)).div((0, 1), 2, (3, 4))
    with pytest.raises(InputError, match="is 0 in one of the columns"):
        program.run(torch.tensor([[[1.0, 0.0]]]))
