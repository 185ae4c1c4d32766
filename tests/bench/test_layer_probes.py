import pytest
import torch

from ordinate.analyze.in_context.gaussian import BayesMixture
from ordinate.analyze.layer_probes import Target, probe_layers
from ordinate.bench.base import get_bench
from ordinate.bench.layer_probes import ALPHA, TOKENS, evidence_by_prefixes, probes_one_by_one
from ordinate.data.in_context.representations import RepresentationPrompts
from ordinate.models.in_context_transformer import InContextTransformer
from ordinate.nn.fixed_representation import FixedRepresentation


def test_probes_one_by_one_find_the_same_errors() -> None:
    phi = FixedRepresentation(3, 3, 1)
    source = RepresentationPrompts([phi], 3, 4)
    train, test = (source.sample(60, torch.Generator().manual_seed(seed)) for seed in (0, 1))
    model = InContextTransformer(token_width=4, hidden=8, layers=1, heads=2, max_length=8).eval()
    names = ["stream", "blocks.0"]
    ours = probe_layers(
        model,
        names,
        {"Phi": Target(lambda prompts: phi(prompts.x))},
        [train],
        [test],
        tokens=TOKENS,
        forward=lambda network, prompts: network(prompts.batch()["tokens"]),
        alpha=ALPHA,
    )
    theirs = probes_one_by_one(model, names, train, test, {"Phi": lambda prompts: phi(prompts.x)})
    assert len(theirs) == 2 * (5 + 4)
    for (layer, token, _, place), error in theirs.items():
        row, column = names.index(layer), list(TOKENS).index(token)
        found = ours.error[row, column, 0] if place is None else ours.by_position[row, column, 0, place]
        assert float(found) == pytest.approx(error, rel=1e-3, abs=1e-5), (layer, token, place)


def test_evidence_by_prefixes_is_the_same() -> None:
    phis = [FixedRepresentation(3, 3, 1, seed=seed) for seed in range(2)]
    prompts = RepresentationPrompts(phis, 3, 5).sample(3, torch.Generator().manual_seed(0))
    torch.testing.assert_close(
        BayesMixture(phis, 0.01).log_evidence(prompts.x, prompts.y),
        evidence_by_prefixes(phis, 0.01, prompts.x, prompts.y),
        atol=1e-8,
        rtol=0,
    )


@pytest.mark.parametrize(("name", "size", "contenders"), [("layer-probes", 1, 3), ("prompt-evidence", 2, 2)])
def test_the_benches_time_all_contenders(name: str, size: int, contenders: int) -> None:
    said: list[str] = []
    result = get_bench(name).run([size], "cpu", True, said.append)
    assert len(result.rows) == len(said) == contenders and result.peer in {row.contender for row in result.rows}
    assert all(row.seconds > 0 and row.size == size for row in result.rows)
