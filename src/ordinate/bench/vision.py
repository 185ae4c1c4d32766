"""HorNet's inference against a straightforward reading of the same network, and against other networks of as many multiply-adds.

Contenders are `hornet-tiny` in both flavours as it stands and folded (`HorNet.fold`); the same weights run by code that follows the formulas, written here: maps channels first, normalisation by hand,
permutations around the MLP, a product for every scale, and the spectrum resized at every call, as in the code that people use; and, at the multiply-adds of `hornet-tiny`, the network with a depthwise
convolution and GELU in place of the gated convolution (like ConvNeXt), and a vision transformer. Filters and positions are those of 224 pixels, as in published weights, whatever the size of the images.

On a CPU everything runs eagerly in float32. On a GPU everything is compiled and runs in bfloat16.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.bench.base import Bench, BenchResult, Timing
from ordinate.experiment.measure import measure_time
from ordinate.models.hornet import HorNet, HorNetBlock
from ordinate.models.registry import create_model
from ordinate.nn.global_filter import GlobalLocalFilter
from ordinate.nn.gnconv import GnConv
from ordinate.nn.multiply_adds import count_multiply_adds, count_parameters, on_meta

__all__ = ["BENCHES", "Straightforward"]

SIDE = 224


def _norm(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    mean = x.mean(1, keepdim=True)
    spread = (x - mean).pow(2).mean(1, keepdim=True)
    return norm.weight[:, None, None] * ((x - mean) / torch.sqrt(spread + norm.eps)) + norm.bias[:, None, None]


def _filter(layer: GlobalLocalFilter, x: Tensor) -> Tensor:
    near, far = _norm(x, layer.pre_norm).chunk(2, dim=1)
    near = layer.local(near)
    waves = torch.fft.rfft2(far.float(), norm="ortho")
    weight = layer.spectrum.float()
    if weight.shape[1:3] != waves.shape[2:]:
        weight = F.interpolate(weight.permute(3, 0, 1, 2), size=waves.shape[2:], mode="bilinear", align_corners=True).permute(1, 2, 3, 0)
    far = torch.fft.irfft2(waves * torch.view_as_complex(weight.contiguous()), s=x.shape[2:], norm="ortho").to(near.dtype)
    return _norm(torch.cat((near[:, :, None], far[:, :, None]), dim=2).reshape(x.shape), layer.post_norm)


def _gated(layer: GnConv, x: Tensor) -> Tensor:
    product, features = layer.proj_in(x).split((layer.widths[0], sum(layer.widths)), dim=1)
    mixed = (_filter(layer.mixer, features) if isinstance(layer.mixer, GlobalLocalFilter) else layer.mixer(features)) * layer.scale
    factors = mixed.split(layer.widths, dim=1)
    product = product * factors[0]
    for widen, factor in zip(layer.pointwise, factors[1:], strict=True):
        product = widen(product) * factor
    return layer.proj_out(product)


def _block(block: HorNetBlock, x: Tensor) -> Tensor:
    assert isinstance(block.spatial, GnConv) and block.gamma1 is not None
    x = x + block.gamma1[:, None, None] * _gated(block.spatial, _norm(x, block.norm1))
    y = F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],), block.norm2.weight, block.norm2.bias, block.norm2.eps)
    y = block.gamma2 * block.contract(F.gelu(block.expand(y)))
    return x + y.permute(0, 3, 1, 2)


class Straightforward(nn.Module):
    """The peer: the weights of a `HorNet`, run channels first and operation by operation as the formulas stand."""

    def __init__(self, network: HorNet) -> None:
        """
        Args:
            network: with gated convolutions and layer scale; its weights are shared.
        """
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Images (B, C, H, W) to logits."""
        network: Any = self.network  # torch types what is reached through its containers as modules and tensors alike
        x = _norm(network.stem.proj(x), network.stem.norm)
        for index, stage in enumerate(network.stages):
            if index:
                downsample = network.downsamples[index - 1]
                x = downsample.proj(_norm(x, downsample.norm))
            for block in stage:
                x = _block(block, x)
        return network.head(network.norm(x.mean((-2, -1))))


def _cost(make: Callable[[], nn.Module]) -> int:
    return count_multiply_adds(on_meta(make), torch.empty(1, 3, SIDE, SIDE, device="meta"))


def _make_contenders() -> dict[str, nn.Module]:
    plain, filtering = create_model("hornet-tiny"), create_model("hornet-tiny-gf")
    assert isinstance(plain, HorNet) and isinstance(filtering, HorNet)
    budget = _cost(partial(create_model, "hornet-tiny"))
    depthwise = partial(create_model, "hornet-tiny", spatial="depthwise")
    width = min(range(64, 129, 4), key=lambda widths: abs(_cost(partial(depthwise, widths=widths)) - budget))
    return {
        "hornet": plain,
        "hornet, folded": plain.fold(),
        "hornet, straightforward": Straightforward(plain),
        "hornet-gf": filtering,
        "hornet-gf, folded": filtering.fold(),
        "hornet-gf, straightforward": Straightforward(filtering),
        "depthwise + GELU": depthwise(widths=width),
        "vit": create_model("vit-small", dim=360),
    }


def _run(sizes: Sequence[int] | None, device: str, quick: bool, watch: Callable[[str], Any]) -> BenchResult:
    torch.manual_seed(0)
    on_gpu = torch.device(device).type == "cuda"
    batch = 128 if on_gpu else (2 if quick else 8)
    rows: list[Timing] = []
    contenders: dict[str, Any] = {}
    for name, network in _make_contenders().items():
        network = network.to(device, torch.bfloat16 if on_gpu else torch.float32).eval()
        contenders[name] = torch.compile(network, dynamic=False) if on_gpu else network
    for side in sizes or ((96,) if quick else BENCHES["vision"].sizes):
        images = torch.randn(batch, 3, side, side, device=device, dtype=torch.bfloat16 if on_gpu else torch.float32)
        for name, network in contenders.items():
            watch(f"{name}, {side} pixels")
            with torch.no_grad():
                seconds = measure_time(partial(network, images), repeats=3 if quick else 7, device=device) / batch
                multiply_adds = count_multiply_adds(getattr(network, "_orig_mod", network), images[:1])
            extra: dict[str, float | str] = {
                "images a second": round(1 / seconds, 1),
                "multiply-adds": f"{multiply_adds / 1e9:.2f} G",
                "parameters": f"{count_parameters(network) / 1e6:.1f} M",
            }
            rows.append(Timing(name, side, seconds, extra=extra))
    return BenchResult(rows, peer="hornet", size_name="pixels a side", remarks=[f"seconds are for one image of a batch of {batch}"])


BENCHES = {
    "vision": Bench(
        "HorNet's inference against the formulas as they stand, a depthwise network and a ViT of like cost", _run, (96, 160, 224)
    )
}
