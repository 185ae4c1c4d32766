import torch
from torch.nn import functional as F

from ordinate.nn.norms import LayerNorm2d


def randomised(channels: int) -> LayerNorm2d:
    norm = LayerNorm2d(channels)
    torch.nn.init.normal_(norm.weight, 1, 0.3)
    torch.nn.init.normal_(norm.bias, 0, 0.3)
    return norm


def test_every_pixel_is_normalised_over_its_channels() -> None:
    norm, x = randomised(6), torch.randn(2, 6, 3, 5)
    y = norm(x)
    for row in range(3):
        for column in range(5):
            expected = F.layer_norm(x[:, :, row, column], (6,), norm.weight, norm.bias, 1e-6)
            torch.testing.assert_close(y[:, :, row, column], expected)


def test_the_memory_format_changes_nothing() -> None:
    norm, x = randomised(6), torch.randn(2, 6, 3, 5)
    assert torch.equal(norm(x), norm(x.contiguous(memory_format=torch.channels_last)))


def test_statistics_are_those_of_float32_under_bfloat16() -> None:
    # The mean, 20, is far above the spread, 1: a variance in bfloat16 would have no correct digit.
    norm = randomised(64)
    x = (20 + torch.randn(2, 64, 3, 3)).bfloat16()
    expected = norm(x.float())
    for candidate in (norm, norm.bfloat16()):
        y = candidate(x)
        assert y.dtype == torch.bfloat16
        torch.testing.assert_close(y.float(), expected, atol=0.05, rtol=0.02)
