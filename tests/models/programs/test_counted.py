import pytest
import torch

from ordinate.analyze.edge_circuits import edge_grid
from ordinate.analyze.edge_pruning import EdgeRunner, prune_edges
from ordinate.analyze.head_outputs import HeadedModel
from ordinate.analyze.head_patching import ablation_costs, mean_values, values_of
from ordinate.data.contrasts import Prompts
from ordinate.data.program_prompts import PROGRAMS, ProgramTokens, program_prompts
from ordinate.ground.errors import InputError
from ordinate.models.programs.counted import LOUD, compiled_circuit

RESULTS = {"reverse": lambda numbers: numbers[::-1], "sort": sorted}


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("tokens", [ProgramTokens(), ProgramTokens(numbers=5, longest=5), ProgramTokens(numbers=3, longest=1)])
def test_logits_are_exactly_those_of_the_program_at_every_length_and_place(program: str, tokens: ProgramTokens) -> None:
    made = compiled_circuit(program, seed=1, tokens=tokens)
    prompts, answers = [], []
    for length in range(1, tokens.longest + 1):
        numbers = torch.randperm(tokens.numbers)[:length].tolist()
        for place in range(length):
            prompts.append([tokens.begin, *numbers, tokens.place(place)])
            answers.append(RESULTS[program](numbers)[place])
    with torch.no_grad():
        logits = HeadedModel(made.model).last_logits(Prompts.of(prompts))
    wanted = torch.zeros(len(prompts), tokens.vocabulary)
    wanted[range(len(prompts)), answers] = LOUD
    assert torch.equal(logits, wanted)


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_circuit_is_what_there_is_to_it_by_nodes(program: str, seed: int) -> None:
    made = compiled_circuit(program, seed)
    headed, contrast = HeadedModel(made.model, mlp=True), program_prompts(program, 40, seed=seed)
    with torch.no_grad():
        assert contrast.accuracy(headed.last_logits(contrast.positives)) == 1
        assert float(headed.last_logits(contrast.negatives).abs().max()) == 0  # without the marker it says nothing
    inside = headed.grid(made.truth) > 0
    assert int(inside.sum()) == 3 and list(made.roles) == ["count", "place", "fetch"]
    for values in (values_of(headed, contrast.negatives), mean_values(headed, contrast.positives.followed_by(contrast.negatives))):
        costs = ablation_costs(headed, contrast, values, accuracy=True)
        assert float(costs[inside].min()) > 0.5 and float(costs[~inside].abs().max()) == 0


@pytest.mark.parametrize("program", PROGRAMS)
def test_the_circuit_is_what_there_is_to_it_by_edges(program: str) -> None:
    made = compiled_circuit(program, seed=2)
    headed, contrast = HeadedModel(made.model, mlp=True), program_prompts(program, 20, seed=2)
    runner, truth = EdgeRunner(headed, contrast), edge_grid(headed, made.edges) > 0
    with torch.no_grad():
        whole = headed.last_logits(contrast.positives)
    assert torch.equal(runner.logits(truth), whole)
    for edge in truth.nonzero().tolist():
        without = runner.before.clone()
        without[tuple(edge)] = False
        assert float(runner.logits(without).abs().max()) < 1e-3  # nothing is left
    assert torch.equal(prune_edges(runner, 0.5), truth)


def test_places_differ_by_seed_and_the_answers_do_not_hear_the_noise() -> None:
    assert len({compiled_circuit("sort", seed).truth for seed in range(8)}) > 3
    quiet, loud = (compiled_circuit("sort", 3, noise=noise) for noise in (0.0, 30.0))
    tokens = program_prompts("sort", 10, shortest=8).positives.tokens
    with torch.no_grad():
        assert torch.equal(quiet.model(tokens)[:, -1], loud.model(tokens)[:, -1])
        assert not torch.equal(quiet.model.forward_features(tokens), loud.model.forward_features(tokens))


def test_what_cannot_be_compiled_is_refused() -> None:
    with pytest.raises(InputError, match="unknown program"):
        compiled_circuit("shuffle")
    with pytest.raises(InputError, match="2 layers"):
        compiled_circuit("sort", layers=1)
