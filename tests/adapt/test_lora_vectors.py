from copy import deepcopy

import pytest
import torch
from torch import nn

from ordinate.adapt.composed_model import ComposedModel
from ordinate.adapt.lora_vectors import Factors, LowRankComposedModel, LowRankVector, attach_low_rank
from ordinate.ground.errors import InputError
from tests.adapt.small import network, set_coefficients


def _vector(model: nn.Module, rank: int, seed: int) -> LowRankVector:
    tuned = attach_low_rank(model, rank, alpha=3.0, seed=seed)
    torch.manual_seed(seed)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if name.endswith(".up"):
                parameter.normal_()
    return LowRankVector.of(tuned)


def test_attached_factors_change_nothing_at_first_and_are_all_that_is_trained() -> None:
    model, x = network(), torch.randn(5, 4)
    tuned = attach_low_rank(model, 2)
    assert torch.equal(tuned(x), model(x))
    trained = [name for name, parameter in tuned.named_parameters() if parameter.requires_grad]
    assert len(trained) == 4 and all(name.endswith((".up", ".down")) for name in trained)
    assert set(LowRankVector.of(tuned)) == {"0.weight", "3.weight"}


def test_a_low_rank_vector_is_the_task_vector_of_what_was_tuned() -> None:
    model, x = network(), torch.randn(5, 4)
    tuned = attach_low_rank(model, 2, alpha=3.0)
    with torch.no_grad():
        for name, parameter in tuned.named_parameters():
            if name.endswith(".up"):
                parameter.normal_()
    vector = LowRankVector.of(tuned)
    assert vector["0.weight"].scale == 1.5 and vector.numel() == 2 * (4 + 6) + 2 * (6 + 3)
    composed = ComposedModel(model, {"it": vector.dense(model.state_dict())}, "scalar")
    set_coefficients(composed, 1.0)
    torch.testing.assert_close(composed(x), tuned(x), atol=1e-5, rtol=1e-5)
    assert not vector.dense(model.state_dict())["0.bias"].any()


def test_composed_lazily_it_is_the_dense_composition_with_its_gradients_and_its_fold() -> None:
    model, x = network(), torch.randn(2, 5, 4)
    vectors = {"a": _vector(model, 1, 1), "b": _vector(model, 2, 2), "c": LowRankVector({"3.weight": _vector(model, 2, 3)["3.weight"]})}
    lazy = LowRankComposedModel(model, vectors)
    assert torch.equal(lazy(x), model(x))
    dense = ComposedModel(model, {name: vector.dense(model.state_dict()) for name, vector in vectors.items()}, blocks=list(lazy.names))
    assert lazy.names == dense.names and lazy.coef.shape == dense.coef.shape
    values = torch.randn_like(dense.coef)
    set_coefficients(lazy, values)
    set_coefficients(dense, values)
    torch.testing.assert_close(lazy(x), dense(x), atol=1e-5, rtol=1e-5)
    for composed in (lazy, dense):
        composed(x).square().sum().backward()
    torch.testing.assert_close(lazy.coef.grad, dense.coef.grad, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(lazy.fold()(x), lazy(x), atol=1e-5, rtol=1e-5)
    twin = deepcopy(lazy)
    set_coefficients(lazy, 0.0)
    torch.testing.assert_close(twin(x), dense(x), atol=1e-5, rtol=1e-5)
    assert not any(module._forward_hooks for module in lazy.modules())


def test_attention_is_adapted_and_composed_densely() -> None:
    model = nn.MultiheadAttention(8, 2, batch_first=True)
    x = torch.randn(2, 3, 8)
    vector = _vector(model, 2, 0)
    assert set(vector) == {"in_proj_weight", "out_proj.weight"}
    composed = ComposedModel(model, {"it": vector.dense(model.state_dict())})
    assert composed(x, x, x)[0].shape == x.shape
    with pytest.raises(InputError, match="in_proj_weight is not the matrix of a linear layer"):
        LowRankComposedModel(model, {"it": vector})


def test_adapters_of_peft_are_read() -> None:
    peft = pytest.importorskip("peft", reason="peft is not installed (the extra lora)")
    model, x = network(), torch.randn(5, 4)
    wrapped = peft.get_peft_model(deepcopy(model), peft.LoraConfig(r=2, lora_alpha=5, target_modules=["0", "3"], init_lora_weights=False))
    vector = LowRankVector.from_peft(wrapped)
    composed = LowRankComposedModel(model, {"it": vector})
    set_coefficients(composed, 1.0)
    torch.testing.assert_close(composed(x), wrapped(x), atol=1e-5, rtol=1e-5)
    with pytest.raises(InputError, match="at least one adapted matrix"):
        LowRankVector.from_peft(wrapped, "other")


def test_bad_factors_and_layers_are_one_line() -> None:
    model = network()
    with pytest.raises(InputError, match="rank 1 or more"):
        attach_low_rank(model, 0)
    with pytest.raises(InputError, match=r"no matrix 1\.weight"):
        attach_low_rank(model, 1, targets=["1.weight"])
    with pytest.raises(InputError, match="no matrix to adapt"):
        attach_low_rank(nn.LayerNorm(3), 1)
    with pytest.raises(InputError, match="must be finite"):
        Factors(torch.full((2, 1), torch.nan), torch.ones(1, 2), 1.0)
    with pytest.raises(InputError, match="different ranks"):
        LowRankVector({"w": Factors(torch.ones(2, 1), torch.ones(2, 2), 1.0)})
    vector = LowRankVector({"0.weight": Factors(torch.ones(2, 1), torch.ones(1, 2), 1.0)})
    with pytest.raises(InputError, match=r"another architecture: 0\.weight"):
        vector.dense(model.state_dict())
    with pytest.raises(InputError, match="another shape"):
        LowRankComposedModel(model, {"it": vector})
    with pytest.raises(InputError, match="at least one task vector"):
        LowRankComposedModel(model, {})
    with pytest.raises(InputError, match="not the matrix of a linear layer"):
        LowRankComposedModel(model, {"it": LowRankVector({"9.weight": Factors(torch.ones(2, 1), torch.ones(1, 2), 1.0)})})
