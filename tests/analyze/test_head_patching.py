import pytest
import torch

from ordinate.analyze.head_outputs import HeadedModel
from ordinate.analyze.head_patching import (
    ablation_costs,
    activation_patching,
    attribution_patching,
    gated,
    head_importance,
    mean_values,
    values_of,
)
from ordinate.data.contrasts import Contrast, Prompts
from ordinate.data.repeated_tokens import repeated_tokens
from ordinate.ground.errors import InputError
from ordinate.models.planted_induction import planted_induction
from tests.analyze.transformers_models import gpt2


def of_gpt2(mlp: bool = True) -> tuple[HeadedModel, Contrast]:
    generator = torch.Generator().manual_seed(1)
    first, second = (Prompts.of(torch.randint(0, 11, (4, 6), generator=generator)) for _ in range(2))
    return HeadedModel(gpt2(), mlp=mlp), Contrast(
        "c", first, second, torch.tensor([[1], [2], [3], [4]]), torch.tensor([[5], [6], [7], [8]])
    )


def test_open_gates_change_nothing_and_closed_ones_put_the_values_in_place() -> None:
    headed, contrast = of_gpt2()
    values = values_of(headed, contrast.negatives)
    with torch.no_grad():
        whole = headed(contrast.positives)
        with gated(headed, torch.ones(headed.shape), values):
            assert torch.equal(headed(contrast.positives), whole)
        with gated(headed, torch.zeros(headed.shape), values):
            # All nodes have the negative's values: what is left of the positive are its embeddings.
            seen = values_of(headed, contrast.positives)
            assert all(torch.equal(seen[name], values[name]) for name in values)
        assert torch.equal(headed(contrast.positives), whole)
    with pytest.raises(InputError, match="a gate for every node"):
        gated(headed, torch.ones(1, 1), values).__enter__()


def test_patching_finds_both_planted_heads() -> None:
    planted, contrast = planted_induction(1), repeated_tokens(40, seed=1)
    headed = HeadedModel(planted.model)
    inside = headed.grid(planted.truth) > 0
    for scores in (activation_patching(headed, contrast), attribution_patching(headed, contrast), head_importance(headed, contrast)):
        assert float(scores[inside].min()) > float(scores[~inside].max())
    assert torch.allclose(head_importance(headed, contrast).norm(dim=1), torch.ones(3))


def test_the_first_order_estimate_is_that_of_small_differences() -> None:
    """Where the negative is nearly the positive, patching is its gradient times the difference."""
    headed, contrast = of_gpt2(mlp=False)
    headed.model.double()
    values, other = values_of(headed, contrast.positives), values_of(headed, contrast.negatives)
    near = {name: values[name] + 1e-3 * (other[name] - values[name]) for name in values}
    costs = 1e3 * ablation_costs(headed, contrast, near).abs()
    torch.testing.assert_close(attribution_patching(headed, contrast), costs, rtol=0.05, atol=1e-2 * float(costs.max()))


def test_frozen_weights_have_gradients_by_nodes_too() -> None:
    headed, contrast = of_gpt2()
    expected = attribution_patching(headed, contrast)
    headed.model.requires_grad_(False)
    torch.testing.assert_close(attribution_patching(headed, contrast), expected)


def test_means_are_over_real_tokens() -> None:
    headed, _ = of_gpt2()
    rows = [[1, 2], [3, 4, 5, 6]]
    together = mean_values(headed, Prompts.of(rows))
    parts = [values_of(headed, Prompts.of([row])) for row in rows]
    for name, mean in together.items():
        torch.testing.assert_close(mean, torch.cat([part[name][0] for part in parts]).mean(dim=0), atol=1e-5, rtol=1e-4)


def test_pairs_of_other_lengths_cannot_be_patched() -> None:
    headed, _ = of_gpt2()
    contrast = Contrast("c", Prompts.of([[1, 2]]), Prompts.of([[1, 2, 3]]), torch.tensor([[1]]))
    for method in (activation_patching, attribution_patching):
        with pytest.raises(InputError, match="differ in length from their negatives"):
            method(headed, contrast)
