"""The in-context transformer and the exact predictors against the official code."""

import re

import torch

from ordinate.analyze.in_context.predictors import Correlation, LeastSquares, LinearPredictor, Neighbours, OnePass, Predictor, Ridge
from ordinate.data.in_context.prompts import interleave
from ordinate.models.in_context_transformer import InContextTransformer
from ordinate.models.registry import load_official
from tests.parity.case import Case


def check(case: Case) -> None:
    constructor = case.meta["constructor"]
    assert case.meta["mode"].startswith("eval"), "a case recorded in training mode"
    model = load_official(
        "in-context-transformer", case.state(), norm_first=constructor["norm_first"], activation=constructor["activation"]
    ).eval()
    assert isinstance(model, InContextTransformer)
    assert model.max_length == constructor["max_len"] and model.blocks[0].attention.heads == constructor["num_heads"]
    forward, gradient, exact = _tolerances(case)
    seqs, x, y = case.input("seqs"), case.input("xs"), case.input("ys")[..., 0]
    torch.testing.assert_close(interleave(x.float(), y.float()), seqs)
    tokens = seqs[:, :-1]
    every = model(tokens)
    predicted, errors = every[:, ::2], _errors(every, seqs, constructor["loss_on_x_steps"])
    case.close(every, "seq_pred", atol=forward)
    case.close(predicted[..., :1], "y_pred", atol=forward)
    case.close((predicted[..., 0] - y.float()).square(), "y_errors", atol=forward, rtol=forward)
    case.close(errors, "errors", atol=forward, rtol=forward)
    states = model.hidden_states(tokens)
    for name in case.outputs():
        kind, _, rest = name.partition("/")
        if kind == "hidden":
            case.close(states[int(rest)], name, atol=forward)
        elif kind == "attn":
            block = model.blocks[int(rest)]
            case.close(block.attention.weights(block.seen(states[int(rest)])), name, atol=forward)
        elif kind == "algo":
            case.close(_predictor(rest)(x, y)[:, 1:, None], name, atol=exact, rtol=exact)
        elif kind == "algo_w":
            linear = _predictor(rest)
            assert isinstance(linear, LinearPredictor)
            case.close(linear.weights(x, y)[:, 1:].view_as(case.output(name)), name, atol=exact, rtol=exact)
        elif kind != "grad":
            assert name in ("seq_pred", "y_pred", "y_errors", "errors"), f"an output that the adapter does not know: {name}"
    _check_gradients(case, model, errors, gradient)


def _tolerances(case: Case) -> tuple[float, float, float]:
    found = re.fullmatch(r"forward (\S+), gradients (\S+), predictors (\S+).*", case.meta["tolerance"])
    assert found, f"tolerances of another form: {case.meta['tolerance']}"
    return float(found[1]), float(found[2]), float(found[3])


def _errors(every: torch.Tensor, seqs: torch.Tensor, on_inputs: bool) -> torch.Tensor:
    if on_inputs:
        return (every - seqs[:, 1:]).square().sum(dim=-1)
    return (every[:, ::2, 0] - seqs[:, 1::2, 0]).square()


def _predictor(name: str) -> Predictor:
    """The predictor of a recorded name: ``ridge0.1``, ``knn3_distance``, ``sgd0.02_full``."""
    if found := re.fullmatch(r"ridge(.+)", name):
        return Ridge(float(found[1]))
    if found := re.fullmatch(r"knn(\d+)_(uniform|distance)", name):
        return Neighbours(int(found[1]), {"uniform": "uniform", "distance": "inverse"}[found[2]])
    if found := re.fullmatch(r"sgd(.+)_(w1|full)", name):
        return OnePass(float(found[1]), growing=found[2] == "full", clip=20.0)
    known: dict[str, Predictor] = {"ols": LeastSquares(), "lstsq_identity_cov": Correlation()}
    assert name in known, f"an algorithm that the adapter does not know: {name}"
    return known[name]


def _check_gradients(case: Case, model: InContextTransformer, errors: torch.Tensor, tolerance: float) -> None:
    """Gradients are recorded under the official names: they are told apart by translating a state of gradients back."""
    errors.mean().backward()
    ours = {name: parameter.grad for name, parameter in model.named_parameters()}
    for name, recorded in case.outputs().items():
        if not name.startswith("grad/"):
            continue
        key = name.removeprefix("grad/")
        block = re.match(r"Transformer_0\.Encoder1DBlock_(\d+)\.(\S+)", key)
        if block:
            path = (
                block[2].replace("SelfAttention_0.", "attention.").replace("MLP_0.Dense_0", "expand").replace("MLP_0.Dense_1", "contract")
            )
            found = ours[f"blocks.{block[1]}.{path.replace('kernel', 'weight')}"]
        else:
            plain = {
                "Dense_0.kernel": "read_out.weight",
                "Dense_0.bias": "read_out.bias",
                "Transformer_0.Dense_0.kernel": "read_in.weight",
                "Transformer_0.Dense_0.bias": "read_in.bias",
                "Transformer_0.PositionEmbeddings_0.pos_embedding": "positions.table",
            }
            found = ours[plain[key]]
        assert found is not None, f"no gradient for {name}"
        case.close((found.T if key.endswith("kernel") else found).reshape(recorded.shape), name, atol=tolerance, rtol=tolerance)
