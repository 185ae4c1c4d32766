import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.models.clip_vision import CLIPVision
from ordinate.models.registry import load_official

SIZE = {"dim": 128, "depth": 2, "heads": 2, "num_features": 6, "patch": 4, "image_size": 8, "in_chans": 3}


def _plain(state: dict[str, Tensor], x: Tensor, heads: int) -> Tensor:
    """The network written out on an official state."""
    tokens = F.conv2d(x, state["conv1.weight"], stride=4).flatten(2).transpose(1, 2)
    tokens = torch.cat([state["class_embedding"].expand(len(x), 1, -1), tokens], 1) + state["positional_embedding"]

    def norm(h: Tensor, name: str) -> Tensor:
        return F.layer_norm(h, h.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"])

    tokens = norm(tokens, "ln_pre")
    for number in range(2):
        block = f"transformer.resblocks.{number}"
        q, k, v = F.linear(norm(tokens, f"{block}.ln_1"), state[f"{block}.attn.in_proj_weight"], state[f"{block}.attn.in_proj_bias"]).chunk(
            3, -1
        )
        q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (q, k, v))
        mixed = ((q @ k.mT / q.shape[-1] ** 0.5).softmax(-1) @ v).transpose(1, 2).flatten(2)
        tokens = tokens + F.linear(mixed, state[f"{block}.attn.out_proj.weight"], state[f"{block}.attn.out_proj.bias"])
        inner = F.linear(norm(tokens, f"{block}.ln_2"), state[f"{block}.mlp.c_fc.weight"], state[f"{block}.mlp.c_fc.bias"])
        tokens = tokens + F.linear(
            inner * torch.sigmoid(1.702 * inner), state[f"{block}.mlp.c_proj.weight"], state[f"{block}.mlp.c_proj.bias"]
        )
    return norm(tokens[:, 0], "ln_post") @ state["proj"]


def _official(prefix: str) -> dict[str, Tensor]:
    state = {f"{prefix}{name}": torch.randn_like(entry) / 5 for name, entry in CLIPVision(**SIZE).state_dict().items()}
    leftovers = {
        "token_embedding.weight": torch.ones(3, 2),
        "logit_scale": torch.tensor(4.6),
        "ln_final.weight": torch.ones(2),
        "text_projection": torch.ones(2, 2),
    }
    return state | {prefix.removesuffix("visual.") + name: entry for name, entry in leftovers.items()} if prefix else state


@pytest.mark.parametrize("prefix", ["model.visual.", "visual.", ""])
def test_an_official_state_is_read_and_computes_what_is_written_out(prefix: str) -> None:
    state = _official(prefix)
    model = load_official("clip-vision", state).eval()
    assert isinstance(model, CLIPVision) and model.arguments["dim"] == 128 and model.arguments["heads"] == 2
    x = torch.randn(3, 3, 8, 8)
    plain = _plain({name.removeprefix(prefix): entry for name, entry in state.items()}, x, 2)
    torch.testing.assert_close(model(x), plain, atol=1e-4, rtol=1e-4)


def test_what_is_missing_or_unknown_is_named() -> None:
    state = _official("model.visual.")
    with pytest.raises(InputError, match=r"missing: ln_post\.bias"):
        load_official("clip-vision", {name: entry for name, entry in state.items() if name != "model.visual.ln_post.bias"})
    with pytest.raises(InputError, match=r"unexpected: adapter\.weight"):
        load_official("clip-vision", {**state, "model.adapter.weight": torch.ones(2)})
    with pytest.raises(InputError, match="another model"):
        load_official("clip-vision", {"fc.weight": torch.ones(2, 2)})


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="whole patches"):
        CLIPVision(**{**SIZE, "image_size": 9})
    with pytest.raises(InputError, match="must divide the width"):
        CLIPVision(**{**SIZE, "heads": 3})
    with pytest.raises(InputError, match="reads images of 8x8 pixels, not 12x12"):
        CLIPVision(**SIZE)(torch.zeros(1, 3, 12, 12))
