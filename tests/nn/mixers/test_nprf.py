import math

import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.nn.feature_maps import unit_norm
from ordinate.nn.mixers.nprf import KernelRPEAttention
from ordinate.nn.mixers.nprf2d import KernelRPEAttention2d
from ordinate.nn.mixers.softmax import RelativeSoftmaxAttention
from ordinate.nn.toeplitz import toeplitz_matrix

METHODS = ("naive", "chunked", "fft")


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def twins(layer, methods=METHODS):
    """The same layer by other methods."""
    for method in methods:
        layer.method = method
        yield method


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", ["prf", "trf", "relu", "elu"])
@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize("rpe", [False, True])
def test_every_ablation_gives_the_same_by_every_method(causal, kind, normalize, rpe):
    layer = KernelRPEAttention(16, heads=2, causal=causal, kind=kind, normalize=normalize, rpe=rpe, chunk=4, generator=seeded()).double()
    x = torch.randn(2, 13, 16, dtype=torch.float64, generator=seeded(1))
    found = [layer(x) for _ in twins(layer)]
    for other in found[1:]:
        assert torch.allclose(other, found[0], atol=1e-7 if kind == "trf" else 1e-10)


@pytest.mark.parametrize("class_token", [False, True])
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("length", [1, 2, 8, 12])
def test_the_grid_gives_the_same_by_every_method_padded_or_not(causal, class_token, length):
    layer = KernelRPEAttention2d(
        16, heads=2, height=3, width=4, causal=causal, class_token=class_token, chunk=4, generator=seeded()
    ).double()
    length += int(class_token)
    x = torch.randn(2, length, 16, dtype=torch.float64, generator=seeded(1)).requires_grad_()
    real = torch.ones(2, length, dtype=torch.bool)
    real[0, length // 2 + 1 :] = False
    for mask in (None, real):
        found = [(y := layer(x, padding_mask=mask), *torch.autograd.grad(y.square().sum(), [x, *layer.parameters()])) for _ in twins(layer)]
        for other in found[1:]:
            for mine, theirs in zip(found[0], other, strict=True):
                assert torch.allclose(mine, theirs, atol=1e-10)


def test_many_features_make_it_softmax_of_normalised_dot_products_with_the_bias():
    layer = KernelRPEAttention(16, heads=2, features=4096, max_length=20, method="naive", generator=seeded()).double()
    torch.nn.init.normal_(layer.relative.table, generator=seeded(5))
    x = torch.randn(2, 20, 16, dtype=torch.float64, generator=seeded(1))
    q, k, v = layer.heads.split(x)
    weights = (unit_norm(q) @ unit_norm(k).mT + toeplitz_matrix(layer.relative(20), 20)).softmax(-1)
    estimate = layer._attend(*layer.heads.inputs(x, None), None)
    assert (estimate - weights @ v).abs().max() < 0.05


def test_without_a_bias_weights_stay_within_e_squared_of_uniform_and_a_bias_sharpens_them():
    layer = KernelRPEAttention(16, heads=2, features=2048, method="naive", generator=seeded()).double()
    torch.nn.init.zeros_(layer.relative.table)
    q, k, _ = layer.heads.split(torch.randn(1, 64, 16, dtype=torch.float64, generator=seeded(1)) * 50)
    exact = (unit_norm(q) @ unit_norm(k).mT).softmax(-1)
    assert exact.max() <= math.e**2 / 64
    assert exact.min() >= math.e**-2 / 64
    torch.nn.init.constant_(layer.relative.table[:, 1023:1024], 8.0)
    weights = toeplitz_matrix(layer.relative(64), 64).softmax(-1)
    assert weights.diagonal(dim1=-2, dim2=-1).min() > 0.9


def test_scaling_queries_or_keys_changes_nothing_when_normalised():
    layer = KernelRPEAttention(16, heads=2, bias=False, generator=seeded()).double()
    x = torch.randn(2, 9, 16, dtype=torch.float64, generator=seeded(1))
    y = layer(x)
    with torch.no_grad():
        layer.heads.qkv.weight[:32] *= 7
    assert torch.allclose(layer(x), y, atol=1e-9)


def test_normalisation_is_of_each_head_at_each_position():
    # One norm for the whole batch, or over the sequence, is a mistake that shapes do not show: outputs would depend on the other sequences of the batch.
    layer = KernelRPEAttention(16, heads=2, causal=True, generator=seeded()).double()
    x = torch.randn(2, 9, 16, dtype=torch.float64, generator=seeded(1))
    louder = torch.cat([x[:1], x[1:] * 100])
    assert torch.allclose(layer(louder)[:1], layer(x)[:1], atol=1e-12)
    phi_q, _, _, _ = layer.heads.inputs(x, None)
    q, _, _ = layer.heads.split(x)
    assert torch.allclose(phi_q, layer.heads.features(q / q.norm(dim=-1, keepdim=True)), atol=1e-9)


def test_it_reads_from_a_context_of_another_length():
    layer = KernelRPEAttention(16, heads=2, chunk=3, generator=seeded()).double()
    x, context = (torch.randn(2, n, 16, dtype=torch.float64, generator=seeded(n)) for n in (5, 9))
    real = torch.ones(2, 9, dtype=torch.bool)
    real[:, 6:] = False
    found = [layer(x, context=context, context_mask=real) for _ in twins(layer)]
    assert torch.allclose(found[1], found[0], atol=1e-11)
    assert torch.allclose(found[2], found[0], atol=1e-11)
    layer.method = "naive"
    assert torch.allclose(layer(x, context=context[:, :6]), found[0], atol=1e-11)
    assert torch.allclose(layer(x, context=x), layer(x), atol=1e-12)
    with pytest.raises(InputError, match="causal"):
        KernelRPEAttention(16, heads=2, causal=True)(x.float(), context=context.float())


@pytest.mark.parametrize("causal", [False, True])
def test_a_softmax_layer_is_converted_and_estimated(causal):
    torch.manual_seed(3)
    softmax = RelativeSoftmaxAttention(16, heads=2, causal=causal, max_length=12).double()
    torch.nn.init.normal_(softmax.relative.table, std=1.0)
    x = torch.randn(2, 12, 16, dtype=torch.float64)
    y = softmax(x)
    few, many = (
        (KernelRPEAttention.from_softmax(softmax, features=m, normalize=False, orthogonal=True, generator=seeded())(x) - y).abs().mean()
        for m in (16, 4096)
    )
    assert many < 0.02
    assert many < few / 3
    paper = KernelRPEAttention.from_softmax(softmax)
    assert torch.equal(paper.heads.qkv.weight, softmax.heads.qkv.weight)
    assert torch.equal(paper.relative.table, softmax.relative.table)
    assert paper(x).dtype == torch.float64


def test_causality_of_the_fft_is_up_to_its_rounding_and_of_the_others_exact():
    x = torch.randn(1, 200, 16, generator=seeded(1))
    other = torch.cat([x[:, :150], torch.randn(1, 50, 16, generator=seeded(2)) * 5], dim=1)
    layer = KernelRPEAttention(16, heads=2, causal=True, generator=seeded())
    for method in twins(layer):
        difference = (layer(x)[:, :150] - layer(other)[:, :150]).abs().max()
        assert difference <= (1e-5 if method == "fft" else 1e-6), method


def test_longer_sequences_take_the_outermost_bias_or_are_refused():
    x = torch.randn(1, 12, 16)
    assert KernelRPEAttention(16, max_length=8)(x).isfinite().all()
    with pytest.raises(InputError, match="max_length=8"):
        KernelRPEAttention(16, max_length=8, clamp=False)(x)


def test_projections_are_drawn_anew_in_training_when_asked():
    layer = KernelRPEAttention(16, redraw_every=2)
    x = torch.randn(1, 5, 16)
    first = layer(x)
    assert not torch.equal(layer(x), first)
    layer.eval()
    assert torch.equal(layer(x), layer(x))


def test_the_step_of_linear_attention_has_a_state_of_constant_size():
    layer = KernelRPEAttention(16, causal=True, rpe=False)
    _, state = layer.prefill(torch.randn(1, 5, 16))
    _, later = layer.step(torch.randn(1, 16), state)
    assert [each.shape for each in later] == [each.shape for each in state]
    assert layer.spec.time == "L"


def test_the_grid_s_default_is_the_least_square_and_a_full_grid_refuses_more():
    assert KernelRPEAttention2d(16, max_length=10).relative.grid == (4, 4)
    layer = KernelRPEAttention2d(16, height=1, width=2, causal=True)
    _, state = layer.prefill(torch.randn(1, 2, 16))
    with pytest.raises(InputError):
        layer.step(torch.randn(1, 16), state)
    with pytest.raises(InputError, match="grid of 2"):
        layer(torch.randn(1, 3, 16))


def test_bad_arguments_are_refused():
    for call in (
        lambda: KernelRPEAttention(16, features=0),
        lambda: KernelRPEAttention(16, kind="tanh"),
        lambda: KernelRPEAttention(16, method="fast"),
        lambda: KernelRPEAttention(16, max_length=0),
        lambda: KernelRPEAttention(16, norm_scale=-1.0),
        lambda: KernelRPEAttention(16, norm_scale=2.0, normalize=False),
        lambda: KernelRPEAttention2d(16, height=3),
        lambda: KernelRPEAttention2d(16, height=3, width=3, max_length=10),
        lambda: KernelRPEAttention2d(16, max_length=1, class_token=True),
        lambda: KernelRPEAttention2d(16, kind="trf", class_token=True, method="fft"),
    ):
        with pytest.raises(InputError):
            call()
