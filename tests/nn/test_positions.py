import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.nn.positions import AbsolutePositions, RelativeBias, RelativeBias2d, sinusoids
from ordinate.nn.toeplitz import toeplitz_matrix


def test_the_bias_depends_on_the_offset_alone_and_a_long_table_is_cut():
    bias = RelativeBias(2, 8)
    matrix = toeplitz_matrix(bias(6), 6)
    for i in range(6):
        for j in range(6):
            assert torch.equal(matrix[:, i, j], bias.table[:, j - i + 7])
    assert torch.equal(bias(6)[:, 2:-2], bias(4))


def test_offsets_beyond_the_table_take_the_outermost_entry_or_are_refused():
    wide = RelativeBias(1, 3)(5)[0]
    assert torch.equal(wide[:3], wide[:1].expand(3))
    assert torch.equal(wide[-3:], wide[-1:].expand(3))
    with pytest.raises(InputError, match="max_length=3"):
        RelativeBias(1, 3, clamp=False)(4)
    assert RelativeBias(1, 3, clamp=False)(3).shape == (1, 5)


def test_a_causal_bias_has_nothing_ahead_and_no_idle_entries():
    bias = RelativeBias(2, 5, causal=True)
    diagonals = bias(5)
    assert bias.table.shape == (2, 5)
    assert (diagonals[:, 5:] == -torch.inf).all()
    assert torch.equal(diagonals[:, :5], bias.table)


def test_rectangular_biases_count_offsets_from_the_beginning_of_both():
    bias = RelativeBias(1, 9)
    assert torch.equal(toeplitz_matrix(bias(3, 5), 3), toeplitz_matrix(bias(9), 9)[:, :3, :5])


@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize("causal", [False, True])
def test_a_grid_s_matrix_is_indexed_by_both_offsets(causal, class_token):
    bias = RelativeBias2d(2, 3, 4, causal=causal, class_token=class_token)
    matrix, lead = bias.matrix(), int(class_token)
    for i in range(12):
        for j in range(12):
            found = matrix[:, i + lead, j + lead]
            if causal and j > i:
                assert (found == -torch.inf).all()
            else:
                assert torch.equal(found, bias.table[:, j // 4 - i // 4 + 2, j % 4 - i % 4 + 3])
    if class_token:
        assert torch.equal(matrix[:, 1:, 0], bias.class_bias[:, :1].expand(-1, 12))
        assert torch.equal(matrix[:, 0, 0], bias.class_bias[:, 2])
        assert torch.equal(matrix[:, 0, 1:], (torch.full((2, 12), -torch.inf) if causal else bias.class_bias[:, 1:2].expand(-1, 12)))
    assert torch.equal(bias.matrix(7), matrix[:, :7, :7])


def test_absolute_positions():
    learned = AbsolutePositions(6, 4)
    assert torch.equal(learned(2, offset=3), learned.table[3:5])
    with pytest.raises(InputError, match="6 learned positions"):
        learned(4, offset=3)
    fixed = AbsolutePositions(6, 4, kind="sinusoidal")
    assert not list(fixed.parameters())
    assert torch.allclose(fixed(2, offset=5), sinusoids(7, 4)[5:])
    assert torch.allclose(sinusoids(3, 4)[2], torch.cat([torch.tensor([2.0, 0.02]).sin(), torch.tensor([2.0, 0.02]).cos()]))


def test_bad_arguments_are_refused():
    for call in (
        lambda: RelativeBias(0, 3),
        lambda: RelativeBias(1, 0),
        lambda: RelativeBias2d(1, 0, 3),
        lambda: RelativeBias2d(1, 2, 3).matrix(7),
        lambda: RelativeBias2d(1, 2, 3, class_token=True).matrix(0),
        lambda: AbsolutePositions(0, 4),
        lambda: AbsolutePositions(4, 4, kind="rotary"),
        lambda: AbsolutePositions(4, 3, kind="sinusoidal"),
    ):
        with pytest.raises(InputError):
            call()
