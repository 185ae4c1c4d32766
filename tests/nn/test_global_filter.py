import copy
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from ordinate.ground.errors import InputError
from ordinate.nn.global_filter import GlobalLocalFilter, half_spectrum, resize_spectrum

SIDES = st.tuples(st.integers(1, 9), st.integers(1, 9))


def randomised(dim: int, size: tuple[int, int], *, export_friendly: bool = False) -> GlobalLocalFilter:
    module = GlobalLocalFilter(dim, size, export_friendly=export_friendly)
    for parameter in module.parameters():
        nn.init.normal_(parameter, 0.5, 0.5)
    return module


def identity(dim: int, height: int, width: int) -> GlobalLocalFilter:
    """Spectrum 1, local kernel a delta, norms plain."""
    module = GlobalLocalFilter(dim, half_spectrum(height, width))
    with torch.no_grad():
        module.spectrum.copy_(torch.tensor([1.0, 0.0]).expand_as(module.spectrum))
        module.local.weight.zero_()[:, :, 1, 1] = 1
    return module


@settings(max_examples=20)
@given(SIDES)
def test_with_identities_it_normalises_interleaves_and_normalises(sides: tuple[int, int]) -> None:
    # Odd widths come back only because the inverse transform is told the size.
    module, x = identity(6, *sides), torch.randn(2, 6, *sides)
    normed = module.pre_norm(x)
    expected = module.post_norm(normed[:, [0, 3, 1, 4, 2, 5]])
    torch.testing.assert_close(module(x), expected, atol=1e-5, rtol=1e-5)


