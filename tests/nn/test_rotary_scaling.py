import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.ground.errors import InputError
from ordinate.models.sequence import Sequence
from ordinate.nn.rotary import Rotary, create_rotary
from ordinate.nn.rotary_scaling import DynamicNtkRotary, NtkRotary, RandomRotary, ScaledRotary, XPos, cumulated

RULES = {
    "linear": {"factor": 4.0},
    "power": {"power": 0.5},
    "truncated": {"truncate_at": 16},
    "scaled": {"factor": 2.0, "power": 0.1, "truncate_at": 16},
    "ntk": {"factor": 4.0},
    "dynamic_ntk": {"train_length": 4},
    "xpos": {"scale_base": 30.0},
    "randomised": {"factor": 2.0},
}


def vectors(seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, 9, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def score(rotary: Rotary, places: torch.Tensor) -> torch.Tensor:
    turns = rotary.turns(places, 9, torch.float64)
    return rotary(vectors(), turns) @ rotary(vectors(1), turns, keys=True).mT


@pytest.mark.parametrize("name", RULES)
@given(shift=st.floats(-40, 40))
def test_scores_depend_on_offsets_alone(name: str, shift: float) -> None:
    rotary = create_rotary(8, name, **RULES[name]).eval()
    places = torch.arange(9, dtype=torch.float64)
    assert torch.allclose(score(rotary, places), score(rotary, places + shift), atol=1e-9)


@pytest.mark.parametrize("name", RULES)
@pytest.mark.parametrize("mixer", ["softmax-rotary", "softmax-rotary-shifted"])
def test_steps_give_what_the_whole_sequence_gives(name: str, mixer: str) -> None:
    depth = 1 if name == "dynamic_ntk" else 2  # what deeper layers cached was computed at the length of its time
    model = Sequence(
        vocabulary=7, dim=16, depth=depth, heads=2, mixer=mixer, position="rotary", position_arguments={"scaling": name, **RULES[name]}
    )
    model = model.double().eval()
    tokens = torch.randint(0, 7, (2, 9), generator=torch.Generator().manual_seed(0))
    real = torch.ones(2, 9, dtype=torch.bool)
    real[1, :3] = False
    _, state = model.prefill(tokens[:, :5], padding_mask=real[:, :5])
    for place in range(5, 9):
        logits, state = model.step(tokens[:, place], state)
        assert torch.allclose(logits, model(tokens[:, : place + 1], padding_mask=real[:, : place + 1])[:, -1], atol=1e-9)


@given(st.floats(0.2, 16))
def test_linear_scaling_is_plain_at_places_further_apart(factor: float) -> None:
    places = torch.arange(9, dtype=torch.float64)
    scaled = ScaledRotary(8, factor=factor).turns(factor * places, 9, torch.float64)
    plain = Rotary(8).turns(places, 9, torch.float64)
    assert torch.allclose(scaled.cos, plain.cos, atol=1e-5)
    assert torch.equal(ScaledRotary(8).frequencies(9), Rotary(8).frequencies(9))


def test_the_bands_of_truncation() -> None:
    rotary, plain = ScaledRotary(32, truncate_at=48), Rotary(32).frequencies(48)
    cycle = 2 * math.pi / 48
    found = rotary.frequencies(48)
    assert torch.equal(found[plain >= cycle], plain[plain >= cycle])
    between = (plain < cycle) & (plain >= cycle / 8)
    assert between.any()
    assert torch.allclose(found[between], torch.tensor(cycle / 16))
    assert (found[plain < cycle / 8] == 0).all()
    turns = rotary.turns(torch.arange(48), 48)
    assert (turns.cos[..., found == 0] == 1).all()
    assert (turns.sin[..., found == 0] == 0).all()


def test_the_power_basis_leaves_the_fastest_pair() -> None:
    found, plain = ScaledRotary(16, power=0.5).frequencies(1), Rotary(16).frequencies(1)
    assert found[0] == plain[0]
    assert found[-1] == pytest.approx(float(plain[-1]) * (2 / 16) ** 0.5)


def test_the_ntk_rules() -> None:
    assert NtkRotary(8, factor=3.0).frequencies(1)[0] == 1
    assert NtkRotary(8, factor=3.0).frequencies(1)[-1] == pytest.approx(float(Rotary(8).frequencies(1)[-1]) / 3, rel=1e-5)
    dynamic = DynamicNtkRotary(8, train_length=10)
    assert torch.equal(dynamic.frequencies(10), Rotary(8).frequencies(10))
    assert torch.allclose(dynamic.frequencies(20), Rotary(8, base=10000 * 2 ** (8 / 6)).frequencies(20))
    assert torch.equal(dynamic.frequencies(5), Rotary(8).frequencies(5)), "a long prompt changes nothing for a later short one"


def test_xpos_is_plain_with_a_decay_of_the_offset_in_every_pair() -> None:
    rotary, plain = XPos(2, scale_base=7.0), Rotary(2, layout="interleaved")
    q = torch.randn(1, 1, 9, 2, dtype=torch.float64)
    turns, plain_turns = (rule.turns(torch.arange(9), 9, torch.float64) for rule in (rotary, plain))
    decayed = rotary(q, turns) @ rotary(q, turns, keys=True).mT
    offset = torch.arange(9)[:, None] - torch.arange(9)
    zeta = 0.4 * 2 / (1.4 * 2)
    assert torch.allclose(decayed, plain(q, plain_turns) @ plain(q, plain_turns).mT * zeta ** (offset / 7.0), atol=1e-9)
    for _ in range(100):
        rotary.shrink(by=1.0, least=3.0)
    assert float(rotary.scale_base) == 3.0
    assert "scale_base" in rotary.state_dict()


def test_random_places_ascend_and_end_in_time_and_only_in_training() -> None:
    rotary = RandomRotary(8).train()
    places = rotary.places(50, 30)
    assert (places.diff(dim=1) > 0).all()
    assert (places[:, -1] <= 30 + 1e-4).all()
    assert (places[:, -1] > 29.9).any()
    assert not torch.equal(places[0], places[1])
    assert torch.equal(rotary.eval().places(2, 30), torch.arange(30))
    short = torch.full((1, 4), 0.25)
    assert torch.allclose(cumulated(short), torch.tensor([[0.5, 1.0, 1.5, 2.0]])), "places that end early are left"
    chosen = RandomRotary(8, mode="sorted", longest=40).train().places(20, 30)
    assert (chosen.diff(dim=1) >= 1).all()
    assert int(chosen.max()) < 40


def test_bad_rules_are_one_line() -> None:
    for name, arguments, said in (
        ("linear", {}, "factor"),
        ("linear", {"factor": 0.0}, "positive"),
        ("power", {"power": -1.0}, "power"),
        ("truncated", {"truncate_at": 0}, "truncate_at"),
        ("truncated", {"truncate_at": 8, "band": (2.0, 1.0)}, "band"),
        ("dynamic_ntk", {}, "train_length"),
        ("dynamic_ntk", {"train_length": 0}, "train_length"),
        ("ntk", {"factor": -1.0}, "factor"),
        ("xpos", {"scale_base": 0.0}, "scale_base"),
        ("randomised", {"mode": "drunk"}, "mode"),
        ("randomised", {"mode": "sorted"}, "longest"),
        ("yarn", {}, "linear"),
    ):
        with pytest.raises(InputError, match=said):
            create_rotary(8, name, **arguments)
    with pytest.raises(InputError, match="4 dimensions"):
        create_rotary(2, "ntk", factor=2.0)
    with pytest.raises(InputError, match="longest"):
        RandomRotary(8, mode="sorted", longest=4).train().places(1, 5)
