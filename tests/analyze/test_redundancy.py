import json

import pytest
import torch

from ordinate.analyze.redundancy import redundancy, redundancy_report
from ordinate.ground.errors import InputError


def _task(rows: int = 240) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Three members: the second is a rotation of the first, the third holds what the label needs besides."""
    hidden = torch.randn(rows, 4)
    labels = (hidden[:, 0] > 0).long() + 2 * (hidden[:, 3] > 0).long()
    turn = torch.linalg.qr(torch.randn(2, 2)).Q
    return [hidden[:, :2], hidden[:, :2] @ turn, hidden[:, 2:]], labels


def test_a_rotation_is_redundant_and_what_is_new_is_not() -> None:
    (train, labels), (test, test_labels) = _split(*_task())
    found = redundancy(train, labels, test, test_labels, l2=(1e-3, 1e-2))
    assert found.cka[0, 1] > 0.95 and found.cka[0, 2] < 0.1
    assert found.predicted[0, 1] > 0.99 and found.predicted[0, 2] < 0.1
    assert found.gains[0].abs() < 0.05 and found.gains[2] > 0.3
    assert found.together > found.each.max() + 0.2


def _split(members: list[torch.Tensor], labels: torch.Tensor) -> list[tuple[list[torch.Tensor], torch.Tensor]]:
    half = len(labels) // 2
    return [([member[rows] for member in members], labels[rows]) for rows in (slice(half), slice(half, None))]


def test_prediction_has_two_directions() -> None:
    wide = torch.randn(100, 3)
    found = redundancy([wide, wide[:, :1]], (wide[:, 0] > 0).long(), [wide, wide[:, :1]], (wide[:, 0] > 0).long(), l2=(1e-2,))
    assert found.predicted[0, 1] > 0.99 and found.predicted[1, 0] < 0.6
    assert torch.equal(found.predicted.diagonal(), torch.ones(2, dtype=torch.float64)) and torch.equal(found.cka, found.cka.T)


def test_a_report_is_of_two_tasks_and_becomes_json() -> None:
    members, labels = _task(120)
    easy = [members[0], members[1], members[2]]
    report = redundancy_report(easy, (members[0][:, 0] > 0).long(), members, labels, l2=(1e-2,))
    assert report.source.gains.max() < 0.1 < report.target.gains.max()
    assert json.loads(json.dumps(report.to_json()))["target"]["together"] == report.target.together
    again = redundancy_report(easy, (members[0][:, 0] > 0).long(), members, labels, l2=(1e-2,))
    assert again.to_json() == report.to_json()


def test_what_is_wrong_is_one_line() -> None:
    members, labels = _task(40)
    with pytest.raises(InputError, match="two or more members"):
        redundancy(members[:1], labels, members[:1], labels)
    with pytest.raises(InputError, match="there are 3 and 2"):
        redundancy(members, labels, members[:2], labels)
    with pytest.raises(InputError, match="a vector for each"):
        redundancy(members, labels[:9], members, labels)
    with pytest.raises(InputError, match="too few"):
        redundancy_report(members, labels, members, labels, fitted=1.0)
