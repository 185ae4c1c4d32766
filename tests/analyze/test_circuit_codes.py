import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ordinate.analyze.circuit_codes import (
    Autoencoding,
    edge_scores,
    fit_autoencoders,
    node_scores,
    softmax_over,
    strongest_features,
    vote,
)
from ordinate.bench.circuits import edges_by_a_table
from ordinate.ground.errors import InputError
from ordinate.models.sparse_autoencoder import CircuitSAE, sparse_loss

coded = st.integers(1, 5).flatmap(
    lambda nodes: st.lists(st.lists(st.integers(0, 4), min_size=nodes, max_size=nodes), min_size=2, max_size=10).filter(
        lambda rows: len(rows) % 2 == 0
    )
)


def halves(codes: torch.Tensor) -> torch.Tensor:
    return torch.arange(len(codes)) < len(codes) // 2


@settings(max_examples=40)
@given(coded, st.randoms(use_true_random=False))
def test_scores_do_not_see_the_order_of_examples_nor_the_names_of_codes(rows: list[list[int]], random: object) -> None:
    codes = torch.tensor(rows)
    positive = halves(codes)
    order = torch.tensor(random.sample(range(len(rows)), len(rows)))  # type: ignore[attr-defined]
    names = torch.tensor(random.sample(range(5), 5))  # type: ignore[attr-defined]
    for score in ("count", "normalised", "share", "variation"):
        torch.testing.assert_close(
            node_scores(codes, positive, score=score), node_scores(names[codes[order]], positive[order], score=score)
        )
    torch.testing.assert_close(edge_scores(codes, positive), edge_scores(names[codes[order]], positive[order]))


