import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.ground.errors import InputError
from ordinate.nn.mixers import create_mixer
from ordinate.nn.rotary import Rotary, create_rotary, interleaved_to_half


def vectors(length: int = 7, width: int = 8, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, length, width, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@given(st.floats(-50, 50), st.sampled_from(["half", "interleaved"]), st.floats(2, 1e6))
def test_scores_depend_on_offsets_alone_and_norms_on_nothing(shift: float, layout: str, base: float) -> None:
    rotary, q, k = Rotary(8, base=base, layout=layout), vectors(), vectors(seed=1)
    places = torch.arange(7, dtype=torch.float64)
    here, there = (rotary.turns(at, 7, torch.float64) for at in (places, places + shift))
    score = rotary(q, here) @ rotary(k, here, keys=True).mT
    moved = rotary(q, there) @ rotary(k, there, keys=True).mT
    assert torch.allclose(score, moved, atol=1e-9)
    assert torch.allclose(rotary(q, here).norm(dim=-1), q.norm(dim=-1), atol=1e-12)


def test_by_hand_and_the_first_position_turns_nothing() -> None:
    rotary, x = Rotary(4, base=100.0), torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64).expand(1, 1, 2, 4)
    turned = rotary(x, rotary.turns(torch.tensor([0, 3]), 2, torch.float64))[0, 0]
    assert torch.equal(turned[0], x[0, 0, 0])
    fast, slow = torch.tensor(3.0, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64)
    wanted = [
        1 * fast.cos() - 3 * fast.sin(),
        2 * slow.cos() - 4 * slow.sin(),
        3 * fast.cos() + 1 * fast.sin(),
        4 * slow.cos() + 2 * slow.sin(),
    ]
    assert torch.allclose(turned[1], torch.stack(wanted), atol=1e-7)


def test_layouts_are_one_map_after_a_permutation() -> None:
    q, order = vectors(), interleaved_to_half(8)
    turns = Rotary(8).turns(torch.arange(7), 7, torch.float64)
    side_by_side = Rotary(8, layout="interleaved")(q, turns)
    assert torch.allclose(side_by_side[..., order], Rotary(8)(q[..., order], turns), atol=1e-12)


def test_half_precision_keeps_far_positions_apart() -> None:
    rotary = Rotary(8)
    x = torch.ones(1, 1, 2, 8, dtype=torch.bfloat16)
    far = rotary(x, rotary.turns(torch.tensor([100_001, 100_002]), 2, x.dtype))
    exact = rotary(x.double(), rotary.turns(torch.tensor([100_001, 100_002]), 2, torch.float64))
    assert (far.double() - exact).abs().max() < 0.02


def test_rows_may_have_places_of_their_own() -> None:
    rotary, q = Rotary(8), vectors()
    places = torch.stack([torch.arange(7), torch.arange(7) + 2])
    turned = rotary(q, rotary.turns(places, 9))
    for row in range(2):
        assert torch.equal(turned[row : row + 1], rotary(q[row : row + 1], rotary.turns(places[row], 9)))


def test_shared_keys_are_heads_that_were_repeated() -> None:
    few = create_mixer("softmax-rotary", 12, heads=6, kv_heads=2, causal=True).double()
    many = create_mixer("softmax-rotary", 12, heads=6, causal=True).double()
    with torch.no_grad():
        q, k, v = few.heads.qkv.weight.split([12, 4, 4])
        repeated = [part.unflatten(0, (2, 2)).repeat_interleave(3, dim=0).flatten(0, 1) for part in (k, v)]
        many.heads.qkv.weight.copy_(torch.cat([q, *repeated]))
        qb, kb, vb = few.heads.qkv.bias.split([12, 4, 4])
        many.heads.qkv.bias.copy_(torch.cat([qb, *[part.unflatten(0, (2, 2)).repeat_interleave(3, dim=0).flatten() for part in (kb, vb)]]))
    many.heads.out.load_state_dict(few.heads.out.state_dict())
    x = torch.randn(2, 9, 12, dtype=torch.float64)
    assert torch.allclose(few(x), many(x), atol=1e-12)


def test_bad_positions_are_one_line() -> None:
    for arguments, said in (
        ({"head_dim": 7}, "even"),
        ({"head_dim": 8, "base": 1.0}, "base"),
        ({"head_dim": 8, "layout": "thirds"}, "layout"),
    ):
        with pytest.raises(InputError, match=said):
            Rotary(**arguments)
    with pytest.raises(InputError, match="rule"):
        create_rotary(8, "sideways")
    with pytest.raises(InputError, match="pace"):
        create_rotary(8, pace=3)
    with pytest.raises(InputError, match="width"):
        Rotary(8)(vectors(width=6), Rotary(8).turns(torch.arange(7), 7))
    with pytest.raises(InputError, match="positions"):
        Rotary(8)(vectors(), Rotary(8).turns(torch.arange(6), 7))
    with pytest.raises(InputError, match="positions"):
        Rotary(8).turns(torch.zeros(1, 2, 3), 3)
    with pytest.raises(InputError, match="share"):
        create_mixer("softmax-rotary", 12, heads=4, kv_heads=3)
    with pytest.raises(InputError, match="divided"):
        create_mixer("softmax-rotary", 12, heads=5)
