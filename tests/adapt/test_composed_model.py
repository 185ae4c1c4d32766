import warnings
from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from ordinate.adapt import composed_model
from ordinate.adapt.composed_model import ComposedModel
from ordinate.adapt.task_vector import TaskBank, TaskVector
from ordinate.ground.errors import InputError
from ordinate.models.registry import create_model
from tests.adapt.small import bank_of, network, set_coefficients


@pytest.fixture
def model() -> nn.Module:
    return network()


@pytest.fixture
def bank(model: nn.Module) -> TaskBank:
    return bank_of(model)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.randn(5, 4)


@pytest.mark.parametrize(
    "options", [{}, {"granularity": "scalar"}, {"granularity": "partition", "partitions": 2}, {"linearised": True}, {"blocks": "weights"}]
)
def test_without_coefficients_it_is_the_pre_trained_model_to_the_bit(
    model: nn.Module, bank: TaskBank, x: torch.Tensor, options: dict[str, object]
) -> None:
    composed = ComposedModel(model, bank, **options)
    assert torch.equal(composed(x), model(x)) and not composed.coef.any()
    assert [name for name, parameter in composed.named_parameters() if parameter.requires_grad] == ["coef"]


def test_a_row_of_ones_is_that_fine_tuned_model(model: nn.Module, x: torch.Tensor) -> None:
    tuned = network()
    bank = TaskBank({"other": bank_of(model)["task 0"], "tuned": TaskVector.from_checkpoints(model.state_dict(), tuned.state_dict())})
    composed = ComposedModel(model, bank)
    set_coefficients(composed, torch.tensor([[0.0], [1.0]]))
    torch.testing.assert_close(composed(x), tuned(x), atol=1e-6, rtol=1e-5)
    assert composed.tasks == ("other", "tuned") and composed.by_task()["tuned"].eq(1).all()


