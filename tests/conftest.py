"""What every test stands on: shapes and dtypes in signatures are checked (jaxtyping through beartype), one thread a worker, where data is, and no example with a time limit."""

import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
_SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"
if "ORDINATE_DATA" not in os.environ and _SHARED.is_dir():
    os.environ["ORDINATE_DATA"] = str(_SHARED)

from jaxtyping import install_import_hook  # noqa: E402

import tests.typechecking  # noqa: E402, F401 - the hook names it

install_import_hook("ordinate", "tests.typechecking.check")

import hypothesis  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402

torch.set_num_threads(1)
hypothesis.settings.register_profile("ordinate", deadline=None)  # how long an example takes is the machine's affair
hypothesis.settings.load_profile("ordinate")


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)


def pytest_collectstart(collector: pytest.Collector) -> None:
    """A test file's constants are drawn from the same state whatever was collected before it."""
    if isinstance(collector, pytest.Module):
        torch.manual_seed(0)
