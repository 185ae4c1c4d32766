import copy
from inspect import unwrap

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.models.mlp import MLP
from ordinate.models.registry import load_official
from ordinate.nn.nested_head import MatryoshkaHead
from ordinate.objectives.base import create_objective
from ordinate.objectives.contrastive import InfoNCE
from ordinate.objectives.matryoshka import MatryoshkaLoss, NestedClassification, check_weights, truncate

DIMS = (2, 4, 8)


def _norm(z: Tensor) -> Tensor:
    return z.square().sum(-1).mean()


@pytest.fixture
def model() -> MLP:
    return MLP(num_classes=3, image_size=4, hidden=[6], num_features=8)


@pytest.fixture
def batch() -> dict[str, Tensor]:
    return {"image": torch.randn(5, 1, 4, 4), "label": torch.tensor([0, 2, 1, 1, 0])}


@given(st.integers(1, 12), st.booleans())
def test_a_truncated_embedding_is_its_prefix_at_unit_length(size: int, normalize: bool) -> None:
    z = torch.randn(3, 2, 12)
    found = truncate(z, size, normalize)
    assert torch.equal(found, F.normalize(z[..., :size], dim=-1) if normalize else z[..., :size])


def test_a_prefix_of_zeros_stays_zeros() -> None:
    z = torch.tensor([[0.0, 0.0, 3.0]])
    assert torch.equal(truncate(z, 2), torch.zeros(1, 2))
    assert torch.equal(truncate(z, 3), torch.tensor([[0.0, 0.0, 1.0]]))


@pytest.mark.parametrize("size", [0, 9, -1])
def test_truncation_out_of_range_is_refused(size: int) -> None:
    with pytest.raises(InputError, match="cannot be truncated"):
        truncate(torch.randn(2, 8), size)


