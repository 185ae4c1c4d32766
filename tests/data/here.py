"""Tests on real data say what is absent where it is."""

import os
from pathlib import Path

import pytest

__all__ = ["needs"]


def needs(name: str) -> pytest.MarkDecorator:
    """Skip without the named dataset under $ORDINATE_DATA."""
    folder = os.environ.get("ORDINATE_DATA")
    return pytest.mark.skipif(not (folder and Path(folder, name).is_dir()), reason=f"ORDINATE_DATA has no {name}")
