"""Two processes under torchrun do what one does with the whole batch."""

import subprocess
import sys
from pathlib import Path

import torch
from safetensors.torch import load_file

SCRIPT = """
import sys
from pathlib import Path
import torch
from torch import nn
from safetensors.torch import save_file
from ordinate.data.batches import Shuffled, TensorSource
from ordinate.train.fit import fit
from ordinate.train.recipe import Recipe

torch.set_num_threads(1)
torch.manual_seed(0)
model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1)).double()
x = torch.randn(64, 5, dtype=torch.float64)
batches = Shuffled(TensorSource(x=x, y=x.prod(dim=1, keepdim=True)), 16, seed=1)
history = fit(model, lambda model, batch: ((model(batch["x"]) - batch["y"]) ** 2).mean(), batches, Recipe(steps=12, lr=1e-2, clip=1.0, accumulate=2, precision="64-true"), folder=Path(sys.argv[1]))
state = model.state_dict() | {"loss": torch.tensor([value for _, value in history.curves["loss"]])}
if history.curves and __import__("os").environ.get("RANK", "0") == "0":
    save_file(state, sys.argv[2])
"""


def test_two_processes_give_what_one_gives(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    one, two = tmp_path / "one.safetensors", tmp_path / "two.safetensors"
    subprocess.run([sys.executable, script, tmp_path / "run-1", one], check=True, capture_output=True)
    launched = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", script, tmp_path / "run-2", two],
        capture_output=True,
        text=True,
    )
    assert launched.returncode == 0, launched.stderr[-2000:]
    alone, together = load_file(one), load_file(two)
    assert alone.keys() == together.keys()
    for name in alone:
        torch.testing.assert_close(
            together[name], alone[name], atol=1e-6 if name == "loss" else 1e-12, rtol=0, msg=name
        )  # losses are recorded in single precision
    assert list((tmp_path / "run-2" / "checkpoints").glob("step-00000012"))