def test_presets_of_weights() -> None:
    assert check_weights(None, 3) == check_weights("uniform", 3) == (1.0, 1.0, 1.0)
    assert check_weights("8boost", 4) == (2.0, 1.0, 1.0, 1.0)
    assert check_weights("8+16boost", 4) == (2.0, 1.5, 1.0, 1.0)
    assert check_weights("8+16boost", 1) == (2.0,)
    assert check_weights([1, 0.5, 0], 3) == (1.0, 0.5, 0.0)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("8bost", "did you mean 8boost"),
        ([1, 1], "3 sizes need 3 weights"),
        ([1, -1, 1], "0 or more"),
        ([0, 0, 0], "above 0"),
        ([1, float("nan"), 1], "0 or more"),
    ],
)
def test_wrong_weights_are_refused(weights: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_weights(weights, 3)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_nested_classification_is_the_weighted_sum_of_separate_cross_entropies(
    model: MLP, batch: dict[str, Tensor], tied: bool, smoothing: float
) -> None:
    weights = [2.0, 1.5, 1.0]
    objective = NestedClassification(DIMS, 3, tied=tied, weights=weights, label_smoothing=smoothing)
    z = model.embed(batch["image"])
    heads = [(model.head.weight[:, :size], model.head.bias) for size in DIMS]
    if not tied:
        heads = [(each.weight, each.bias) for each in objective.smaller.classifiers] + heads[-1:]
    expected = sum(
        c * F.cross_entropy(F.linear(z[:, :size], *head), batch["label"], label_smoothing=smoothing)
        for c, size, head in zip(weights, DIMS, heads, strict=True)
    )
    torch.testing.assert_close(objective(model, batch), expected, atol=1e-6, rtol=1e-6)
    mean = NestedClassification(DIMS, 3, tied=tied, weights=weights, label_smoothing=smoothing, reduction="mean")
    mean.load_state_dict(objective.state_dict())
    torch.testing.assert_close(mean(model, batch), expected / 4.5, atol=1e-6, rtol=1e-6)


def test_the_encoder_classifies_by_itself_at_the_full_size(model: MLP, batch: dict[str, Tensor]) -> None:
    for tied in (False, True):
        logits = NestedClassification(DIMS, 3, tied=tied).logits(model, model.embed(batch["image"]))
        assert [each.shape for each in logits] == [(5, 3)] * 3
        torch.testing.assert_close(logits[-1], model(batch["image"]), atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("tied", [False, True])
def test_one_weight_alone_trains_as_a_run_of_that_size_would(model: MLP, batch: dict[str, Tensor], tied: bool) -> None:
    objective = NestedClassification(DIMS, 3, tied=tied, weights=[0, 1, 0])
    twin = copy.deepcopy(model)
    objective(model, batch).backward()
    head = nn.Linear(4, 3)
    source = twin.head if tied else objective.smaller.classifiers[1]
    with torch.no_grad():
        head.weight.copy_(source.weight[:, :4])
        head.bias.copy_(source.bias)
    F.cross_entropy(head(twin.embed(batch["image"])[:, :4]), batch["label"]).backward()
    for ours, single in zip(model.body.parameters(), twin.body.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, single.grad, atol=1e-7, rtol=1e-5)
    trained = model.head.weight.grad[:, :4] if tied else objective.smaller.classifiers[1].weight.grad
    torch.testing.assert_close(trained, head.weight.grad, atol=1e-7, rtol=1e-5)


def test_nested_classification_fits_the_encoder_or_says_why_not(model: MLP) -> None:
    assert NestedClassification.for_model(MLP(image_size=4, num_features=32)).dims == (8, 16, 32)
    assert NestedClassification.for_model(MLP(image_size=4, num_features=4)).dims == (4,)
    assert NestedClassification.for_model(MLP(image_size=4, num_features=32), dims=[2, 8]).dims == (2, 8, 32)
    with pytest.raises(InputError, match="own width 8, not 16"):
        create_objective("classification", model, matryoshka=[4, 16])
    with pytest.raises(InputError, match="linear head"):
        create_objective("classification", MLP(num_classes=0), matryoshka=[64])
    with pytest.raises(InputError, match="linear head"):
        create_objective("classification", nn.Linear(3, 2), matryoshka=[3])
    with pytest.raises(InputError, match="give its sizes too"):
        create_objective("classification", model, tied=True)
    with pytest.raises(InputError, match="label_smoothing"):
        NestedClassification(DIMS, 3, label_smoothing=1.0)
    with pytest.raises(InputError, match="8 wide, not 4"):
        NestedClassification(DIMS, 3).logits(model, torch.randn(2, 4))


def test_a_metric_loss_sees_both_sides_cut_and_normalised_at_each_size() -> None:
    a, b = torch.randn(5, 8), torch.randn(5, 8)
    loss = MatryoshkaLoss(lambda x, y: (x - y).square().sum(1).mean(), DIMS, normalize="each")
    total, by_size = loss(a, b)
    for size in DIMS:
        expected = (F.normalize(a[:, :size], dim=1) - F.normalize(b[:, :size], dim=1)).square().sum(1).mean()
        torch.testing.assert_close(by_size[size], expected)
    torch.testing.assert_close(total, sum(by_size.values()))
    assert list(by_size) == list(DIMS)


def test_what_is_not_an_embedding_is_passed_on_whole() -> None:
    seen = []

    def base(z: Tensor, target: Tensor, label: Tensor, margin: float) -> Tensor:
        seen.append((z.shape[-1], target.shape[-1], label.shape[-1], margin))
        return z.sum()

    loss = MatryoshkaLoss(base, DIMS)
    loss(torch.randn(8, 8), torch.randn(8, 8), torch.arange(8), 0.5)
    assert seen == [(8, 8, 8, 0.5), (4, 4, 8, 0.5), (2, 2, 8, 0.5)]


def test_targets_that_only_look_like_embeddings_can_be_kept_whole() -> None:
    shapes = []
    base = lambda z, target: shapes.append(target.shape) or z.sum()  # noqa: E731
    MatryoshkaLoss(base, DIMS, nested=[False])(torch.randn(3, 8), torch.randn(3, 8))
    assert shapes == [(3, 8)] * 3
    with pytest.raises(InputError, match="2 arguments"):
        MatryoshkaLoss(base, DIMS, nested=[True, False])(torch.randn(3, 8), torch.randn(3, 8))
    with pytest.raises(InputError, match="must be a tensor that is 8 wide"):
        MatryoshkaLoss(base, DIMS, nested=[True])(torch.randn(3, 8), torch.randn(3, 7))


def test_distillation_targets_are_truncated_too() -> None:
    student, teacher = torch.randn(6, 8, requires_grad=True), torch.randn(6, 8)
    total, _ = MatryoshkaLoss(F.mse_loss, DIMS, weights="8boost")(student, teacher)
    expected = sum(c * F.mse_loss(student[:, :m], teacher[:, :m]) for c, m in zip((2, 1, 1), DIMS, strict=True))
    torch.testing.assert_close(total, expected)


@pytest.mark.parametrize("base", [nn.TripletMarginLoss(), InfoNCE(), nn.CosineEmbeddingLoss()])
def test_losses_of_every_kind_can_be_wrapped(base: nn.Module) -> None:
    a, b, c = (torch.randn(6, 8, requires_grad=True) for _ in range(3))
    given = {"TripletMarginLoss": (a, b, c), "InfoNCE": (a, b), "CosineEmbeddingLoss": (a, b, torch.ones(6))}[type(base).__name__]
    total, by_size = MatryoshkaLoss(base, DIMS, normalize="each")(*given)
    total.backward()
    assert torch.isfinite(total) and a.grad.abs().sum() > 0 and len(by_size) == 3


def test_one_base_loss_a_size_carries_its_own_classifier() -> None:
    heads, label, z = MatryoshkaHead(DIMS, 3), torch.tensor([0, 1, 2, 1]), torch.randn(4, 8)
    bases = [lambda x, y, head=head: F.cross_entropy(head(x), y) for head in heads.classifiers]
    total, _ = MatryoshkaLoss(bases, DIMS)(z, label)
    torch.testing.assert_close(total, sum(F.cross_entropy(each, label) for each in heads(z)))
    modules = MatryoshkaLoss([nn.PairwiseDistance(), nn.CosineSimilarity(), nn.CosineSimilarity()], DIMS)
    assert len(modules.base_modules) == 3


def test_a_trained_base_is_trained_and_copied_once() -> None:
    loss = MatryoshkaLoss(InfoNCE(learn_temperature=True), DIMS)
    assert len(list(loss.parameters())) == 1
    twin = copy.deepcopy(loss)
    with torch.no_grad():
        next(twin.parameters()).add_(1.0)
    a, b = torch.randn(4, 8), torch.randn(4, 8)
    assert twin(a, b).total != loss(a, b).total


def test_sizes_are_processed_from_large_to_small_and_zero_weights_not_at_all() -> None:
    seen: list[int] = []
    base = lambda z: seen.append(z.shape[-1]) or z.sum()  # noqa: E731
    MatryoshkaLoss(base, DIMS)(torch.randn(2, 8))
    assert seen == [8, 4, 2]
    seen.clear()
    _, by_size = MatryoshkaLoss(base, DIMS, weights=[1, 0, 3])(torch.randn(2, 8))
    assert seen == [8, 2] and list(by_size) == [2, 8]


def test_a_random_subset_of_sizes_descends_and_in_the_end_visits_all() -> None:
    seen: list[int] = []
    loss = MatryoshkaLoss(lambda z: seen.append(z.shape[-1]) or _norm(z), (1, 2, 4, 8), sample=2)
    visited = set()
    for _ in range(40):
        seen.clear()
        total, by_size = loss(torch.ones(2, 8))
        assert seen == sorted(seen, reverse=True) and len(seen) == 2
        assert total == sum(seen) and list(by_size) == sorted(seen)
        visited.update(seen)
    assert visited == {1, 2, 4, 8}


def test_the_mean_reduction_keeps_the_scale_of_one_loss() -> None:
    z = torch.ones(2, 8)
    assert MatryoshkaLoss(_norm, DIMS, reduction="mean")(z).total == pytest.approx((2 + 4 + 8) / 3)
    assert MatryoshkaLoss(_norm, DIMS, weights=[2, 1, 1], reduction="mean")(z).total == pytest.approx((4 + 4 + 8) / 4)
    assert MatryoshkaLoss(_norm, DIMS)(z).total == 14


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dims": []}, "none were given"),
        ({"dims": [8, 4]}, "ascend"),
        ({"weights": [1.0]}, "3 sizes need 3 weights"),
        ({"normalize": "all"}, "unknown normalization"),
        ({"reduction": "max"}, "unknown reduction"),
        ({"sample": 0}, "sample"),
        ({"sample": 4}, "sample"),
        ({"base": [_norm]}, "3 sizes need one base loss, or 3, not 1"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):  # unwrapped: as a caller without a type checker
        unwrap(MatryoshkaLoss.__init__)(MatryoshkaLoss.__new__(MatryoshkaLoss), **{"base": _norm, "dims": DIMS, **options})


def test_a_width_that_the_sizes_do_not_end_with_is_refused() -> None:
    with pytest.raises(InputError, match="8 wide, not 16"):
        MatryoshkaLoss(_norm, DIMS)(torch.randn(2, 16))
    with pytest.raises(InputError, match="must give a scalar"):
        MatryoshkaLoss(lambda z: z.sum(1), DIMS)(torch.randn(2, 8))


def test_official_heads_are_read_by_name() -> None:
    state = {
        f"module.nesting_classifier_{i}.{name}": torch.randn(*shape)
        for i, m in enumerate(DIMS)
        for name, shape in (("weight", (3, m)), ("bias", (3,)))
    }
    head = load_official("matryoshka-head", state)
    assert head.dims == DIMS and torch.equal(head.classifiers[1].weight, state["module.nesting_classifier_1.weight"])
    with pytest.raises(InputError, match=r"missing: classifiers\.1\.bias"):
        load_official("matryoshka-head", {key: value for key, value in state.items() if key != "module.nesting_classifier_1.bias"})
    with pytest.raises(InputError, match="is it a checkpoint of another model"):
        load_official("matryoshka-head", {"conv1.weight": torch.zeros(1)})
