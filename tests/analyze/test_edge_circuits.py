import pytest
import torch

from ordinate.analyze.circuit_evaluation import area
from ordinate.analyze.edge_circuits import edge_faithfulness, edge_grid, kept_edges, random_edge_area, spread_shares
from ordinate.analyze.edge_pruning import EdgeRunner, edge_pruning, edge_thresholds
from ordinate.analyze.head_outputs import HeadedModel
from ordinate.analyze.head_patching import mean_values
from ordinate.data.contrasts import Contrast, Prompts
from ordinate.data.repeated_tokens import repeated_tokens
from ordinate.ground.errors import InputError
from ordinate.models.planted_induction import planted_induction


def planted(pairs: int = 16):
    made = planted_induction(2, layers=2)
    headed = HeadedModel(made.model)
    return headed, repeated_tokens(pairs, seed=2), edge_grid(headed, made.edges)


def test_known_edges_lie_where_they_lead() -> None:
    headed, _, truth = planted()
    first, second = (headed.nodes.index(node) for node in planted_induction(2, layers=2).truth)
    assert truth.shape == (8, 9) and truth.nonzero().tolist() == [[first, second], [second, 8]]
    with pytest.raises(InputError, match=r"there is no head 2\.0"):
        edge_grid(headed, [((0, 0), (2, 0))])


def test_the_best_edges_are_kept_and_with_them_what_the_output_reads() -> None:
    before = EdgeRunner(*planted(2)[:2]).before
    scores = torch.zeros(8, 8)
    scores[1, 6], scores[0, 4], scores[6, 1], scores[2, 3] = 3, 2, 9, 9  # the last two do not lead forward
    kept = kept_edges(before, scores, 2)
    assert kept.nonzero().tolist() == [[0, 4], [0, 8], [1, 6], [1, 8], [4, 8], [6, 8]]
    whole = torch.zeros(8, 9)
    whole[5, 8], whole[1, 6] = 2, 1
    assert kept_edges(before, whole, 1).nonzero().tolist() == [[5, 8]]
    assert kept_edges(before, whole, 2).nonzero().tolist() == [[1, 6], [5, 8]]
    assert not kept_edges(before, scores, 0).any() and torch.equal(kept_edges(before, whole, 24), before)
    with pytest.raises(InputError, match="a score for every edge"):
        kept_edges(before, torch.zeros(3, 3), 1)
    with pytest.raises(InputError, match="there are 16 edges, of which 17"):
        kept_edges(before, scores, 17)


def test_the_circuit_s_edges_alone_are_faithful_and_without_them_nothing_is_left() -> None:
    headed, contrast, truth = planted(30)
    runner = EdgeRunner(headed, contrast)
    with torch.no_grad():
        whole = contrast.accuracy(headed.last_logits(contrast.positives))
    shares, curve = edge_faithfulness(runner, truth, [0, 1, 2, 24])
    assert shares.tolist() == pytest.approx([0, 1 / 24, 2 / 24, 1])
    assert float(curve[0]) < 0.2 and float(curve[2]) > 0.9 and float(curve[3]) == pytest.approx(whole)
    _, without = edge_faithfulness(runner, truth, [0, 2, 24], complete=True)
    assert float(without[0]) == pytest.approx(whole) and float(without[1]) < 0.2 and float(without[2]) == float(curve[0])
    _, nats = edge_faithfulness(runner, truth, [0, 2], accuracy=False)
    assert float(nats[1]) > float(nats[0])
    good, bad = (area(curve, shares) for shares, curve in (edge_faithfulness(runner, sign * truth) for sign in (1, -1)))
    assert good > random_edge_area(runner, output=True, orders=3, points=7) > bad
    # Of the edges between nodes alone one is the circuit's.
    assert float(edge_faithfulness(runner, truth[:, :-1], [1])[1]) > 0.9


def test_means_can_stand_for_edges_that_are_taken_away() -> None:
    """Without any edge, every node reads the means of all others: as if all were ablated, for the output."""
    headed, contrast, _ = planted(20)
    values = mean_values(headed, contrast.positives.followed_by(contrast.negatives))
    from ordinate.analyze.head_patching import gated

    with torch.no_grad(), gated(headed, torch.zeros(headed.shape), values):
        expected = headed.last_logits(contrast.positives)
    runner = EdgeRunner(headed, contrast, values=values)
    torch.testing.assert_close(runner.logits(torch.zeros_like(runner.before)), expected, atol=1e-4, rtol=1e-4)
    uneven = Contrast("c", Prompts.of([[1, 2]]), Prompts.of([[1, 2, 3]]), torch.tensor([[1]]))
    EdgeRunner(headed, uneven, values=values)  # lengths may differ where the negatives are not run


def test_a_node_s_threshold_is_the_largest_of_its_edges() -> None:
    headed, contrast, truth = planted()
    taus = (0.3, 1.0)
    edges = edge_thresholds(headed, contrast, taus=taus)
    assert float(edges[truth > 0].min()) > float(edges[truth == 0].max())
    assert torch.equal(edges.amax(dim=1).reshape(headed.shape), edge_pruning(headed, contrast, taus=taus))


def test_shares_are_spread_from_none_to_all() -> None:
    assert spread_shares(48, 13) == list(range(0, 49, 4)) and spread_shares(3, 9) == [0, 1, 2, 3]
    with pytest.raises(InputError, match="at least 2 points"):
        spread_shares(3, 1)


def test_areas_over_uneven_steps() -> None:
    assert area(torch.tensor([0.0, 1.0, 1.0]), torch.tensor([0.0, 0.5, 1.0])) == pytest.approx(0.75)
    assert area(torch.tensor([0.0, 1.0, 1.0]), torch.tensor([0.0, 0.1, 1.0])) == pytest.approx(0.95)
