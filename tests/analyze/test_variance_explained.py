import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LinearRegression
from torch import Tensor

from ordinate.analyze.variance_explained import Encoding, design, interaction, variance_explained
from ordinate.ground.errors import InputError


def binary(rows: int, features: int, seed: int = 0) -> Tensor:
    return torch.randint(0, 2, (rows, features), generator=torch.Generator().manual_seed(seed)).double()


def test_two_independent_features_share_the_variance_by_their_squares() -> None:
    f, g = binary(10_000, 2), binary(10_000, 2, seed=1)
    a, b = torch.tensor([2.0, 0.0, 0.0]).double(), torch.tensor([0.0, 0.6, 0.8]).double()
    found = variance_explained(f @ torch.stack([a, b]), f, g @ torch.stack([a, b]), g)
    assert found.per_feature.tolist() == pytest.approx([0.8, 0.2], abs=0.01)
    assert found.joint == pytest.approx(1.0, abs=1e-9)
    assert float(found.per_feature.sum()) == pytest.approx(found.joint, abs=1e-2)
    assert found.unique.tolist() == pytest.approx(found.per_feature.tolist(), abs=1e-2)
    assert found.total == pytest.approx(1.25, abs=0.02) and found.density() == [1, 2]


def test_a_representation_that_has_nothing_to_do_with_a_feature_is_not_explained() -> None:
    f = binary(20_000, 1)
    found = variance_explained(torch.randn(10_000, 8), f[:10_000], torch.randn(10_000, 8), f[10_000:])
    assert abs(float(found.per_feature[0])) < 0.005


