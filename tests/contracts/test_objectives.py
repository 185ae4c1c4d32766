"""The contract of an objective, over every registered one: a finite scalar that trains what it is given, moves what it owns, and refuses what it cannot read in one line."""

import copy

import pytest
import torch
from torch import Tensor, nn

from ordinate.data.in_context.linear import LinearPrompts
from ordinate.data.planar import sample
from ordinate.data.sorting import sorting_batch
from ordinate.ground.errors import InputError
from ordinate.models.in_context_transformer import InContextTransformer
from ordinate.models.mlp import MLP
from ordinate.models.pointer_network import PointerNetwork
from ordinate.models.read_process_write import ReadProcessWrite
from ordinate.models.sequence import Sequence
from ordinate.objectives.base import Objective, create_objective, list_objectives

OPTIONS = {
    "classification": [{"matryoshka": [2, 8]}, {"matryoshka": [2, 8], "tied": True}],
    "contrastive": [{"matryoshka": [2, 8]}],
    "stationary": [{"matryoshka": [2, 4]}],
}
CASES = [(name, options) for name in list_objectives() for options in [{}, *OPTIONS.get(name, [])]]


def _images() -> tuple[nn.Module, dict[str, Tensor]]:
    views = {view: torch.randn(6, 1, 4, 4) for view in ("image", "query", "key")}
    return MLP(num_classes=3, image_size=4, hidden=[6], num_features=8), {**views, "label": torch.tensor([0, 1, 2, 0, 1, 2])}


def _points() -> tuple[nn.Module, dict[str, Tensor]]:
    data = sample("hull", (3, 6), 6, 0)
    return PointerNetwork(hidden=8), data.take(torch.arange(6))


def _tokens() -> tuple[nn.Module, dict[str, Tensor]]:
    tokens = torch.arange(60).remainder(7).view(6, 10)
    return Sequence(vocabulary=7, dim=8, depth=1, heads=2, max_length=9), {"input": tokens[:, :-1], "target": tokens[:, 1:]}


def _sets() -> tuple[nn.Module, dict[str, Tensor]]:
    return ReadProcessWrite(in_dim=1, dim=8, steps=1), sorting_batch((2, 4), 6, torch.Generator().manual_seed(0))


def _prompts() -> tuple[nn.Module, dict[str, Tensor]]:
    source = LinearPrompts(2, 5)
    model = InContextTransformer(source.token_width, hidden=8, layers=1, heads=2, max_length=10)
    return model, source.sample(6, torch.Generator().manual_seed(0)).batch()


KINDS = (_images, _points, _tokens, _sets, _prompts)
"""What objectives are tried on, in turn: a model with a batch that has all that an objective of its kind may read."""


def _case(name: str, options: dict[str, object]) -> tuple[nn.Module, dict[str, Tensor], Objective]:
    for kind in KINDS:
        model, batch = kind()
        try:
            objective = create_objective(name, model, **options)
            objective(model, batch)
        except InputError:
            continue
        return model, batch, objective
    raise AssertionError(f"no kind of model and batch here suits the objective {name!r}: add one to KINDS")


@pytest.fixture(params=CASES, ids=lambda case: "-".join([case[0], *case[1]]))
def case(request: pytest.FixtureRequest) -> tuple[nn.Module, dict[str, Tensor], Objective]:
    return _case(*request.param)


def test_the_loss_is_a_finite_scalar(case: tuple[nn.Module, dict[str, Tensor], Objective]) -> None:
    model, batch, objective = case
    loss = objective(model, batch)
    assert loss.ndim == 0 and torch.isfinite(loss) and loss.requires_grad


def test_what_the_loss_reads_of_the_model_and_all_that_the_objective_owns_gets_a_gradient(
    case: tuple[nn.Module, dict[str, Tensor], Objective],
) -> None:
    model, batch, objective = case
    objective(model, batch).backward()
    trained = [parameter for parameter in model.parameters() if parameter.grad is not None]
    assert trained and any(parameter.grad.abs().sum() > 0 for parameter in trained)
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_steps_with_updates_lower_the_loss(case: tuple[nn.Module, dict[str, Tensor], Objective]) -> None:
    model, batch, objective = case
    optimizer = torch.optim.Adam([*model.parameters(), *objective.parameters()], lr=1e-2)
    losses = []
    for _ in range(30):
        optimizer.zero_grad()
        loss = objective(model, batch)
        loss.backward()
        optimizer.step()
        objective.update()
        losses.append(loss.item())
    assert losses[-1] < losses[0]


def test_a_copy_and_a_restored_state_give_the_same_loss(case: tuple[nn.Module, dict[str, Tensor], Objective]) -> None:
    model, batch, objective = case
    twin = copy.deepcopy(objective)
    twin.load_state_dict(objective.state_dict())
    losses = []
    for each in (objective, twin):
        torch.manual_seed(1)
        losses.append(each(model, batch))
    assert torch.equal(*losses)


@pytest.mark.parametrize("name", list_objectives())
def test_what_it_cannot_read_is_one_line(name: str) -> None:
    model, _, objective = _case(name, {})
    with pytest.raises((InputError, KeyError)):
        objective(model, {})
    with pytest.raises(InputError, match="no_such_option"):
        create_objective(name, model, no_such_option=1)


def test_an_unknown_objective_is_one_line() -> None:
    with pytest.raises(InputError, match="did you mean classification"):
        create_objective("clasification", nn.Linear(1, 1))
