from pathlib import Path

import torch

from ordinate.analyze.feature_report import compare_representations
from ordinate.report.features import save_feature_figure


def test_a_report_is_drawn(tmp_path: Path) -> None:
    held = {"easy": torch.randint(0, 2, (80,)), "h$rd": torch.randint(0, 3, (80,))}
    report = compare_representations({"one": torch.randn(80, 3), "two": torch.randn(80, 2)}, held)
    paths = save_feature_figure(report, tmp_path)
    assert [path.name for path in paths] == ["features.svg", "features.png"] and all(path.stat().st_size > 1000 for path in paths)
