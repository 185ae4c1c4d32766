"""The documentation: guides in MyST markdown, the API from docstrings."""

import re
from importlib import import_module
from inspect import signature
from pathlib import Path

import ordinate
from ordinate.ground.discovery import modules_of
from ordinate.models.base import Model

project = "ordinate"
author = "The ordinate authors"
copyright = "The ordinate authors"
version = release = ordinate.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax", "sphinx.ext.viewcode", "sphinx.ext.doctest"]
html_theme = "furo"
html_title = "ordinate"
exclude_patterns = ["_build"]
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_default_options = {"members": True, "show-inheritance": True}
napoleon_use_rtype = False
napoleon_attr_annotations = False  # the shapes in annotations begin with stars, which a type field reads as emphasis
napoleon_use_ivar = True
nitpicky = False
default_role = "py:obj"
suppress_warnings = ["ref.python"]  # short names such as `level` exist in several modules
doctest_global_setup = "import torch; torch.manual_seed(0)"

ROOMS = {
    "experiment": "The spine",
    "train": "Training",
    "data": "Data",
    "data.controlled": "Data with known features",
    "data.in_context": "In-context prompts",
    "nn": "Parts",
    "nn.mixers": "Token mixers",
    "models": "Models",
    "models.programs": "Programs and the transformers that run them",
    "objectives": "Objectives",
    "adapt": "Adapting",
    "analyze": "Analysing",
    "analyze.in_context": "In-context learning",
    "generate": "Generating",
    "retrieve": "Retrieving",
    "tasks": "Tasks",
    "bench": "Benches",
    "report": "Reporting",
    "ground": "The ground",
}


def _write_api() -> None:
    """One page a room, one section a file: a new file is documented on the day it is written."""
    api = Path(__file__).parent / "api"
    api.mkdir(exist_ok=True)
    for room, title in ROOMS.items():
        lines = [title, "=" * len(title), "", f".. automodule:: ordinate.{room}", "   :no-members:", ""]
        for module in modules_of(f"ordinate.{room}"):
            short = module.removeprefix("ordinate.")
            if short in ROOMS:
                continue
            lines += [short, "-" * len(short), "", f".. automodule:: {module}", ""]
        (api / f"{room}.rst").write_text("\n".join(lines), encoding="utf-8")
    (api / "index.md").write_text("# API\n\n```{toctree}\n" + "\n".join(ROOMS) + "\n```\n", encoding="utf-8")


def _sign_models() -> None:
    """A network is shown with its own arguments, not with the `*args, **kwargs` of the hub's mixin above it."""
    for module in modules_of("ordinate.models"):
        import_module(module)
    waiting = [Model]
    while waiting:
        model = waiting.pop()
        own = signature(model.__init__)
        model.__signature__ = own.replace(parameters=list(own.parameters.values())[1:])
        waiting.extend(model.__subclasses__())


_write_api()
_sign_models()


def _leave_out(app, what, name, thing, skip, options):
    """Members that libraries add to our classes: the getters of a named tuple's fields, which its own docstring describes, and scikit-learn's metadata requests."""
    added = type(thing).__name__ == "_tuplegetter" or (name.startswith("set_") and name.endswith("_request"))
    return True if added else skip


def _escape_prose(app, what, name, thing, options, lines):
    """In prose the star of a shape such as (..., *offsets) begins no emphasis, and the bars of |z| no substitution; between backticks, and in a displayed formula, everything stays as it is."""
    formula = -1  # how far the directive is indented whose lines these are
    for index, line in enumerate(lines):
        indent = len(line) - len(line.lstrip())
        if formula >= 0 and line.strip() and indent <= formula:
            formula = -1
        if line.lstrip().startswith(".. "):
            formula = indent
        if formula < 0:
            parts = re.split(r"(``.*?``|`[^`]*`)", line)
            parts[::2] = [re.sub(r"(?<=[(\s])\*(?=\w+[),])|\|", r"\\\g<0>", part) for part in parts[::2]]
            lines[index] = "".join(parts)


def setup(app):
    """Called by Sphinx."""
    app.connect("autodoc-process-docstring", _escape_prose)
    app.connect("autodoc-skip-member", _leave_out)
