import pytest
import torch

from ordinate.analyze.environment_probe import RISKS, EnvironmentProbe, tune
from ordinate.ground.errors import InputError


def _world(shares: tuple[float, ...] = (0.05, 0.3), rows: int = 400) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A weak cue that holds everywhere, and a strong one that misleads in a share of the rows."""
    parts = []
    for number, share in enumerate(shares):
        chance = torch.Generator().manual_seed(number)
        y = torch.randint(2, (rows,), generator=chance)
        flipped = torch.where(torch.rand(rows, generator=chance) < share, 1 - y, y)
        x = torch.stack(
            [2 * y - 1 + 1.5 * torch.randn(rows, generator=chance), 20.0 * (2 * flipped - 1) + torch.randn(rows, generator=chance)], dim=1
        )
        parts.append((x, y, torch.full((rows,), number)))
    x, y, e = (torch.cat(column) for column in zip(*parts, strict=True))
    return x, y, e


def test_variance_of_the_risks_turns_the_head_from_what_misleads() -> None:
    x, y, e = _world()
    shifted, truth, _ = _world((0.9,))
    erm, vrex = (EnvironmentProbe(risk, 100.0).fit(x, y, e).score(shifted, truth) for risk in ("erm", "vrex"))
    assert vrex > erm + 0.15


@pytest.mark.parametrize("risk", RISKS)
def test_every_risk_learns_what_holds_everywhere(risk: str) -> None:
    x, y, e = _world((0.0, 0.0))
    assert EnvironmentProbe(risk, 1.0).fit(x, y, e).score(x, y) > 0.9


def test_features_are_standardised_and_the_head_reads_them_as_they_are() -> None:
    x, y, e = _world()
    a = EnvironmentProbe("erm").fit(x, y, e)
    b = EnvironmentProbe("erm").fit(x * torch.tensor([1e3, 1e-2]) + 4, y, e)
    assert a.head is not None and b.head is not None
    torch.testing.assert_close(a.head(x), b.head(x * torch.tensor([1e3, 1e-2]) + 4), atol=1e-2, rtol=1e-2)


def test_each_protocol_chooses_by_its_own_rows() -> None:
    x, y, e = _world()
    inside, outside = _world(), _world((0.9,))
    found = tune([EnvironmentProbe("erm"), EnvironmentProbe("vrex", 100.0)], x, y, e, {"iid": inside[:2], "ood": outside[:2]})
    assert found["iid"].probe.risk == "erm" and found["ood"].probe.risk == "vrex"
    assert len(found["ood"].accuracies) == 2 and found["ood"].probe.score(*outside[:2]) == max(found["ood"].accuracies)


def test_what_is_wrong_is_one_line() -> None:
    x, y, e = _world()
    with pytest.raises(InputError, match="did you mean vrex"):
        EnvironmentProbe("rex")
    with pytest.raises(InputError, match="l2 is 0 or more"):
        EnvironmentProbe("erm", l2=-1)
    with pytest.raises(InputError, match="as many rows"):
        EnvironmentProbe().fit(x, y[:3], e)
    with pytest.raises(InputError, match="call fit first"):
        EnvironmentProbe().score(x, y)
    with pytest.raises(InputError, match="needs candidates"):
        tune([], x, y, e, {"iid": (x, y)})
