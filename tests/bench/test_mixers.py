from ordinate.bench.base import get_bench
from ordinate.bench.mixers import contenders
from ordinate.nn.mixers import list_mixers


def test_every_mixer_takes_part_at_every_length() -> None:
    said: list[str] = []
    result = get_bench("mixers").run([8, 16], "cpu", True, said.append)
    assert {row.contender for row in result.rows} == contenders().keys() >= set(list_mixers()) - {"nprf-2d"}
    assert all(row.seconds > 0 and row.memory_bytes is None for row in result.rows) and len(result.rows) == 2 * len(contenders())
    assert any(remark.startswith(("nprf is ahead of softmax", "nprf is not ahead of softmax")) for remark in result.remarks)
    assert result.exponents == {} and "softmax, 8 positions" in said


def test_what_would_form_too_large_a_matrix_is_left_out_and_said() -> None:
    import ordinate.bench.mixers as mixers

    assert mixers._fits("nprf, naive", 4096) and not mixers._fits("nprf, naive", 16_384) and mixers._fits("nprf", 1 << 20)
