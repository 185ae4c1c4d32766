import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.nn.probe_head import ProbeHead


def test_it_starts_small_and_without_bias() -> None:
    head = ProbeHead(500, 40)
    assert 0.0095 < head.linear.weight.std() < 0.0105 and not head.linear.bias.any()


@pytest.mark.parametrize("use_bn", [True, False])
def test_folded_it_is_the_same_map(use_bn: bool) -> None:
    head = ProbeHead(6, 4, use_bn=use_bn)
    for _ in range(3):
        head(torch.randn(50, 6) * 7 + 2)
    torch.nn.init.normal_(head.linear.bias)
    weight, bias = head.eval().folded()
    x = torch.randn(9, 6)
    torch.testing.assert_close(x @ weight.T + bias, head(x), atol=1e-5, rtol=1e-5)


def test_what_is_wrong_is_one_line() -> None:
    with pytest.raises(InputError, match="at least one"):
        ProbeHead(3, 0)
    with pytest.raises(InputError, match=r"\(batch, 3\)"):
        ProbeHead(3, 2)(torch.randn(2, 4))
