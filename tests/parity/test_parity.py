"""Our modules give the outputs of the papers' official code, on every case recorded under $ORDINATE_PARITY.

A paper that is built and has recorded cases must have an adapter in `adapters/`; a case that its adapter does not know fails.
"""

from importlib import import_module
from pathlib import Path

import pytest

from ordinate.papers import list_papers
from tests.parity.case import PARITY, Case, cases

BUILT = [path for path in cases() if path.parent.name in list_papers()]


@pytest.mark.skipif(not PARITY.is_dir(), reason=f"no recorded official outputs at {PARITY} (set ORDINATE_PARITY)")
@pytest.mark.parametrize("path", BUILT, ids=[f"{path.parent.name}/{path.stem}" for path in BUILT])
def test_outputs_of_the_official_code(path: Path) -> None:
    case = Case(path)
    import_module(f"tests.parity.adapters.{case.slug.replace('-', '_')}").check(case)
