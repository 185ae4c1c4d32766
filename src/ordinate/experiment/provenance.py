"""Where a number comes from: the machine, the versions, the git revision, and the text of the sources that it depends on."""

import ast
import hashlib
import importlib.util
import os
import platform
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

__all__ = ["changed_sources", "machine", "revision", "source_hashes", "versions"]

_PACKAGES = ("ordinate", "torch", "lightning-fabric", "numpy", "scipy", "scikit-learn", "faiss-cpu", "torch-geometric", "transformers")


def machine() -> dict[str, Any]:
    """What kind of machine this is; nothing that names it."""
    cpu = platform.processor() or platform.machine()
    with suppress(OSError, StopIteration):
        cpu = next(
            line.split(":", 1)[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")
        )
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else None
    gpus = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": cpu,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "memory_gib": round(memory / 2**30, 1) if memory else None,
        "gpus": gpus,
    }


def versions() -> dict[str, str]:
    """Python's version and those of the packages that numbers depend on, where they are installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def revision() -> dict[str, Any] | None:
    """The git commit of the sources and whether they differ from it; None for an installed package without a repository."""
    package = Path(__file__).parents[1]
    try:
        commit = subprocess.run(["git", "-C", str(package), "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changes = subprocess.run(
            ["git", "-C", str(package), "status", "--porcelain", "--", "*.py"], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"commit": commit, "dirty": bool(changes.strip())}


def _file_of(module: str) -> Path | None:
    try:
        spec = importlib.util.find_spec(module)
    except ModuleNotFoundError:
        return None
    return Path(spec.origin) if spec and spec.origin and spec.origin.endswith(".py") else None


@cache
def _meaning(source: str) -> tuple[str, frozenset[str]]:
    """A hash of the code of a file, without its docstrings, comments, layout and claims' notes, and the modules of ours that it imports."""
    tree = ast.parse(source)
    imported: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported.update(name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            imported.add(node.module)
            imported.update(f"{node.module}.{name.name}" for name in node.names)
        if (
            isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
            and ast.get_docstring(node, clean=False) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Claim":
            node.keywords = [keyword for keyword in node.keywords if keyword.arg != "note"]  # what explains a verdict is written after it
    digest = hashlib.blake2b(repr(_structure(tree)).encode(), digest_size=8).hexdigest()
    return digest, frozenset(name for name in imported if name.startswith("ordinate."))


def _structure(value: Any) -> Any:
    """A syntax tree as nested tuples. Empty fields are left out: Pythons differ in which of them they have, and evidence made with one is not stale under another."""
    if isinstance(value, ast.AST):
        fields = ((name, _structure(field)) for name, field in ast.iter_fields(value) if field is not None and field != [])
        return (type(value).__name__, *fields)
    return tuple(map(_structure, value)) if isinstance(value, list) else value


def source_hashes(roots: Iterable[str]) -> dict[str, str]:
    """A hash for every module of ours that `roots` depend on, by name.

    The imports are followed as text. Docstrings, comments, layout and the notes of claims do not count. The spine itself (`ordinate.experiment`) is left out: it measures and records, and the verdicts that it
    draws are drawn again from the recorded rows by the tests.
    """
    hashes: dict[str, str] = {}
    waiting = sorted(roots)
    while waiting:
        module = waiting.pop()
        if module in hashes or module.startswith("ordinate.experiment"):
            continue
        path = _file_of(module)
        if path is None:
            continue
        hashes[module], imported = _meaning(path.read_text(encoding="utf-8"))
        waiting.extend(imported)
    return dict(sorted(hashes.items()))


def changed_sources(recorded: dict[str, str], roots: Iterable[str]) -> list[str]:
    """The modules whose code is not what it was when `recorded` was made."""
    now = source_hashes(roots)
    return sorted(name for name in recorded.keys() | now.keys() if recorded.get(name) != now.get(name))