@given(seed=st.integers(0, 50), partitions=st.integers(1, 5))
@settings(max_examples=15)
def test_equal_coefficients_make_every_granularity_the_same(seed: int, partitions: int) -> None:
    torch.manual_seed(seed)
    model = network()
    bank, x = bank_of(model), torch.randn(5, 4)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = ComposedModel(model, bank, "partition", partitions=partitions)
    scalar, block = ComposedModel(model, bank, "scalar"), ComposedModel(model, bank)
    values = torch.randn(3)
    set_coefficients(scalar, values)
    set_coefficients(block, values[:, None])
    set_coefficients(parts, values[:, None, None])
    torch.testing.assert_close(scalar(x), block(x), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(parts(x), block(x), atol=1e-5, rtol=1e-5)


def test_one_partition_is_a_block_whatever_the_coefficients(model: nn.Module, bank: TaskBank, x: torch.Tensor) -> None:
    block, parts = ComposedModel(model, bank), ComposedModel(model, bank, "partition", partitions=1)
    set_coefficients(block, torch.randn_like(block.coef))
    set_coefficients(parts, block.coef.detach()[..., None])
    torch.testing.assert_close(parts(x), block(x))


def test_a_partition_scales_each_entry_by_its_part_and_is_the_same_for_a_seed(model: nn.Module, bank: TaskBank) -> None:
    composed = ComposedModel(model, bank, "partition", partitions=3, seed=4)
    assert composed.parts_0.dtype == torch.uint8 and torch.equal(
        composed.parts_0, ComposedModel(model, bank, "partition", partitions=3, seed=4).parts_0
    )
    assert not torch.equal(composed.parts_0, ComposedModel(model, bank, "partition", partitions=3, seed=5).parts_0)
    set_coefficients(composed, torch.randn_like(composed.coef))
    part = composed.parts_0.long().view(6, 4)
    expected = sum(composed.coef[i, 0, part] * vector["0.weight"] for i, vector in enumerate(bank.values()))
    torch.testing.assert_close(composed.delta()["0.weight"], expected)


@pytest.mark.parametrize("granularity", ["scalar", "block", "partition"])
@pytest.mark.parametrize("storage", [None, torch.float16, torch.bfloat16, torch.int8])
def test_folded_it_computes_what_it_composed(
    model: nn.Module, bank: TaskBank, x: torch.Tensor, granularity: str, storage: torch.dtype | None
) -> None:
    composed = ComposedModel(model, bank, granularity, partitions=2 if granularity == "partition" else None, storage=storage)
    set_coefficients(composed, torch.randn_like(composed.coef))
    folded = composed.fold()
    assert type(folded) is type(model) and all(parameter.requires_grad for parameter in folded.parameters())
    torch.testing.assert_close(folded(x), composed(x), atol=1e-5, rtol=1e-5)
    exact = ComposedModel(model, bank, granularity, partitions=2 if granularity == "partition" else None)
    set_coefficients(exact, composed.coef.detach())
    torch.testing.assert_close(composed(x), exact(x), atol=0.1, rtol=0.1)
    assert composed.vectors_0.dtype == (storage or torch.float32)


@pytest.mark.parametrize("at_once", [1, 7, 1 << 22])
@pytest.mark.parametrize("partitions", [None, 3])
def test_the_gradient_of_a_coefficient_is_an_inner_product_in_pieces_of_any_size(
    model: nn.Module, bank: TaskBank, x: torch.Tensor, at_once: int, partitions: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(composed_model, "_AT_ONCE", at_once)
    composed = ComposedModel(model, bank, "partition" if partitions else "block", partitions=partitions)
    set_coefficients(composed, 0.3 * torch.randn_like(composed.coef))
    composed(x).square().sum().backward()
    folded = composed.fold()
    folded(x).square().sum().backward()
    for i, vector in enumerate(bank.values()):
        for j, (name, parameter) in enumerate(folded.named_parameters()):
            products = (parameter.grad * vector[name]).flatten()
            if partitions is None:
                torch.testing.assert_close(composed.coef.grad[i, j], products.sum(), atol=1e-5, rtol=1e-4)
            else:
                expected = torch.zeros(partitions).index_add(0, getattr(composed, f"parts_{j}").long(), products)
                torch.testing.assert_close(composed.coef.grad[i, j], expected, atol=1e-5, rtol=1e-4)


def test_chosen_blocks_are_composed_and_the_others_left(model: nn.Module, bank: TaskBank) -> None:
    weights = ComposedModel(model, bank, blocks="weights")
    assert weights.names == ("0.weight", "3.weight") and weights.coef.shape == (3, 2)
    set_coefficients(weights, 1.0)
    assert torch.equal(weights.export()["0.bias"], model.state_dict()["0.bias"])
    assert not torch.equal(weights.export()["0.weight"], model.state_dict()["0.weight"])
    assert ComposedModel(model, bank, blocks=["3.bias", "0.weight"]).names == ("0.weight", "3.bias")


def test_running_statistics_stay_unless_they_are_asked_for() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6))
    tuned = deepcopy(model)
    tuned.train()
    for _ in range(3):
        tuned(5 * torch.randn(30, 4))
    bank = TaskBank({"tuned": TaskVector.from_checkpoints(model.state_dict(), tuned.state_dict())})
    kept, moved = ComposedModel(model, bank), ComposedModel(model, bank, buffers=True)
    for composed in (kept, moved):
        set_coefficients(composed, 1.0)
        composed.train()
        composed(torch.randn(8, 4))
    assert torch.equal(kept.export()["1.running_var"], model.state_dict()["1.running_var"])
    torch.testing.assert_close(moved.export()["1.running_var"], tuned.state_dict()["1.running_var"])
    x = torch.randn(5, 4)
    torch.testing.assert_close(moved(x), tuned.eval()(x), atol=1e-5, rtol=1e-5)


def test_tied_weights_stay_tied() -> None:
    model = nn.ModuleDict({"first": nn.Linear(3, 3), "second": nn.Linear(3, 3)})
    model["second"].weight = model["first"].weight
    bank = TaskBank({"t": TaskVector({name: torch.ones_like(entry) for name, entry in model.state_dict().items()})})
    composed = ComposedModel(model, bank)
    set_coefficients(composed, 1.0)
    state = composed.export()
    assert torch.equal(state["first.weight"], state["second.weight"])
    torch.testing.assert_close(state["second.weight"], model["first"].weight + 1)


def test_its_state_and_copies_bring_it_back(model: nn.Module, bank: TaskBank, x: torch.Tensor) -> None:
    composed = ComposedModel(model, bank)
    set_coefficients(composed, torch.randn_like(composed.coef))
    twin = ComposedModel(network(), bank)
    twin.load_state_dict(composed.state_dict())
    assert torch.equal(twin(x), composed(x)) and torch.equal(deepcopy(composed)(x), composed(x))


def test_shares_add_up_to_the_whole(model: nn.Module, bank: TaskBank) -> None:
    composed = ComposedModel(model, bank)
    set_coefficients(composed, torch.randn_like(composed.coef))
    total = sum((composed.part(name) for name in list(bank)[1:]), start=composed.part("task 0"))
    for name, change in composed.delta().items():
        torch.testing.assert_close(total[name], change)


