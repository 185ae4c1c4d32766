import math

import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.models.sequence import Sequence
from ordinate.objectives.next_token import NextToken, token_nats


class Fixed(torch.nn.Module):
    """Logits that do not depend on the input."""

    causal = True

    def __init__(self, logits: list[float]) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits))

    def forward(self, tokens, *, padding_mask=None):
        return self.logits.expand(*tokens.shape, -1)


def test_it_is_the_mean_cross_entropy_in_nats_and_padding_is_not_counted() -> None:
    model = Fixed([0.0, math.log(3.0)])
    target = torch.tensor([[1, 1, 0, 1]])
    batch = {"input": torch.zeros(1, 4, dtype=torch.int64), "target": target}
    assert NextToken()(model, batch).item() == pytest.approx((3 * math.log(4 / 3) + math.log(4)) / 4)
    real = torch.tensor([[True, True, False, False]])
    assert NextToken()(model, {**batch, "padding_mask": real}).item() == pytest.approx(math.log(4 / 3))
    total, count = token_nats(model, {**batch, "target": torch.full((1, 4), -100)})
    assert (total.item(), count.item()) == (0.0, 0)
    assert NextToken()(model, {**batch, "target": torch.full((1, 4), -100)}).isfinite()


def test_a_model_that_sees_the_answers_is_refused() -> None:
    with pytest.raises(InputError, match="would read its answers"):
        NextToken.for_model(Sequence(vocabulary=5, dim=8, depth=1, heads=2, causal=False))
    with pytest.raises(InputError, match="input and target"):
        NextToken()(Fixed([0.0, 1.0]), {"image": torch.zeros(1)})
