import pytest
import torch

from ordinate.bench.base import Timing, get_bench
from ordinate.bench.mixers import _fits, _remarks, contenders
from ordinate.nn.mixers import create_mixer, list_mixers


def test_every_mixer_takes_part_at_every_length() -> None:
    said: list[str] = []
    result = get_bench("mixers").run([8, 16], "cpu", True, said.append)
    assert {row.contender for row in result.rows} == contenders().keys() >= set(list_mixers())
    assert all(row.seconds > 0 and row.memory_bytes is None for row in result.rows) and len(result.rows) == 2 * len(contenders())
    assert result.exponents == {} and "softmax, 8 positions" in said


@pytest.mark.parametrize(("peer", "own"), [("softmax-rpe, matrix", "softmax-rpe"), ("nprf, fft unblocked", "nprf")])
def test_the_peers_compute_what_they_are_peers_of(peer: str, own: str) -> None:
    torch.manual_seed(0)
    slow = contenders()[peer].make(64, heads=4, max_length=30)
    fast = create_mixer(own, 64, heads=4, max_length=30)
    fast.load_state_dict(slow.state_dict())
    x = torch.randn(2, 30, 64)
    torch.testing.assert_close(slow(x), fast(x), atol=1e-5, rtol=1e-4)


def test_the_remarks_name_the_length_from_which_nprf_is_ahead() -> None:
    seconds = {"nprf": (2.0, 3.0, 4.0), "softmax": (1.0, 4.0, 16.0), "softmax-rpe": (1.0, 2.0, 3.0), "softmax-rpe, matrix": (3.0, 5.0)}
    rows = [Timing(name, length, time) for name, times in seconds.items() for length, time in zip((8, 16, 32), times, strict=False)]
    remarks = _remarks(rows, [8, 16, 32])
    assert "nprf is ahead of softmax from a length of 16 on" in remarks
    assert "nprf is not ahead of softmax-rpe at 32 or below" in remarks
    assert "nprf is ahead of softmax-rpe, matrix from a length of 8 on" in remarks


def test_what_would_hold_too_much_is_left_out_and_said() -> None:
    naive, fft = contenders()["nprf, naive"], contenders()["nprf, fft"]
    assert _fits(naive, 4096) and not _fits(naive, 16_384) and _fits(fft, 1 << 20)
    assert any(remark.startswith("nprf, naive is left out") for remark in _remarks([Timing("nprf", 16_384, 1.0)], [16_384]))
