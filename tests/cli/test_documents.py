"""What README.md and docs/ tell people to type: the Python runs, and the commands with their options exist."""

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from ordinate.cli.app import app

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
COMMANDS = get_command(app).commands  # type: ignore[attr-defined]


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL)


def test_the_readmes_python_runs() -> None:
    found = blocks(ROOT / "README.md", "python")
    assert found
    for block in found:
        exec(compile(block, "README.md", "exec"), {})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    lines = [line for block in blocks(page, "console") for line in block.splitlines()] + re.findall(r"`((?:\$ )?ordinate [^`]*)`", text)
    for line in lines:
        for part in re.split(r"&&|\|", line.partition("#")[0].removeprefix("$ ")):
            words = shlex.split(part.replace("...", " "))
            if words[:1] != ["ordinate"] or len(words) < 2 or words[1].startswith("-"):
                continue
            assert words[1] in COMMANDS, line
            command, rest = COMMANDS[words[1]], words[2:]
            if hasattr(command, "commands") and rest and not rest[0].startswith("-"):
                assert rest[0] in command.commands, line
                command = command.commands[rest[0]]
            options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {"--help", "-h"}
            assert {word.partition("=")[0] for word in rest if re.match(r"-[-a-zA-Z]", word)} <= options, line
