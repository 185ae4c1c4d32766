import pytest
import torch

from ordinate.adapt.paste import EMBEDDINGS, Lower, Pasted, copied_inputs, one_layer_alone, paste
from ordinate.ground.errors import InputError
from ordinate.models.in_context_transformer import InContextTransformer
from ordinate.objectives.in_context import InContextRegression


def network() -> InContextTransformer:
    return InContextTransformer(token_width=5, hidden=16, layers=3, heads=2, max_length=12).eval()


@pytest.mark.parametrize("start", [0, 1, 2])
def test_a_network_pasted_on_its_own_lower_part_is_the_network(start: int) -> None:
    model, tokens = network(), torch.randn(4, 9, 5)
    pasted = Pasted(model, start, Lower(model, start), 5)
    torch.testing.assert_close(pasted(tokens), model(tokens), atol=1e-6, rtol=0)


@pytest.mark.parametrize("embedding", EMBEDDINGS)
def test_only_the_embedding_is_trained_and_the_network_is_left_alone(embedding: str) -> None:
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    pasted = paste(model, 1, 4, embedding)
    optimizer = torch.optim.Adam([parameter for parameter in pasted.parameters() if parameter.requires_grad], lr=0.1)
    upper = {name: value.clone() for name, value in pasted.upper.state_dict().items()}
    batch = {"tokens": torch.randn(3, 7, 4), "target": torch.randn(3, 4, 1)}
    losses = []
    for _ in range(10):
        optimizer.zero_grad()
        loss = InContextRegression()(pasted, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(torch.equal(value, upper[name]) for name, value in pasted.upper.state_dict().items())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in pasted.upper.parameters())
    assert all(parameter.grad is not None for parameter in pasted.embedding.parameters())
    assert all(parameter.requires_grad for parameter in model.parameters())


def test_inputs_are_copied_beside_their_labels() -> None:
    tokens = torch.tensor([[[1.0, 2.0, 0.0], [0.0, 0.0, 7.0], [3.0, 4.0, 0.0], [0.0, 0.0, 8.0], [5.0, 6.0, 0.0]]])
    copied = copied_inputs(tokens)
    assert copied.tolist() == [[[1, 2, 0], [1, 2, 7], [3, 4, 0], [3, 4, 8], [5, 6, 0]]]
    assert torch.equal(copied_inputs(tokens[:, :4]), copied[:, :4])


def test_the_linear_embedding_mixes_nothing_and_the_layer_does() -> None:
    model, tokens = network(), torch.randn(1, 7, 4)
    changed = tokens.clone()
    changed[:, 0] += 1.0
    for kind, touched in (("linear", {0}), ("linear_copy", {0, 1}), ("one_layer", set(range(7)))):
        embedding = paste(model, 1, 4, kind).embedding
        moved = (embedding(tokens) - embedding(changed)).abs().amax(dim=2)[0]
        assert {place for place in range(7) if moved[place] > 1e-6} == touched


def test_pastes_and_the_layer_alone_see_no_later_label() -> None:
    model, tokens = network(), torch.randn(2, 9, 4)
    changed = tokens.clone()
    changed[:, 5] += 1.0
    for net in (*(paste(model, 1, 4, kind) for kind in EMBEDDINGS), one_layer_alone(model, 4)):
        torch.testing.assert_close(net(tokens)[:, :5], net(changed)[:, :5])
        assert (net(tokens)[:, 5:] - net(changed)[:, 5:]).abs().max() > 1e-6


def test_what_cannot_be_pasted_is_refused() -> None:
    model = network()
    for start in (-1, 3):
        with pytest.raises(InputError, match=f"blocks 0 to 2, not at {start}"):
            paste(model, start, 4)
    with pytest.raises(InputError, match="unknown embedding"):
        paste(model, 1, 4, "glue")
    with pytest.raises(InputError, match="12 positions, and the prompt has 13"):
        paste(model, 1, 4)(torch.zeros(1, 13, 4))
