import json
import subprocess
import sys

import pytest

from tests.cli.call import ordinate

COMMANDS = ("papers", "reproduce", "compare", "train", "embed", "bench", "data", "report")


def test_help_names_every_command() -> None:
    said = ordinate("--help")
    assert said.status == 0 and all(command in said.out for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    said = ordinate(command, "--help")
    assert said.status == 0 and ("--json" in said.out or command == "data")


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        (["reproduce", "--help"], ["torch", "numpy", "scipy", "sklearn", "matplotlib", "jinja2"]),
        (["papers"], ["lightning_fabric", "torchmetrics", "matplotlib", "jinja2"]),
    ],
    ids=["help", "papers"],
)
def test_what_is_not_needed_is_not_loaded(arguments: list[str], heavy: list[str]) -> None:
    code = (
        "import json, sys\n"
        "from ordinate.cli.app import main\n"
        f"try:\n    main({arguments!r})\n"
        "except SystemExit:\n    pass\n"
        f"print(json.dumps([name for name in {heavy!r} if name in sys.modules]), file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ran.stderr.splitlines()[-1]) == []


def test_the_version_is_printed() -> None:
    assert ordinate("--version").out.startswith("ordinate 0.")
