import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ordinate.nn.gnconv import GnConv, gated_bound, gated_cost
from ordinate.nn.multiply_adds import count_multiply_adds, count_parameters, on_meta


@settings(max_examples=15)
@given(st.integers(1, 5), st.integers(1, 3), st.sampled_from([3, 7]))
def test_a_gated_convolution_costs_what_the_formula_says_and_less_than_the_bound(order: int, factor: int, kernel: int) -> None:
    dim = factor * 2 ** (order - 1)
    module = on_meta(lambda: GnConv(dim, order, kernel_size=kernel))
    count = count_multiply_adds(module, torch.empty(1, dim, 6, 5, device="meta")) / 30
    assert count == gated_cost(dim, order, kernel) < gated_bound(dim, kernel)


def test_the_meta_device_counts_what_the_processor_does() -> None:
    make = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.Flatten(), nn.Linear(4 * 25, 7))
    x = torch.randn(2, 3, 5, 5)
    assert count_multiply_adds(make, x) == 2 * (25 * 27 * 4 + 100 * 7)
    assert count_multiply_adds(make.to("meta"), x.to("meta")) == 2 * (25 * 27 * 4 + 100 * 7)
    assert count_parameters(make) == 27 * 4 + 4 + 707


def test_products_count_and_scalings_do_not() -> None:
    x = torch.randn(2, 3, 4, 4)
    assert count_multiply_adds(lambda a: a * a, x) == x.numel()
    assert count_multiply_adds(lambda a: a * 3, x) == 0
    assert count_multiply_adds(lambda a: a * torch.ones(3, 1, 1), x) == 0


def test_transforms_count_once_for_real_maps() -> None:
    x = torch.randn(2, 8, 8)
    points = 128 * math.log2(64)
    assert count_multiply_adds(torch.fft.rfft2, x) == 1.25 * points
    assert count_multiply_adds(lambda a: torch.fft.irfft2(torch.fft.rfft2(a), s=(8, 8)), x) == 2.5 * points
    assert count_multiply_adds(torch.fft.fft2, x.to(torch.complex64)) == 2.5 * points
    assert count_multiply_adds(lambda a: a * torch.ones(8, 8, dtype=torch.complex64), x) == 4 * x.numel()


@pytest.mark.parametrize("training", [True, False])
def test_the_module_keeps_its_mode(training: bool) -> None:
    module = nn.Linear(2, 2).train(training)
    count_multiply_adds(module, torch.zeros(1, 2))
    assert module.training is training