@settings(max_examples=20)
@given(SIDES, st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_real_matrices_give_what_the_fft_gives(sides: tuple[int, int], stored: tuple[int, int]) -> None:
    fast = randomised(4, stored)
    exported = copy.deepcopy(fast)
    exported.export_friendly = True
    x = torch.randn(2, 4, *sides)
    torch.testing.assert_close(exported(x), fast(x), atol=2e-5, rtol=2e-5)


def test_the_global_half_is_a_circular_convolution() -> None:
    module, x = randomised(4, half_spectrum(6, 5)), torch.randn(1, 4, 6, 5)
    kernel = torch.fft.irfft2(torch.view_as_complex(module.spectrum.detach()), s=(6, 5))
    wide = module.pre_norm(x)[:, 2:]
    expected = torch.zeros_like(wide)
    for row in range(6):
        for column in range(5):
            expected += kernel[None, :, row, column, None, None] * wide.roll((row, column), (2, 3))
    torch.testing.assert_close(module._filter(wide, module.spectrum), expected, atol=1e-5, rtol=1e-5)


def test_only_the_global_half_follows_circular_shifts() -> None:
    module, x = randomised(4, half_spectrum(8, 8)), torch.randn(1, 4, 8, 8)
    normed = module.pre_norm(x)
    shifted = normed.roll((3, 2), (2, 3))
    torch.testing.assert_close(
        module._filter(shifted[:, 2:], module.spectrum),
        module._filter(normed[:, 2:], module.spectrum).roll((3, 2), (2, 3)),
        atol=1e-5,
        rtol=1e-5,
    )
    assert not torch.allclose(module.local(shifted[:, :2]), module.local(normed[:, :2]).roll((3, 2), (2, 3)), atol=1e-3)


@given(st.tuples(st.integers(1, 6), st.integers(1, 6)))
def test_a_spectrum_of_its_own_size_is_left_as_it_is(size: tuple[int, int]) -> None:
    weight = torch.randn(3, *size, 2)
    assert resize_spectrum(weight, size) is weight


def test_resizing_keeps_the_corners_and_the_planes_apart() -> None:
    weight = torch.randn(3, 4, 3, 2)
    resized = resize_spectrum(weight, (7, 5))
    assert resized.shape == (3, 7, 5, 2)
    torch.testing.assert_close(resized[:, [0, 0, -1, -1], [0, -1, 0, -1]], weight[:, [0, 0, -1, -1], [0, -1, 0, -1]])
    torch.testing.assert_close(resized[:, 2, 2], (weight[:, 1, 1]))
    torch.testing.assert_close(resize_spectrum(weight * torch.tensor([1.0, 0.0]), (7, 5))[..., 1], torch.zeros(3, 7, 5))


def count_resizes(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    seen: list[Tensor] = []

    def counting(weight: Tensor, size: tuple[int, int]) -> Tensor:
        seen.append(weight)
        return resize_spectrum(weight, size)

    monkeypatch.setattr("ordinate.nn.global_filter.resize_spectrum", counting)
    return seen


def test_the_resized_weight_is_kept_in_evaluation_until_the_stored_one_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = randomised(4, (4, 3)).eval(), torch.randn(1, 4, 6, 6)
    seen = count_resizes(monkeypatch)
    with torch.no_grad():
        first = module(x)
        assert torch.equal(module(x), first) and len(seen) == 1
        module.spectrum.mul_(2)
        assert not torch.equal(module(x), first) and len(seen) == 2
        module.load_state_dict(randomised(4, (4, 3)).state_dict())
        module(x)
        assert len(seen) == 3
        module.double()(x.double())
        assert len(seen) == 4
        module.double()(torch.randn(1, 4, 8, 8).double())
        assert len(seen) == 5


def test_the_gradient_reaches_the_stored_weight_in_evaluation_too(monkeypatch: pytest.MonkeyPatch) -> None:
    module, x = randomised(4, (4, 3)).eval(), torch.randn(1, 4, 6, 6)
    with torch.no_grad():
        module(x)
    module(x).square().sum().backward()
    assert module.spectrum.grad is not None and module.spectrum.grad.abs().sum() > 0


def test_it_runs_in_inference_mode_and_after_it() -> None:
    with torch.inference_mode():
        made_inside = randomised(4, (4, 3)).eval()
        assert made_inside(torch.randn(1, 4, 6, 6)).isfinite().all()
    module, x = randomised(4, (4, 3)).eval(), torch.randn(1, 4, 6, 6)
    with torch.inference_mode():
        inside = module(x)
    with torch.no_grad():
        assert torch.equal(module(x), inside)
    module(x).sum().backward()


def test_a_kept_weight_does_not_travel() -> None:
    module = randomised(4, (4, 3)).eval()
    with torch.no_grad():
        module(torch.randn(1, 4, 6, 6))
        twin = pickle.loads(pickle.dumps(module))
        assert twin._resized is None
        copied = copy.deepcopy(module)
        copied.spectrum.mul_(3)
        assert not torch.equal(copied(torch.ones(1, 4, 6, 6)), module(torch.ones(1, 4, 6, 6)))


def test_the_stored_spectrum_is_resized_for_good() -> None:
    module, x = randomised(4, (4, 3)).eval(), torch.randn(1, 4, 6, 6)
    with torch.no_grad():
        before = module(x)
        module.resize_(half_spectrum(6, 6))
        assert module.spectrum.shape == (2, 6, 4, 2) and module.spectrum.requires_grad
        torch.testing.assert_close(module(x), before)


def test_half_precision_is_transformed_in_float32() -> None:
    module, x = randomised(4, half_spectrum(6, 6)), torch.randn(2, 4, 6, 6)
    expected = module(x)
    low = module.bfloat16()(x.bfloat16())
    assert low.dtype == torch.bfloat16 and low.isfinite().all()
    torch.testing.assert_close(low.float(), expected, atol=0.1, rtol=0.1)


def test_autocast_does_not_halve_the_matrices() -> None:
    module, x = randomised(4, half_spectrum(6, 6), export_friendly=True), torch.randn(2, 2, 6, 6)
    expected = module._filter(x, module.spectrum)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(module._filter(x, module.spectrum), expected)


@pytest.mark.parametrize(("dim", "size"), [(3, (2, 2)), (0, (2, 2)), (4, (0, 2))])
def test_odd_channels_and_empty_filters_are_refused(dim: int, size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match="must be"):
        GlobalLocalFilter(dim, size)


def test_other_channels_are_refused() -> None:
    with pytest.raises(InputError, match=r"takes \(batch, 4, height, width\)"):
        GlobalLocalFilter(4, (2, 2))(torch.zeros(1, 6, 2, 2))