@settings(max_examples=30)
@given(st.integers(0, 100), st.booleans())
def test_rotation_scale_and_shift_change_nothing(seed: int, per_example: bool) -> None:
    torch.manual_seed(seed)
    f = binary(80, 3, seed)
    phi = f @ torch.randn(3, 5).double() + torch.randn(80, 5).double()
    turn = torch.linalg.qr(torch.randn(5, 5).double()).Q
    one = variance_explained(phi[:50], f[:50], phi[50:], f[50:], per_example=per_example)
    moved = 7 * phi @ turn + 3
    other = variance_explained(moved[:50], f[:50], moved[50:], f[50:], per_example=per_example)
    torch.testing.assert_close(one.per_feature, other.per_feature, rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(one.unique, other.unique, rtol=1e-8, atol=1e-10)
    assert one.joint == pytest.approx(other.joint, abs=1e-10)


def test_a_feature_of_two_classes_explains_what_lies_between_them() -> None:
    f = binary(500, 1)[:, 0]
    phi = torch.randn(500, 4).double() + f[:, None]
    between = sum(float((f == c).double().mean() * (phi[f == c].mean(dim=0) - phi.mean(dim=0)).square().sum()) for c in (0, 1))
    whole = float((phi - phi.mean(dim=0)).square().sum(dim=1).mean())
    assert float(variance_explained(phi, [f.long()]).per_feature[0]) == pytest.approx(between / whole, abs=1e-12)


@pytest.mark.parametrize("per_example", [False, True])
def test_every_part_is_scikit_learn_s_regression(per_example: bool) -> None:
    f, colour = binary(300, 2), torch.randint(0, 4, (300,))
    phi = torch.randn(300, 6).double() + f[:, :1] * 2 + colour[:, None] * torch.randn(6).double()
    fit, test = slice(0, 200), slice(200, 300)
    features = [f[:, 0], f[:, 1], colour]
    found = variance_explained(
        phi[fit], [each[fit] for each in features], phi[test], [each[test] for each in features], per_example=per_example
    )

    def peer(columns: list[Tensor]) -> float:
        z = torch.cat(columns, dim=1).numpy()
        left = torch.from_numpy(phi[test].numpy() - LinearRegression().fit(z[fit], phi[fit]).predict(z[test])).square().sum(dim=1)
        whole = (phi[test] - phi[fit].mean(dim=0)).square().sum(dim=1)
        return float((1 - left / whole).mean()) if per_example else float(1 - left.sum() / whole.sum())

    blocks = [f[:, :1], f[:, 1:], torch.nn.functional.one_hot(colour).double()[:, 1:]]
    assert found.joint == pytest.approx(peer(blocks), abs=1e-9)
    for number in range(3):
        assert float(found.per_feature[number]) == pytest.approx(peer([blocks[number]]), abs=1e-9)
        rest = [block for place, block in enumerate(blocks) if place != number]
        assert float(found.unique[number]) == pytest.approx(found.joint - peer(rest), abs=1e-9)


def test_unique_parts_of_what_was_fitted_are_never_negative() -> None:
    f = binary(60, 4)
    f[:, 1] = torch.where(torch.rand(60) < 0.8, f[:, 0], f[:, 1])
    found = variance_explained(torch.randn(60, 5), f)
    assert bool((found.unique >= -1e-12).all())
    assert float(found.unique[1]) < float(found.per_feature[1]) + 1e-12


def test_one_feature_alone_is_all_its_own() -> None:
    f = binary(50, 1)
    found = variance_explained(torch.randn(50, 3), f)
    assert float(found.unique[0]) == found.joint == pytest.approx(float(found.per_feature[0]))


def test_a_fixed_total_makes_steps_of_training_comparable() -> None:
    f = binary(400, 2)
    early, late = f @ torch.tensor([[1.0, 0.0], [0.0, 0.1]]).double(), f @ torch.tensor([[2.0, 0.0], [0.0, 2.0]]).double()
    end = variance_explained(late, f)
    start = variance_explained(early, f, total=end.total)
    assert float(variance_explained(early, f).per_feature[0]) > float(end.per_feature[0]) > float(start.per_feature[0])
    assert float(variance_explained(late, f, total=end.total).joint) == pytest.approx(end.joint)


@pytest.mark.parametrize("block", [1, 13, 500])
def test_the_size_of_a_block_changes_nothing(block: int) -> None:
    f, phi = binary(90, 3), torch.randn(90, 4)
    for per_example in (False, True):
        one = Encoding(f[:60], f[60:], block=block).explain(phi[:60], phi[60:], per_example=per_example)
        other = Encoding(f[:60], f[60:]).explain(phi[:60], phi[60:], per_example=per_example)
        torch.testing.assert_close(one.per_feature, other.per_feature, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(one.unique, other.unique, rtol=1e-10, atol=1e-12)


def test_what_two_features_hold_only_together_is_their_interaction_s() -> None:
    f = binary(4_000, 2)
    both = interaction(f[:, 0], f[:, 1])
    assert both.tolist()[:50] == [int(a != b) for a, b in f[:50].tolist()]
    phi = torch.stack([both.double(), f[:, 0]], dim=1)
    found = variance_explained(phi, [f[:, 0], f[:, 1], both])
    assert found.unique.tolist() == pytest.approx([0.5, 0.0, 0.5], abs=0.02)
    with pytest.raises(InputError, match="two classes, not 2 and 3"):
        interaction(torch.arange(6) % 2, torch.arange(6) % 3)


def test_constant_units_explain_nothing() -> None:
    f = binary(50, 1)
    phi = torch.cat([f, torch.full((50, 1), 0.3).double()], dim=1)
    assert variance_explained(phi, f).per_unit[0].tolist() == pytest.approx([1.0, 0.0])


def test_classes_are_one_regressor_each_less_one_and_numbers_one_a_column() -> None:
    parts = design([torch.tensor([2, 0, 1, 2]), torch.tensor([True, False, True, True]), torch.randn(4, 3)])
    assert [part.shape[1] for part in parts] == [2, 1, 3]
    assert parts[0].tolist() == [[0, 1], [0, 0], [1, 0], [0, 1]]


def test_bad_input_is_refused() -> None:
    f, phi = binary(30, 2), torch.randn(30, 4)
    constant = torch.cat([f, torch.ones(30, 1).double()], dim=1)
    with pytest.raises(InputError, match="feature 2 is constant"):
        variance_explained(phi, constant)
    with pytest.raises(InputError, match="feature 0 is constant"):
        variance_explained(phi, [torch.ones(30).long()])
    with pytest.raises(InputError, match="3 examples cannot tell 2 regressors apart"):
        variance_explained(phi[:3], torch.tensor([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]]))
    with pytest.raises(InputError, match="feature 2 says what the features before it say"):
        variance_explained(phi, torch.cat([f, 1 - f[:, :1]], dim=1))
    with pytest.raises(InputError, match="pool it first"):
        variance_explained(torch.randn(30, 4, 2), f)
    with pytest.raises(InputError, match="not finite in 30 of 30 rows"):
        variance_explained(phi / 0, f)
    with pytest.raises(InputError, match="feature 1 is not finite"):
        variance_explained(phi, torch.stack([f[:, 0], f[:, 1] / 0], dim=1))
    with pytest.raises(InputError, match="features of 30 examples"):
        variance_explained(phi[:20], f)
    with pytest.raises(InputError, match="held-out ones for both"):
        variance_explained(phi, f, phi)
    with pytest.raises(InputError, match="the representation is constant"):
        variance_explained(torch.full((30, 2), 0.7), f)
    with pytest.raises(InputError, match="class 7"):
        design([torch.tensor([0, 7])], like=[torch.tensor([0, 1])])
    with pytest.raises(InputError, match="have 3, 2 rows"):
        design([torch.tensor([0, 1, 0]), torch.tensor([0, 1])])
    with pytest.raises(InputError, match="no features"):
        design([])
    with pytest.raises(InputError, match="one number an example"):
        design([torch.zeros(3, 2).long()])
    with pytest.raises(InputError, match="positive variance"):
        variance_explained(phi, f, total=0.0)
