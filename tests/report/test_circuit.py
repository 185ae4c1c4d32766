from pathlib import Path

import torch

from ordinate.analyze.circuit_codes import Autoencoding
from ordinate.analyze.circuits import circuit_of_outputs
from ordinate.report.circuit import save_circuit_figure
from tests.report.test_figures import check_images


def test_a_circuit_is_drawn_with_known_heads_and_without(tmp_path: Path) -> None:
    result = circuit_of_outputs(torch.randn(8, 6, 5), (2, 3), [f"L{n}" for n in range(6)], how=Autoencoding(10, 4, 5), autoencoders=2)
    check_images(save_circuit_figure(result, tmp_path / "bare"))
    truth = torch.zeros(2, 3)
    truth[1, 2] = 1
    first, second = (save_circuit_figure(result, tmp_path / name, title="$x", truth=truth) for name in "ab")
    check_images(first)
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
