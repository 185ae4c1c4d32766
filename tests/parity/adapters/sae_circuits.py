"""The autoencoder, its gradients, training, codes and scores against the official code. Its weights are recorded as they are after a step of Adam, and ours brought back to norm 1: they are compared so."""

import torch
from torch import Tensor
from torch.nn import functional as F

from ordinate.analyze.circuit_codes import edge_scores, node_scores, softmax_over, strongest_features, vote
from ordinate.analyze.circuit_evaluation import evaluate_circuit
from ordinate.models.registry import load_official
from ordinate.models.sparse_autoencoder import CircuitSAE, sparse_loss
from tests.parity.case import Case

FORWARD, TRAINED = 1e-5, 1e-3  # what the recorded case states in words
OURS = {"tied_bias": "centre", "encoder.1.weight": "encoder", "encoder.1.bias": "threshold", "decoder.0.weight": "decoder"}


def check(case: Case) -> None:
    assert case.name == "small" and str(case.meta["tolerance"]).startswith("forward/grad 1e-5; trained weights 1e-3"), case.name
    sae = load_official("circuit-autoencoder", case.state(), **case.meta["constructor"])
    assert isinstance(sae, CircuitSAE)
    x = case.input("x").clone().requires_grad_()
    features, decoded = sae(x)
    loss = sparse_loss(x, features, decoded, case.meta["lambda_"])
    loss.backward()
    close = {"atol": FORWARD, "rtol": FORWARD}
    case.close(features, "learned", **close)
    case.close(decoded, "decoded", **close)
    case.close(loss.reshape(1), "loss", **close)
    for official, ours in OURS.items():
        gradient = sae.get_parameter(ours).grad
        assert gradient is not None
        case.close(gradient, f"grad/{official}", **close)
    assert x.grad is not None
    case.close(x.grad, "grad_x", **close)
    _check_training(case)
    _check_scores(case)


def _check_training(case: Case) -> None:
    sae = load_official("circuit-autoencoder", case.state(), **case.meta["constructor"])
    assert isinstance(sae, CircuitSAE)
    rows = case.input("x")[case.input("train_perm")[:6]]
    optimizer = torch.optim.Adam(sae.parameters(), lr=case.meta["adam_lr"])
    for _ in range(case.meta["epochs"]):
        optimizer.zero_grad()
        sparse_loss(rows, *sae(rows), case.meta["lambda_"]).backward()
        optimizer.step()
        sae.normalise_()
    for official, ours in OURS.items():
        recorded = case.output(f"trained/{official}")
        expected = F.normalize(recorded, dim=1) if recorded.ndim == 2 else recorded
        torch.testing.assert_close(sae.get_parameter(ours).detach(), expected, atol=TRAINED * float(expected.abs().max()), rtol=TRAINED)


def _check_scores(case: Case) -> None:
    trained = {key: value for key, value in case.outputs().items() if key.startswith("trained/")}
    sae = load_official("circuit-autoencoder", {key.removeprefix("trained/"): value for key, value in trained.items()})
    assert isinstance(sae, CircuitSAE)
    codes, _ = strongest_features(sae, case.input("x"))
    assert torch.equal(codes, case.output("codes"))
    positive = torch.arange(len(codes)) < case.meta["n_pos"]
    shape = (case.meta["n_layers"], case.meta["n_heads"])
    truth = case.output("ground_truth").float()
    for norm, score in enumerate(("count", "normalised")):
        ours = node_scores(codes, positive, score=score).reshape(shape)
        case.close(ours, f"node/unique_pos_norm{norm}", atol=1e-12)
        case.close(node_scores(codes, ~positive, score=score).reshape(shape), f"node/unique_neg_norm{norm}", atol=1e-12)
        for layer, over in enumerate(("nodes", "layers")):
            soft = softmax_over(ours, over)
            case.close(soft.flatten(), f"node/y_pred_norm{norm}_layer{layer}", atol=1e-6)
            assert abs(evaluate_circuit(soft, truth).auc - float(case.output(f"node/auc_norm{norm}_layer{layer}"))) < 1e-6
        edges = edge_scores(codes, positive, normalise=bool(norm))
        case.close(edges, f"edge/unique_norm{norm}", atol=1e-12)
        _check_votes(case, edges, norm)


def _check_votes(case: Case, edges: Tensor, norm: int) -> None:
    """The official votes are those of one order of equal edges, that of an unstable sort: between the votes of the edges above the last that votes, and those with all that equal it."""
    ends = case.meta["k_edge"]
    assert ends % 2 == 0
    logs = case.output(f"edge/y_pred_norm{norm}").log()
    recorded = (logs + (ends - logs.sum()) / len(logs)).round()
    assert int(recorded.sum()) == ends
    least = edges.flatten().sort(descending=True).values[ends // 2 - 1]
    low, high = ((part.sum(dim=0) + part.sum(dim=1)).double() for part in (edges > least, edges >= least))
    assert bool((low <= recorded).all()) and bool((recorded <= high).all())
    ours = vote(edges, ends)
    assert bool((low <= ours).all()) and bool((ours <= high).all()) and abs(float(ours.sum()) - ends) < 1e-9
    shape = (case.meta["n_layers"], case.meta["n_heads"])
    auc = evaluate_circuit(recorded.reshape(shape), case.output("ground_truth").float()).auc
    assert abs(auc - float(case.output(f"edge/auc_norm{norm}"))) < 1e-6
