import pytest
import torch
from torch import nn

from ordinate.bench.vision import Straightforward
from ordinate.models.hornet import HorNet


@pytest.mark.parametrize("mixers", [("dw",) * 4, ("dw", "dw", "gf", "gf")])
@pytest.mark.parametrize("side", [32, 40])
def test_the_peer_computes_the_same_function(mixers: tuple[str, ...], side: int) -> None:
    model = HorNet(widths=8, depths=(1, 1, 1, 1), mixers=mixers, image_size=32, num_classes=5, layer_scale=0.5, init_std=None).eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    x = torch.randn(2, 3, side, side)
    with torch.no_grad():
        torch.testing.assert_close(Straightforward(model)(x), model(x), atol=1e-4, rtol=1e-4)
