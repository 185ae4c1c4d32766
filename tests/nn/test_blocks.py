import pytest
import torch
from torch import nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.models.sequence import Sequence
from ordinate.nn.activation_modules import GATES, activation_module, list_activation_modules
from ordinate.nn.blocks import FeedForward, MixerBlock, token_norm
from ordinate.nn.mixers import create_mixer


def x(width: int = 8) -> torch.Tensor:
    return torch.randn(2, 5, width, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", list_activation_modules())
def test_every_activation_works_in_a_feed_forward_layer_and_carries_a_gradient(name: str) -> None:
    layer, given = FeedForward(8, activation=name), x().requires_grad_()
    y = layer(given)
    assert y.shape == given.shape
    y.square().sum().backward()
    assert given.grad is not None
    assert given.grad.isfinite().all()
    assert given.grad.abs().sum() > 0


@pytest.mark.parametrize("name", GATES)
def test_a_gated_layer_by_hand(name: str) -> None:
    layer = FeedForward(8, ratio=2, activation=name, bias=False)
    function = {"glu": torch.sigmoid, "swiglu": F.silu, "geglu": F.gelu, "reglu": F.relu}[name]
    wanted = (function(x() @ layer.gate.weight.T) * (x() @ layer.expand.weight.T)) @ layer.contract.weight.T
    assert torch.allclose(layer(x()), wanted, atol=1e-6)
    assert not [key for key in layer.state_dict() if "bias" in key]


def test_post_normed_blocks_are_the_first_transformers() -> None:
    mixer = create_mixer("softmax", 8, heads=2, bias=True)
    block = MixerBlock(mixer, ratio=2, activation="relu", pre_norm=False).eval()
    theirs = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True).eval()
    renamed = {
        "self_attn.in_proj_weight": "mixer.heads.qkv.weight",
        "self_attn.in_proj_bias": "mixer.heads.qkv.bias",
        "self_attn.out_proj.weight": "mixer.heads.out.weight",
        "self_attn.out_proj.bias": "mixer.heads.out.bias",
        **{f"linear1.{part}": f"feed_forward.expand.{part}" for part in ("weight", "bias")},
        **{f"linear2.{part}": f"feed_forward.contract.{part}" for part in ("weight", "bias")},
    }
    block.load_state_dict({renamed.get(name, name): tensor for name, tensor in theirs.state_dict().items()})
    assert torch.allclose(block(x()), theirs(x()), atol=1e-6)


def test_root_mean_square_norms_leave_the_mean() -> None:
    y = token_norm("rms", 8, 0.0)(x() + 3)
    assert torch.allclose(y.square().mean(-1), torch.ones(2, 5), atol=1e-5)
    assert y.mean() > 0.5


def test_modules_that_learn_are_one_a_layer() -> None:
    first, second = (FeedForward(8, activation=nn.PReLU()) for _ in range(2))
    assert first.activation.weight is not second.activation.weight
    assert activation_module("gelu-tanh") is not activation_module("gelu-tanh")


def test_unknown_names_are_one_line() -> None:
    with pytest.raises(InputError, match="activation"):
        FeedForward(8, activation="swoosh")
    with pytest.raises(InputError, match="normalisation"):
        token_norm("batch", 8)
    with pytest.raises(InputError, match="does not turn"):
        Sequence(vocabulary=5, dim=8, depth=1, heads=2, mixer="softmax", position="rotary")
    with pytest.raises(InputError, match="takes no arguments"):
        Sequence(vocabulary=5, dim=8, depth=1, heads=2, position_arguments={"base": 3.0})
