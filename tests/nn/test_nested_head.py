from inspect import unwrap

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ordinate.ground.errors import InputError
from ordinate.nn.nested_head import (
    FixedFeatureHead,
    MatryoshkaHead,
    check_dims,
    halving_dims,
    official_head,
    official_head_state,
    tied_logits,
)

nestings = st.lists(st.integers(1, 40), min_size=1, max_size=6, unique=True).map(sorted)


def test_the_papers_sizes() -> None:
    assert halving_dims(2048) == [8, 16, 32, 64, 128, 256, 512, 1024, 2048]
    assert halving_dims(768) == [12, 24, 48, 96, 192, 384, 768]
    assert halving_dims(64, 1) == [1, 2, 4, 8, 16, 32, 64]


@given(st.integers(1, 5000), st.integers(1, 64))
def test_halved_sizes_are_a_nesting(dim: int, smallest: int) -> None:
    if smallest > dim:
        with pytest.raises(InputError, match="smallest size"):
            halving_dims(dim, smallest)
        return
    sizes = halving_dims(dim, smallest)
    assert check_dims(sizes, dim) == tuple(sizes)
    assert sizes[0] >= smallest > sizes[0] // 2


@pytest.mark.parametrize(
    ("dims", "width", "message"),
    [
        ([], None, "none were given"),
        ([0, 4], None, "positive"),
        ([-2], None, "positive"),
        ([2.0, 4.0], None, "positive whole numbers"),
        ([4, 4, 8], None, "without repeats"),
        ([8, 4], None, "ascend"),
        ([4, 8], 16, "the embedding's own width 16"),
    ],
)
def test_what_is_no_nesting_is_refused(dims: list[int], width: int | None, message: str) -> None:
    with pytest.raises(InputError, match=message):
        unwrap(check_dims)(dims, width)  # as a caller without a type checker


