import pytest
import torch

from ordinate.analyze.capture import Activations
from ordinate.ground.errors import InputError
from ordinate.models.in_context_transformer import ACTIVATIONS, NORMS, InContextTransformer
from ordinate.models.registry import create_model, load_model, save_model


def tiny(**options: object) -> InContextTransformer:
    torch.manual_seed(0)
    return InContextTransformer(**{"token_width": 3, "hidden": 16, "layers": 2, "heads": 2, "max_length": 12, **options}).eval()


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("narrow", [False, True])
@torch.no_grad()
def test_steps_and_queries_say_what_the_whole_sequence_says(norm: str, narrow: bool) -> None:
    model, tokens = tiny(norm=norm, narrow_heads=narrow), torch.randn(3, 11, 3)
    whole = model(tokens)
    read, context = model.read(tokens[:, :5])
    torch.testing.assert_close(read, whole[:, :5])
    for place in range(5, 11):
        said, context = model.step(tokens[:, place], context)
        torch.testing.assert_close(said, whole[:, place])
    queries = torch.randn(3, 4, 2, 3)
    asked = model.ask(context, queries, [0, 1, 6, 11])
    for prefix, length in enumerate([0, 1, 6, 11]):
        for number in range(2):
            alone = model(torch.cat((tokens[:, :length], queries[:, prefix, number, None]), dim=1))[:, -1]
            torch.testing.assert_close(asked[:, prefix, number], alone)


@pytest.mark.parametrize("norm", NORMS)
@torch.no_grad()
def test_a_token_changes_nothing_before_it(norm: str) -> None:
    model, tokens = tiny(norm=norm), torch.randn(2, 8, 3)
    changed = tokens.clone()
    changed[:, 5] += 1
    before, after = model(tokens), model(changed)
    torch.testing.assert_close(before[:, :5], after[:, :5], atol=1e-6, rtol=0)
    assert (before[:, 5:] != after[:, 5:]).any(dim=2).all()


@torch.no_grad()
def test_lower_and_upper_parts_are_the_whole_and_states_can_be_captured() -> None:
    model, tokens = tiny(), torch.randn(2, 7, 3)
    states = model.hidden_states(tokens)
    assert len(states) == 3
    for depth, state in enumerate(states):
        torch.testing.assert_close(model.lower(tokens, depth), state)
        torch.testing.assert_close(model.upper(state, depth), model(tokens))
    with Activations(model, ["stream", "blocks.0", "blocks.1"]) as seen:
        model(tokens)
        torch.testing.assert_close(torch.stack([seen["stream"], seen["blocks.0"], seen["blocks.1"]]), torch.stack(states))
    torch.testing.assert_close(model.predict(tokens), model(tokens)[:, [0, 2, 4, 6], 0])


def test_attention_weights_are_those_that_the_attention_uses() -> None:
    attention, h = tiny().blocks[0].attention, torch.randn(2, 5, 16)
    weights = attention.weights(h)
    assert (weights.triu(1) == 0).all()
    _, _, v = attention.split(h)
    torch.testing.assert_close(attention.out((weights @ v).transpose(1, 2).flatten(2)), attention(h))


def test_official_heads_are_divided_twice_and_weights_start_by_their_fan_in() -> None:
    model = tiny(norm="official", narrow_heads=True, hidden=64, heads=4)
    assert model.blocks[0].attention.query.weight.shape == (16, 64)
    assert float(model.read_out.bias.detach().abs().max()) <= 1 and float(model.blocks[0].expand.weight.detach().abs().max()) <= 64**-0.5
    assert float(model.positions.table.detach().abs().max()) <= 12**-0.5
    assert float(model.blocks[0].attention.out.weight.detach().abs().max()) > 64**-0.5


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_every_activation_trains(activation: str) -> None:
    model = tiny(activation=activation).train()
    model(torch.randn(2, 5, 3)).square().mean().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.parameters())


def test_it_is_saved_and_read_back(tmp_path: object) -> None:
    model = create_model("in-context-transformer", token_width=3, hidden=8, layers=1, heads=2, max_length=6)
    save_model(model, f"{tmp_path}/model")
    tokens = torch.randn(1, 5, 3)
    torch.testing.assert_close(load_model(f"{tmp_path}/model")(tokens), model(tokens))


def test_what_it_cannot_read_is_one_line() -> None:
    model = tiny()
    with pytest.raises(InputError, match="this network has 12 positions, and the prompt has 13 tokens"):
        model(torch.zeros(1, 13, 3))
    for bad in (torch.zeros(1, 4, 2), torch.zeros(1, 0, 3)):
        with pytest.raises(InputError, match="reads tokens"):
            model.lower(bad)
    _, context = model.read(torch.zeros(1, 12, 3))
    with pytest.raises(InputError, match="12 positions"):
        model.step(torch.zeros(1, 3), context)
    with pytest.raises(InputError, match="12 positions"):
        model.ask(context, torch.zeros(1, 1, 2, 3), [12])
    with pytest.raises(InputError, match="12 tokens"):
        model.ask(context, torch.zeros(1, 1, 2, 3), [13])
    with pytest.raises(InputError, match="2 blocks"):
        model.upper(torch.zeros(1, 2, 16), 3)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"heads": 3}, "hidden=16 cannot be divided among 3 heads"),
        ({"hidden": 24, "heads": 4, "narrow_heads": True}, "multiple of 16"),
        ({"layers": 0}, "at least 1"),
        ({"norm": "post"}, "norm"),
        ({"activation": "gleu"}, "did you mean gelu"),
    ],
)
def test_a_network_that_cannot_be_is_one_line(options: dict[str, object], why: str) -> None:
    with pytest.raises(InputError, match=why):
        tiny(**options)
