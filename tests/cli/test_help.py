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


def test_help_loads_nothing_heavy() -> None:
    code = (
        "import json, sys\n"
        "from ordinate.cli.app import main\n"
        "try:\n    main(['reproduce', '--help'])\n"
        "except SystemExit:\n    pass\n"
        "print(json.dumps([name for name in ('torch', 'numpy', 'scipy', 'sklearn', 'matplotlib', 'jinja2') if name in sys.modules]), file=sys.stderr)\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(ran.stderr) == []


def test_the_version_is_printed() -> None:
    assert ordinate("--version").out.startswith("ordinate 0.")