@given(nestings, st.integers(1, 5), st.booleans(), st.sampled_from([(3,), (2, 3), ()]))
@settings(max_examples=40)
def test_tied_logits_are_those_of_naive_slices(dims: list[int], classes: int, bias: bool, batch: tuple[int, ...]) -> None:
    head = MatryoshkaHead(dims, classes, tied=True, bias=bias)
    z = torch.randn(*batch, dims[-1])
    weight, offset = head.classifiers[0].weight, head.classifiers[0].bias
    logits = head(z)
    assert len(logits) == len(dims)
    for size, found in zip(dims, logits, strict=True):
        torch.testing.assert_close(found, F.linear(z[..., :size], weight[:, :size], offset), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(found, head.at(z, size), atol=1e-5, rtol=1e-5)
    assert head.stacked(z).shape == (len(dims), *batch, classes)


@given(nestings, st.integers(1, 5), st.booleans())
@settings(max_examples=25)
def test_separate_logits_read_their_own_prefix_and_weights(dims: list[int], classes: int, bias: bool) -> None:
    head = MatryoshkaHead(dims, classes, bias=bias)
    z = torch.randn(4, dims[-1])
    for number, (size, found) in enumerate(zip(dims, head(z), strict=True)):
        own = head.classifiers[number]
        assert own.weight.shape == (classes, size) and (own.bias is not None) == bias
        assert torch.equal(found, F.linear(z[:, :size], own.weight, own.bias))
        assert torch.equal(found, head.at(z[:, :size], size))


@pytest.mark.parametrize("tied", [False, True])
def test_at_the_full_size_a_head_is_a_linear_layer(tied: bool) -> None:
    head, z = MatryoshkaHead([2, 4, 8], 3, tied=tied), torch.randn(5, 8)
    torch.testing.assert_close(head(z)[-1], F.linear(z, head.classifiers[-1].weight, head.classifiers[-1].bias), atol=1e-6, rtol=1e-6)


def test_a_head_starts_as_linear_layers_of_its_sizes_do() -> None:
    torch.manual_seed(3)
    head = MatryoshkaHead([2, 8], 3)
    torch.manual_seed(3)
    for size, own in zip([2, 8], head.classifiers, strict=True):
        assert torch.equal(own.weight, nn.Linear(size, 3).weight)


def test_the_tied_head_holds_half_the_weights() -> None:
    dims = halving_dims(512)
    separate, tied = (sum(p.numel() for p in MatryoshkaHead(dims, 10, tied=tied, bias=False).parameters()) for tied in (False, True))
    assert tied == 5120 and separate == 10 * sum(dims)


@pytest.mark.parametrize("tied", [False, True])
def test_a_feature_hears_only_the_sizes_that_hold_it(tied: bool) -> None:
    dims = [2, 4, 8]
    for size_number, size in enumerate(dims):
        head, z = MatryoshkaHead(dims, 3, tied=tied), torch.randn(4, 8, requires_grad=True)
        head(z)[size_number].square().sum().backward()
        assert z.grad[:, :size].abs().min() > 0 and torch.all(z.grad[:, size:] == 0)


@pytest.mark.parametrize("tied", [False, True])
def test_columns_are_silent_when_every_head_that_reads_them_is_zeroed(tied: bool) -> None:
    head, z = MatryoshkaHead([2, 4, 8], 3), torch.randn(4, 8, requires_grad=True)
    with torch.no_grad():
        head.classifiers[1].weight.zero_()
        head.classifiers[2].weight.zero_()
    sum(each.square().sum() for each in head(z)).backward()
    assert z.grad[:, :2].abs().min() > 0 and torch.all(z.grad[:, 2:] == 0)


def test_gradients_of_tied_logits_are_those_of_naive_slices() -> None:
    z, weight, bias = (torch.randn(*shape, dtype=torch.float64, requires_grad=True) for shape in ((3, 6), (4, 6), (4,)))
    assert torch.autograd.gradcheck(lambda *given: tuple(tied_logits(*given, (1, 4, 6))), (z, weight, bias))


def test_a_fixed_feature_head_reads_the_first_features_alone() -> None:
    head, z = FixedFeatureHead(3, 2), torch.randn(4, 8, requires_grad=True)
    assert torch.equal(head(z), F.linear(z[:, :3], head.weight, head.bias))
    head(z).sum().backward()
    assert torch.all(z.grad[:, 3:] == 0) and z.grad[:, :3].abs().min() > 0
    with pytest.raises(InputError, match="reads 3 features"):
        head(z[:, :2])


@pytest.mark.parametrize("tied", [False, True])
def test_wrong_widths_and_sizes_are_one_clear_line(tied: bool) -> None:
    head = MatryoshkaHead([2, 4], 3, tied=tied)
    with pytest.raises(InputError, match="4 wide, not 5"):
        head(torch.randn(2, 5))
    with pytest.raises(InputError, match=r"sizes \[2, 4\], not 3"):
        head.at(torch.randn(2, 4), 3)
    with pytest.raises(InputError, match="size 4 was asked"):
        head.at(torch.randn(2, 3), 4)
    with pytest.raises(InputError, match="num_classes"):
        MatryoshkaHead([2, 4], 0, tied=tied)


def _official(dims: list[int], classes: int, generation: str) -> dict[str, torch.Tensor]:
    sizes = {"separate": dims, "tied": dims[-1:], "tied of old": dims[-1:], "fixed": dims[:1]}[generation]
    prefix = "" if generation in ("tied of old", "fixed") else "nesting_classifier_{}."
    return {
        prefix.format(number) + name: torch.randn(*shape)
        for number, size in enumerate(sizes)
        for name, shape in (("weight", (classes, size)), ("bias", (classes,)))
    }


@pytest.mark.parametrize("generation", ["separate", "tied", "tied of old", "fixed"])
def test_official_heads_of_every_generation_are_read(generation: str) -> None:
    dims, z = [2, 4, 8], torch.randn(5, 8)
    state = _official(dims, 3, generation)
    config = {"efficient": True, "nesting_list": dims} if generation.startswith("tied") else {}
    head = official_head(state, **config)
    head.load_state_dict(official_head_state(state, head))
    if generation == "fixed":
        assert torch.equal(head(z), F.linear(z[:, :2], state["weight"], state["bias"]))
        return
    for number, (size, found) in enumerate(zip(dims, head(z), strict=True)):
        key = "" if generation == "tied of old" else f"nesting_classifier_{number if generation == 'separate' else 0}."
        expected = F.linear(z[:, :size], state[key + "weight"][:, :size], state[key + "bias"])
        torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_an_official_head_without_bias_or_with_a_single_size() -> None:
    state = {"nesting_classifier_0.weight": torch.randn(3, 8)}
    assert official_head(state).tied and official_head(state).dims == (8,)
    single = official_head(state, efficient=False)
    assert not single.tied and single.classifiers[0].bias is None
    with pytest.raises(InputError, match="own width 8"):
        official_head(state, nesting_list=[4])