@settings(max_examples=40)
@given(coded)
def test_edges_by_hashing_are_those_of_the_table(rows: list[list[int]]) -> None:
    codes = torch.tensor(rows)
    ours = edge_scores(codes, halves(codes))
    assert torch.equal(ours, edges_by_a_table(codes, len(codes) // 2, 5)) and torch.equal(ours, ours.T)
    assert torch.equal(ours.diagonal(), torch.zeros(codes.shape[1], dtype=ours.dtype))


def test_scores_by_hand() -> None:
    codes = torch.tensor([[0, 1], [2, 1], [2, 1], [3, 3], [0, 1], [1, 3]])
    positive = halves(codes)
    assert node_scores(codes, positive).tolist() == [1, 0]  # the first head has 2 on positives alone
    assert node_scores(codes, ~positive).tolist() == [2, 1]
    torch.testing.assert_close(node_scores(codes, positive, score="normalised"), torch.tensor([1 / 4, 0], dtype=torch.float64))
    torch.testing.assert_close(node_scores(codes, positive, score="share"), torch.tensor([2 / 3, 0], dtype=torch.float64))
    torch.testing.assert_close(node_scores(codes, positive, score="variation"), torch.tensor([2 / 3, 2 / 3], dtype=torch.float64))
    assert edge_scores(codes, positive)[0, 1] == 1 and edge_scores(codes, positive, normalise=True)[0, 1] == pytest.approx(1 / 5)


def test_classes_that_are_alike_score_nothing_and_unequal_ones_are_refused() -> None:
    half = torch.randint(0, 5, (6, 4))
    codes, positive = torch.cat([half, half[torch.randperm(6)]]), torch.arange(12) < 6
    for score in ("count", "normalised", "share", "variation"):
        assert node_scores(codes, positive, score=score).abs().max() == 0
    assert edge_scores(codes, positive).abs().max() == 0
    for wrong in (torch.arange(12) < 5, torch.ones(12, dtype=torch.bool), torch.zeros(12, dtype=torch.bool)):
        with pytest.raises(InputError, match="as many positive prompts"):
            node_scores(codes, wrong)
        with pytest.raises(InputError, match="as many positive prompts"):
            edge_scores(codes, wrong)


def test_ends_of_strong_edges_vote() -> None:
    edges = torch.zeros(4, 4)
    edges[0, 1] = edges[1, 0] = 3.0
    edges[1, 2] = edges[2, 1] = 1.0
    assert vote(edges, 4).tolist() == [2, 2, 0, 0]
    assert vote(edges, 6).tolist() == [2, 3, 1, 0]  # of two equal pairs half is left for each
    assert float(vote(torch.rand(5, 5)).sum()) == 12.0
    assert vote(torch.ones(3, 3)).unique().numel() == 1
    with pytest.raises(InputError, match="square"):
        vote(torch.zeros(2, 3))


def test_votes_are_the_mean_of_those_of_all_orders_of_equal_edges() -> None:
    edges = torch.randint(0, 3, (5, 5)).double()
    edges = (edges + edges.T).fill_diagonal_(0)
    total, orders = torch.zeros(5, dtype=torch.float64), 4000
    for _ in range(orders):
        best = torch.randperm(25)
        best = best[edges.flatten()[best].argsort(descending=True, stable=True)][:6]
        total += torch.bincount(best // 5, minlength=5) + torch.bincount(best % 5, minlength=5)
    assert float((total / orders - vote(edges, 12)).abs().max()) < 0.1


def test_a_softmax_over_all_nodes_keeps_their_order() -> None:
    scores = torch.randn(3, 4)
    flat = softmax_over(scores)
    assert torch.equal(flat.flatten().argsort(), scores.flatten().argsort()) and float(flat.sum()) == pytest.approx(1)
    torch.testing.assert_close(softmax_over(scores, "layers").sum(dim=0), torch.ones(4))


def test_autoencoders_are_trained_as_each_would_be_alone() -> None:
    outputs = torch.randn(12, 3, 5)
    how = Autoencoding(features=7, examples=4, steps=30)
    many, alone = fit_autoencoders(outputs, how, count=3, seed=1), fit_autoencoders(outputs, how, seed=1)
    torch.testing.assert_close(many[0].encoder, alone[0].encoder, atol=1e-5, rtol=1e-4)
    assert not torch.allclose(many[0].encoder, many[1].encoder, atol=0.1)
    for sae in many:
        assert torch.allclose(sae.decoder.norm(dim=0), torch.ones(7), atol=1e-5)
    longer = fit_autoencoders(outputs, Autoencoding(features=7, examples=12, steps=200), seed=1)[0]
    shorter = fit_autoencoders(outputs, Autoencoding(features=7, examples=12, steps=1), seed=1)[0]
    with torch.no_grad():
        assert float(sparse_loss(outputs, *longer(outputs), 0.02)) < 0.9 * float(sparse_loss(outputs, *shorter(outputs), 0.02))


def test_codes_are_the_strongest_features_and_the_dead_are_counted() -> None:
    sae = CircuitSAE(3, 4)
    outputs = torch.randn(5, 2, 3)
    codes, dead = strongest_features(sae, outputs)
    assert torch.equal(codes, sae(outputs)[0].argmax(dim=-1)) and dead == float((sae(outputs)[0].amax(dim=-1) == 0).double().mean())
    with torch.no_grad():
        sae.threshold.fill_(-100)
    assert strongest_features(sae, outputs) == (pytest.approx(torch.zeros(5, 2)), 1.0)
    assert bool((strongest_features(sae, outputs, dead="own")[0] == 4).all())


def test_training_that_cannot_be_is_refused() -> None:
    outputs = torch.randn(6, 2, 3)
    for examples in (1, 7):
        with pytest.raises(InputError, match="at least 2 and at most all 6"):
            fit_autoencoders(outputs, Autoencoding(examples=examples))
    with pytest.raises(InputError, match="at least one autoencoder"):
        fit_autoencoders(outputs, Autoencoding(examples=2), count=0)
    outputs[0, 0, 0] = torch.nan
    with pytest.raises(InputError, match="finite"):
        fit_autoencoders(outputs, Autoencoding(examples=2))
