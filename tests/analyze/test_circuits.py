import pytest
import torch

from ordinate.analyze.circuit_codes import Autoencoding
from ordinate.analyze.circuit_evaluation import evaluate_circuit
from ordinate.analyze.circuits import circuit_of_outputs, find_circuit, match_scale, mean_differences, output_norms
from ordinate.analyze.head_outputs import HeadedModel
from ordinate.data.contrasts import Prompts
from ordinate.data.repeated_tokens import repeated_tokens
from ordinate.ground.errors import InputError
from ordinate.models.planted_induction import planted_induction
from tests.analyze.transformers_models import gpt2

SMALL = Autoencoding(features=20, examples=6, steps=20)


def test_a_planted_circuit_is_ranked_above_chance() -> None:
    planted, contrast = planted_induction(0), repeated_tokens(60)
    found = find_circuit(planted.model, contrast.positives, contrast.negatives, how=Autoencoding(steps=150), autoencoders=3)
    headed = HeadedModel(planted.model)
    assert found.each.shape == (3, 3, 4) and found.codes.shape == (3, 120, 12) and found.edges.shape == (12, 12)
    assert evaluate_circuit(found.scores, headed.grid(planted.truth)).auc > 0.6
    assert [name for name, _ in found.ranking()] != found.labels and len(found.ranking()) == 12
    values = [value for *_, value in found.strongest_edges(5)]
    assert values == sorted(values, reverse=True)


def test_a_gpt2_of_random_weights_runs_end_to_end() -> None:
    generator = torch.Generator().manual_seed(0)
    positives, negatives = (Prompts.of(torch.randint(0, 11, (8, 7), generator=generator)) for _ in range(2))
    found = find_circuit(gpt2(), positives, negatives, how=SMALL, autoencoders=2, mlp=True)
    assert found.scores.shape == (2, 4) and "L1MLP" in found.labels and torch.isfinite(found.scores).all()
    document = found.to_json()
    assert document["labels"] == found.labels and set(found.seconds) == {"outputs", "autoencoders", "scores"}


def test_the_same_seed_gives_the_same_ranking() -> None:
    outputs, labels = torch.randn(12, 4, 6), ["a", "b", "c", "d"]
    one, same, other = (circuit_of_outputs(outputs, (2, 2), labels, how=SMALL, autoencoders=2, seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one.codes, same.codes) and not torch.equal(one.codes, other.codes)
    assert torch.equal(
        circuit_of_outputs(outputs, (2, 2), labels, how=SMALL, autoencoders=1).spread, torch.zeros(2, 2, dtype=torch.float64)
    )


def test_lengths_that_differ_between_the_classes_are_told() -> None:
    planted = planted_induction(0)
    short, long = Prompts.of(torch.randint(0, 32, (6, 5))), Prompts.of(torch.randint(0, 32, (6, 15)))
    with pytest.warns(UserWarning, match=r"5\.0 tokens on average and negative ones 15\.0"):
        found = find_circuit(planted.model, short, long, how=SMALL, autoencoders=1)
    assert "tells lengths apart" in found.remarks[0]


def test_features_that_are_never_active_are_told() -> None:
    outputs = torch.randn(12, 4, 6)
    found = circuit_of_outputs(outputs, (2, 2), list("abcd"), how=Autoencoding(features=3, examples=6, steps=300, l1=5.0), autoencoders=1)
    assert found.dead > 0.5 and "lower l1" in found.remarks[0]


def test_controls_see_sizes_and_means() -> None:
    outputs = torch.randn(40, 3, 50)
    outputs[:, 1] *= 5
    outputs[:20, 2] += 1
    assert int(output_norms(outputs).argmax()) == 1 and int(mean_differences(outputs, 20).argmax()) == 2
    torch.testing.assert_close(output_norms(match_scale(outputs)), output_norms(outputs).square().mean().sqrt().expand(3))


def test_what_does_not_fit_together_is_refused() -> None:
    model = planted_induction(0).model
    with pytest.raises(InputError, match="as many positive prompts as negative ones, not 2 and 3"):
        find_circuit(model, Prompts.of([[1], [2]]), Prompts.of([[1], [2], [3]]))
    with pytest.raises(InputError, match="25 tokens, and the model takes at most 24"):
        find_circuit(model, Prompts.of([[1] * 25]), Prompts.of([[1] * 25]))
    with pytest.raises(InputError, match="two classes of equal size"):
        circuit_of_outputs(torch.randn(5, 4, 3), (2, 2), list("abcd"))
