import warnings
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional as F

from ordinate.ground.errors import InputError
from ordinate.nn.gnconv import GnConv, GnConvModule, gated_widths

SHAPES = st.integers(1, 5).flatmap(lambda order: st.tuples(st.integers(1, 4).map(lambda k: k * 2 ** (order - 1)), st.just(order)))


def randomised(module: nn.Module) -> nn.Module:
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5 if parameter.ndim > 1 else 0.5)
    return module


def chain(module: GnConv, x: Tensor) -> Tensor:
    """The product chain by hand, every piece with convolutions of its own."""
    weight, bias = module.proj_in.weight, module.proj_in.bias
    mix, mix_bias = module.mixer.weight, module.mixer.bias
    narrow = module.widths[0]
    product = F.conv2d(x, weight[:narrow], bias[:narrow])
    start = 0
    for k, width in enumerate(module.widths):
        rows = slice(narrow + start, narrow + start + width)
        q = F.conv2d(x, weight[rows], bias[rows])
        d = F.conv2d(q, mix[start : start + width], mix_bias[start : start + width], padding=mix.shape[-1] // 2, groups=width)
        if k:
            product = F.conv2d(product, module.pointwise[k - 1].weight, module.pointwise[k - 1].bias)
        product = product * d * module.scale
        start += width
    return F.conv2d(product, module.proj_out.weight, module.proj_out.bias)


@given(SHAPES)
def test_the_first_width_and_the_sum_make_twice_the_width(shape: tuple[int, int]) -> None:
    widths = gated_widths(*shape)
    assert widths[0] + sum(widths) == 2 * shape[0] and widths[-1] == shape[0] and len(widths) == shape[1]
    assert all(wide == 2 * narrow for narrow, wide in pairwise(widths))


@settings(max_examples=25)
@given(SHAPES, st.sampled_from([1, 3, 5, 7]))
def test_it_is_the_product_chain_written_out(shape: tuple[int, int], kernel: int) -> None:
    module = randomised(GnConv(*shape, kernel_size=kernel))
    x = torch.randn(2, shape[0], 4, 5)
    torch.testing.assert_close(module(x), chain(module, x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
def test_without_biases_it_is_homogeneous_of_degree_order_plus_1(order: int) -> None:
    module = randomised(GnConv(16, order)).double()
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    x = torch.randn(1, 16, 5, 5, dtype=torch.double)
    torch.testing.assert_close(module(1.7 * x), 1.7 ** (order + 1) * module(x), rtol=1e-12, atol=1e-14)


def test_with_a_global_filter_it_is_not_homogeneous() -> None:
    module = randomised(GnConv(8, 2, mixer="gf", filter_size=(5, 3))).double()
    for name, parameter in module.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
    x = torch.randn(1, 8, 5, 5, dtype=torch.double)
    assert not torch.allclose(module(1.7 * x), 1.7**3 * module(x), rtol=0.05)


def test_interior_pixels_follow_translations() -> None:
    module, x = randomised(GnConv(8, 3)), torch.randn(1, 8, 20, 20)
    shifted = module(x.roll((2, 3), (2, 3)))
    torch.testing.assert_close(shifted[:, :, 5:-3, 6:-3], module(x)[:, :, 3:-5, 3:-6], atol=1e-5, rtol=1e-5)


def test_gradients_are_right() -> None:
    module = randomised(GnConv(8, 3, kernel_size=3)).double()
    x = torch.randn(1, 8, 2, 3, dtype=torch.double, requires_grad=True)
    assert torch.autograd.gradcheck(module, (x,))


@pytest.mark.parametrize("mixer", ["dw", "gf"])
def test_the_scale_folds_into_the_mixer(mixer: str) -> None:
    module = randomised(GnConv(8, 3, mixer=mixer, filter_size=(4, 3) if mixer == "gf" else None))
    x = torch.randn(2, 8, 4, 4)
    before = module(x)
    module.fold_scale_()
    assert module.scale == 1.0
    torch.testing.assert_close(module(x), before, atol=1e-6, rtol=1e-5)


def test_it_takes_any_mixer_and_other_widths() -> None:
    module = GnConv(8, 2, mixer=lambda channels: nn.AvgPool2d(3, 1, 1), in_dim=5, out_dim=3)
    assert module(torch.randn(2, 5, 6, 6)).shape == (2, 3, 6, 6)
    with pytest.raises(InputError, match="cannot be folded into a mixer of type AvgPool2d"):
        module.fold_scale_()


@pytest.mark.parametrize("mixer", ["dw", "gf"])
def test_half_precision_is_finite(mixer: str) -> None:
    module = GnConv(8, 2, mixer=mixer, filter_size=(4, 3) if mixer == "gf" else None).bfloat16()
    assert module(torch.randn(1, 8, 4, 4).bfloat16()).isfinite().all()


def test_a_width_that_cannot_be_halved_is_refused_with_its_order() -> None:
    with pytest.raises(InputError, match="order 4 halves its width 3 times: dim=12 is not divisible by 8"):
        GnConv(12, 4)
    with pytest.raises(InputError, match="order is at least 1"):
        GnConv(12, 0)


def test_a_global_filter_needs_an_even_number_of_channels() -> None:
    with pytest.raises(InputError, match="must be even, not 7"):
        GnConv(4, 3, mixer="gf", filter_size=(4, 3))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kernel_size": 4}, "must be odd"),
        ({"mixer": "fg"}, "unknown mixer 'fg'"),
        ({"mixer": "gf"}, "needs the filter_size"),
        ({"filter_size": (4, 3)}, "belongs to the mixer 'gf'"),
        ({"project_out": False, "out_dim": 4}, "gives dim=8 channels, not out_dim=4"),
    ],
)
def test_what_does_not_fit_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        GnConv(8, 2, **options)


def test_channels_last_tensors_are_told() -> None:
    with pytest.raises(InputError, match="channels first, not"):
        GnConv(8, 2)(torch.zeros(1, 5, 5, 8))


def test_a_long_chain_without_scale_or_norm_is_warned_of() -> None:
    with pytest.warns(UserWarning, match="degree 5 in its input: put a norm in front"):
        GnConv(8, 4, scale=1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GnConv(8, 4, scale=1.0, normed=True)
        GnConv(8, 3, scale=1.0)
        GnConv(8, 4)


def test_the_module_has_no_scale_and_ends_with_norm_and_activation() -> None:
    module = randomised(GnConvModule(6, 4, order=3, dim_ratio=2, norm=nn.BatchNorm2d(4), activation=nn.ReLU())).eval()
    x = torch.randn(2, 6, 5, 5)
    assert module.gnconv.scale == 1.0 and module.gnconv.dim == 8
    torch.testing.assert_close(module(x), F.relu(module.norm(chain(module.gnconv, x))))
    assert GnConvModule(6, 4, project_out=False)(x).shape == (2, 4, 5, 5)
