import pytest
import torch

from ordinate.analyze.capture import replaced
from ordinate.analyze.edge_pruning import EdgeRunner, edge_pruning, prune_edges
from ordinate.analyze.head_outputs import HeadedModel
from ordinate.analyze.head_patching import gated, values_of
from ordinate.analyze.subnetwork_probing import HardConcrete, subnetwork_probing
from ordinate.data.contrasts import Contrast, Prompts
from ordinate.data.repeated_tokens import repeated_tokens
from ordinate.ground.errors import InputError
from ordinate.models.planted_induction import planted_induction
from tests.analyze.test_head_patching import of_gpt2


@pytest.mark.parametrize("mlp", [False, True])
def test_with_all_edges_the_model_is_whole(mlp: bool) -> None:
    headed, contrast = of_gpt2(mlp)
    runner = EdgeRunner(headed, contrast)
    with torch.no_grad():
        torch.testing.assert_close(runner.logits(runner.before), headed.last_logits(contrast.positives), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("node", [0, 2, 3, 5])
def test_without_the_edges_of_a_node_it_is_as_if_it_were_patched(node: int) -> None:
    """For everybody else: the node reads what it always reads, and nobody reads the node."""
    headed, contrast = of_gpt2(True)
    runner = EdgeRunner(headed, contrast)
    kept = runner.before.clone()
    kept[node] = False
    closed = torch.ones(headed.shape)
    closed[headed.nodes[node]] = 0
    with torch.no_grad(), gated(headed, closed, values_of(headed, contrast.negatives)):
        expected = headed.last_logits(contrast.positives)
    torch.testing.assert_close(runner.logits(kept), expected, atol=1e-5, rtol=1e-4)


def test_one_edge_concerns_its_destination_alone() -> None:
    """Taking away the edge of one head of layer 0 to one of layer 1, by hand: that head alone is run on the shifted input."""
    headed, contrast = of_gpt2(False)
    runner = EdgeRunner(headed, contrast)
    kept = runner.before.clone()
    kept[1, 3 + 2] = False  # L0H1 -> L1H2
    parts = headed.layers[1]
    ours, theirs = values_of(headed, contrast.positives), values_of(headed, contrast.negatives)
    name, part = headed.place((0, 1))
    shift = (theirs[name] - ours[name])[..., part] @ headed.layers[0].weight[1]
    with torch.no_grad():
        with replaced(headed.model, {f"{parts.norm}:input": lambda stream: stream + shift}):
            shifted = values_of(headed, contrast.positives)[f"{parts.out}:input"]
        own = headed.place((1, 2))[1]

        def swap(values: torch.Tensor) -> torch.Tensor:
            changed = values.clone()
            changed[..., own] = shifted[..., own]
            return changed

        with replaced(headed.model, {f"{parts.out}:input": swap}):
            expected = headed.last_logits(contrast.positives)
    torch.testing.assert_close(runner.logits(kept), expected, atol=1e-5, rtol=1e-4)


def test_edges_lead_forward() -> None:
    headed, contrast = of_gpt2(True)
    before = EdgeRunner(headed, contrast).before
    assert before.shape == (8, 9) and bool(before[:, -1].all())
    assert before[0, 3] and not before[3, 0] and not before[0, 1] and before[3, 4] and not before[4, 3]


@pytest.mark.parametrize("divergence", ["kl", "loss"])
def test_a_planted_circuit_is_what_is_left(divergence: str) -> None:
    planted, contrast = planted_induction(2, layers=2), repeated_tokens(16, seed=2)
    headed = HeadedModel(planted.model)
    kept = prune_edges(EdgeRunner(headed, contrast), 0.5, divergence=divergence)
    first, second = (headed.nodes.index(node) for node in planted.truth)
    assert kept[first, second] and kept[second, -1] and int(kept.sum()) <= 4
    scores = edge_pruning(headed, contrast, taus=(0.3, 1.0), divergence=divergence)
    inside = headed.grid(planted.truth) > 0
    assert float(scores[inside].min()) > float(scores[~inside].max())


def test_probing_opens_the_planted_heads_gates_and_closes_the_others() -> None:
    planted, contrast = planted_induction(0, layers=2), repeated_tokens(16)
    headed = HeadedModel(planted.model)
    before = [parameter.clone() for parameter in planted.model.parameters()]
    scores = subnetwork_probing(headed, contrast, steps=40)
    inside = headed.grid(planted.truth) > 0
    assert float(scores[inside].min()) > float(scores[~inside].max())
    assert all(torch.equal(old, new) for old, new in zip(before, planted.model.parameters(), strict=True))
    assert all(parameter.grad is None for parameter in planted.model.parameters())


def test_gates_lie_in_the_unit_interval_with_mass_at_both_ends() -> None:
    gates = HardConcrete((2000,))
    draw = gates()
    assert float(draw.min()) == 0 and float(draw.max()) == 1
    assert float((draw > 0).float().mean()) == pytest.approx(0.9, abs=0.03)
    assert torch.allclose(gates.open_probability(), torch.full((2000,), 0.9))


def test_what_cannot_be_pruned_is_refused() -> None:
    headed, contrast = of_gpt2()
    with pytest.raises(InputError, match="thresholds must be positive"):
        edge_pruning(headed, contrast, taus=())
    with pytest.raises(InputError, match="unknown divergence"):
        prune_edges(EdgeRunner(headed, contrast), 1.0, divergence="l2")
    uneven = Contrast("c", Prompts.of([[1, 2]]), Prompts.of([[1, 2, 3]]), torch.tensor([[1]]))
    for method in (EdgeRunner, subnetwork_probing):
        with pytest.raises(InputError, match="differ in length"):
            method(headed, uneven)
