import json
from pathlib import Path

import pytest

from tests.cli.call import ordinate

OWN = """
import torch
from torch import nn

class Mine(nn.Module):
    def forward(self, z):
        return z * torch.sigmoid(1.7 * z)

class Needy(nn.Module):
    def __init__(self, width):
        super().__init__()

def root(z):
    return z.sign() * z.abs().sqrt()

number = 3.0
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "my.py"
    path.write_text(OWN)
    return path


def test_a_named_activation_is_studied(tmp_path: Path) -> None:
    said = ordinate("analyze", "criticality", "-a", "gelu", "--depth", "8", "--width", "40", "--draws", "3", "--out", tmp_path / "study")
    assert said.status == 0
    for part in (
        "gelu: half stable",
        "0.17292239",
        "1.9830583",
        "3.5615528",
        "best depth at width 40",
        "critical",
        "torch default",
        "scale the first layer",
    ):
        assert part in said.out, part
    assert "2 figures" in said.err
    assert {path.name for path in (tmp_path / "study").iterdir()} == {"criticality.json", "criticality.svg", "criticality.png"}


def test_the_document_stands_alone(tmp_path: Path) -> None:
    said = ordinate(
        "analyze", "criticality", "-a", "tanh", "--depth", "5", "--width", "20", "--draws", "0", "--json", "--out", tmp_path / "study"
    )
    assert said.err == "" and said.document == json.loads((tmp_path / "study" / "criticality.json").read_text())
    assert said.document["C_W"] == 1.0 and "measured" not in said.document["initialisations"]["critical"]


def test_an_activation_of_one_s_own_is_studied(own: Path, tmp_path: Path) -> None:
    said = ordinate(
        "analyze",
        "criticality",
        "--module",
        f"{own}:Mine",
        "--depth",
        "5",
        "--width",
        "20",
        "--draws",
        "0",
        "--json",
        "--out",
        tmp_path / "x",
    )
    assert said.status == 0 and said.document["kind"] == "half_stable"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("root", "root is not differentiable at 0"),
        ("rot", "did you mean root"),
        ("Needy", "cannot be made without arguments"),
        ("number", "a name, a module or a function, not float"),
    ],
)
def test_what_cannot_be_used_is_one_line(own: Path, name: str, why: str) -> None:
    said = ordinate("analyze", "criticality", "--module", f"{own}:{name}")
    assert said.status == 2 and why in said.err and said.out == ""


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "give one activation"),
        (("-a", "gelu", "--module", "my.py:x"), "give one activation"),
        (("-a", "gellu"), "did you mean gelu"),
        (("--module", "nowhere.py:x"), "no such file"),
        (("--module", "nowhere.py"), "file.py:name"),
        (("-a", "tanh", "--depth", "1"), "a study needs"),
    ],
)
def test_bad_usage_is_one_line(arguments: tuple[str, ...], why: str) -> None:
    said = ordinate("analyze", "criticality", *arguments)
    assert said.status == 2 and why in said.err


def test_a_file_that_cannot_be_run_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("import nothing_of_that_name")
    said = ordinate("analyze", "criticality", "--module", f"{tmp_path / 'broken.py'}:x")
    assert said.status == 2 and "broken.py cannot be run: ModuleNotFoundError" in said.err
    (tmp_path / "my.txt").write_text("x")
    assert "not a Python file" in ordinate("analyze", "criticality", "--module", f"{tmp_path / 'my.txt'}:x").err