def test_any_method_of_the_model_is_composed() -> None:
    model = create_model("mlp", image_size=4, hidden=[5], num_features=3, num_classes=2).eval()
    composed = ComposedModel(model, bank_of(model))
    set_coefficients(composed, torch.randn_like(composed.coef))
    images = torch.randn(2, 1, 4, 4)
    torch.testing.assert_close(composed.embed(images), composed.fold().embed(images))
    assert composed.embed(images).requires_grad
    with pytest.raises(InputError, match="no method 'dream'"):
        composed.apply_method("dream", images)


def test_models_in_half_precision_are_composed_in_it(bank: TaskBank, x: torch.Tensor) -> None:
    composed = ComposedModel(network().bfloat16(), bank)
    assert composed.coef.dtype == torch.float32
    set_coefficients(composed, 0.1)
    assert composed(x.bfloat16()).dtype == torch.bfloat16


def test_more_parts_than_entries_are_allowed_with_a_warning(model: nn.Module, bank: TaskBank, x: torch.Tensor) -> None:
    with pytest.warns(UserWarning, match="has 3 entries and is dealt to 4 parts"):
        composed = ComposedModel(model, bank, "partition", partitions=4)
    assert composed(x).shape == (5, 3)


def test_parts_are_numbered_in_the_smallest_type() -> None:
    model = nn.Linear(200, 20)
    for partitions, kind in ((256, torch.uint8), (257, torch.int16)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert ComposedModel(model, bank_of(model), "partition", partitions=partitions).parts_0.dtype == kind


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"granularity": "layer"}, "unknown granularity"),
        ({"granularity": "partition"}, "belongs to granularity='partition'"),
        ({"partitions": 2}, "belongs to granularity='partition'"),
        ({"granularity": "partition", "partitions": 0}, "1 or more"),
        ({"blocks": "biases"}, "unknown choice of blocks"),
        ({"blocks": ["9.weight"]}, "has no block 9.weight"),
        ({"blocks": []}, "no block"),
        ({"storage": torch.int64}, "task vectors are kept as"),
        ({"linearised": True, "buffers": True}, "linearised in its parameters"),
    ],
)
def test_what_cannot_be_composed_so_is_refused(model: nn.Module, bank: TaskBank, options: dict[str, object], words: str) -> None:
    with pytest.raises(InputError, match=words):
        ComposedModel(model, bank, **options)


def test_vectors_of_another_architecture_are_named(model: nn.Module) -> None:
    entries = {name: torch.zeros_like(entry) for name, entry in model.state_dict().items()}
    without = {name: entry for name, entry in entries.items() if name != "0.bias"}
    with pytest.raises(InputError, match=r"missing: 0\.bias"):
        ComposedModel(model, [TaskVector(without)])
    with pytest.raises(InputError, match="unknown: head"):
        ComposedModel(model, [TaskVector({**entries, "head": torch.zeros(2)})])
    with pytest.raises(InputError, match=r"of another shape: 0.bias \(7,\) for \(6,\)"):
        ComposedModel(model, [TaskVector({**entries, "0.bias": torch.zeros(7)})])
    with pytest.raises(InputError, match="at least one task vector"):
        ComposedModel(model, {})


def test_a_linearised_sum_is_not_folded_and_masks_fit_their_blocks(model: nn.Module, bank: TaskBank) -> None:
    with pytest.raises(InputError, match="cannot be folded"):
        ComposedModel(model, bank, linearised=True).fold()
    composed = ComposedModel(model, bank, "partition", partitions=2)
    composed.set_partition("0.weight", torch.ones(6, 4, dtype=torch.int64))
    assert composed.parts_0.eq(1).all()
    with pytest.raises(InputError, match="24 entries in parts 0 to 1"):
        composed.set_partition("0.weight", torch.full((6, 4), 2))
    with pytest.raises(InputError, match="no partition of a block"):
        ComposedModel(model, bank).set_partition("0.weight", torch.zeros(6, 4))


def test_coefficients_learn(model: nn.Module, bank: TaskBank, x: torch.Tensor) -> None:
    composed = ComposedModel(model, bank)
    labels = torch.arange(5) % 3
    optimizer = torch.optim.Adam([composed.coef], lr=0.1)
    losses = []
    for _ in range(40):
        loss = F.cross_entropy(composed(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.7 * losses[0]
