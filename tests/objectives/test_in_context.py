import pytest
import torch
from torch import nn

from ordinate.ground.errors import InputError
from ordinate.models.in_context_transformer import InContextTransformer
from ordinate.objectives.base import create_objective


def test_it_is_the_mean_squared_error_where_labels_are_asked_for() -> None:
    model = InContextTransformer(token_width=3, hidden=8, layers=1, heads=2, max_length=7)
    objective = create_objective("in-context", model)
    tokens, target = torch.randn(2, 7, 3), torch.randn(2, 4, 1)
    said = model(tokens)
    torch.testing.assert_close(objective(model, {"tokens": tokens, "target": target}), (said[:, ::2] - target).square().mean())
    every = torch.randn(2, 7, 1)
    torch.testing.assert_close(objective(model, {"tokens": tokens, "target": every}), (said - every).square().mean())


def test_what_it_cannot_train_is_one_line() -> None:
    with pytest.raises(InputError, match="not Linear"):
        create_objective("in-context", nn.Linear(1, 1))
    model = InContextTransformer(token_width=3, hidden=8, layers=1, heads=2, max_length=7)
    with pytest.raises(InputError, match="4 targets are asked for at 4 or 7 tokens, not at 6"):
        create_objective("in-context", model)(model, {"tokens": torch.zeros(1, 6, 3), "target": torch.zeros(1, 4, 1)})
