import pytest
import torch

from ordinate.analyze.reliance import reliance
from ordinate.ground.errors import InputError


def test_the_feature_with_more_variance_is_followed() -> None:
    f = torch.randint(0, 2, (400, 2))
    phi = torch.cat([3.0 * f[:, :1], 0.3 * f[:, 1:], torch.randn(400, 3)], dim=1)
    assert reliance(phi, f[:, 0], f[:, 1]) > 0.95
    assert reliance(phi, f[:, 1], f[:, 0]) == pytest.approx(1 - reliance(phi, f[:, 0], f[:, 1]))


def test_bad_input_is_refused() -> None:
    f = torch.randint(0, 2, (40, 2))
    phi = torch.randn(40, 3)
    with pytest.raises(InputError, match="same two classes"):
        reliance(phi, f[:, 0], torch.arange(40) % 3)
    with pytest.raises(InputError, match="others on which they differ"):
        reliance(phi, f[:, 0], f[:, 0])
    with pytest.raises(InputError, match="others on which they differ"):
        reliance(phi, f[:, 0], 1 - f[:, 0])
    with pytest.raises(InputError, match="same examples"):
        reliance(phi, f[:20, 0], f[:, 1])
