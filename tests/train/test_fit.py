import json
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from ordinate.ground.errors import InputError
from ordinate.train.fit import Diverged, StepEnd, fit
from ordinate.train.recipe import Recipe
from tests.train.small import RECIPE, Squares, batches, in_a_process, make, run, same


def test_training_lowers_the_loss_and_evaluates_the_average(tmp_path: Path) -> None:
    weights, history = run(None, recipe=Recipe(steps=300, lr=3e-2))
    losses = [value for _, value in history.curves["loss"]]
    assert sum(losses[-10:]) < 0.4 * sum(losses[:10])  # dropout leaves noise
    assert [step for step, _ in history.curves["mean"]] == list(range(10, 301, 10))
    assert history.best == min(((step, value) for step, value in history.curves["mean"]), key=lambda pair: pair[1])
    assert int(weights["objective.updates"]) == 300


@pytest.mark.parametrize("stop", [1, 7, 20, 39])
def test_a_run_stopped_between_any_two_steps_ends_with_the_same_bits(tmp_path: Path, stop: int) -> None:
    whole, curves = run(None)

    def interrupt(end: StepEnd) -> None:
        if end.step == stop:
            signal.raise_signal(signal.SIGINT)

    model, objective = make()
    with pytest.raises(KeyboardInterrupt):
        fit(model, objective, batches, RECIPE, seed=3, folder=tmp_path, callbacks=[interrupt])
    resumed, history = run(tmp_path, resume=True)
    assert same(whole, resumed)
    assert history.curves["loss"] == curves.curves["loss"]
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(1, 41))


def test_a_finished_run_is_read_back_and_not_run_again(tmp_path: Path) -> None:
    whole, _ = run(tmp_path)
    again, history = run(tmp_path, resume=True, pause=100.0)
    assert same(whole, again) and history.best is not None


def test_workers_change_nothing(tmp_path: Path) -> None:
    assert same(run(None)[0], run(None, workers=2)[0])


def test_the_generators_of_the_caller_are_left_alone() -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    run(None)
    assert torch.equal(torch.rand(3), expected)


def test_pieces_of_a_batch_add_up_to_the_whole() -> None:
    def trained(accumulate: int) -> torch.Tensor:
        torch.manual_seed(0)
        model = nn.Linear(6, 1).double()

        def make_batch(step: int, rank: int = 0, world: int = 1) -> dict[str, torch.Tensor]:
            return {key: value.double() for key, value in batches(step).items()}

        fit(model, Squares(), make_batch, Recipe(steps=5, accumulate=accumulate, precision="64-true"))
        return model.weight

    torch.testing.assert_close(trained(1), trained(4), atol=1e-12, rtol=0)


def test_every_optimizer_trains() -> None:
    for recipe in (
        Recipe(steps=100, lr=1e-2),
        Recipe(steps=100, lr=1e-2, optimizer="sgd"),
        Recipe(steps=10, lr=1.0, optimizer="lbfgs", schedule="constant"),
    ):
        torch.manual_seed(0)
        model = nn.Linear(6, 1)
        history = fit(model, lambda model, batch: ((model(batch["x"]) - batch["y"]) ** 2).mean(), batches, recipe)
        assert history.last("loss") < 0.5 * history.curves["loss"][0][1], recipe.optimizer


def test_bfloat16_trains() -> None:
    _, history = run(None, recipe=Recipe(steps=60, lr=3e-2, precision="bf16-mixed"))
    assert history.last("loss") < history.curves["loss"][0][1]


def test_frozen_and_slowed_parameters(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 1))
    model[0].requires_grad_(False)
    before = [layer.weight.clone() for layer in model]
    fit(model, Squares(), batches, Recipe(steps=3, optimizer="sgd", momentum=0.0), scale=lambda name: 0.0 if name.startswith("1.") else 1.0)
    moved = [not torch.equal(old, layer.weight) for old, layer in zip(before, model, strict=True)]
    assert moved == [False, False, True]


def test_a_loss_that_is_no_number_names_step_rows_and_checkpoint(tmp_path: Path) -> None:
    class Poisoned:
        def __call__(self, step: int, rank: int = 0, world: int = 1) -> dict[str, torch.Tensor]:
            batch = batches(step)
            if step == 12:
                batch["x"][3] = float("nan")
            return batch

        def rows(self, step: int) -> list[int]:
            return [1000 + step, 7]

    model, objective = make()
    with pytest.raises(
        Diverged, match=r"the loss is nan at step 12, rows 1012, 7 of the data: .* the last good checkpoint is .*step-00000010"
    ):
        fit(model, objective, Poisoned(), RECIPE, folder=tmp_path, checkpoint_every=5)
    assert all(bool(torch.isfinite(tensor).all()) for name, tensor in model.state_dict().items() if "weight" in name)
    model, objective = make()
    with pytest.raises(Diverged, match="there is no checkpoint yet"):
        fit(model, objective, Poisoned(), RECIPE)


def test_a_folder_belongs_to_one_run(tmp_path: Path) -> None:
    run(tmp_path)
    with pytest.raises(InputError, match="holds a run already"):
        run(tmp_path)
    with pytest.raises(InputError, match="another recipe"):
        run(tmp_path, resume=True, recipe=Recipe(steps=41))
    with pytest.raises(InputError, match="another model"):
        fit(nn.Linear(6, 1), Squares(), batches, RECIPE, seed=3, folder=tmp_path, resume=True)


@pytest.mark.parametrize("file", ["state.json", "state.safetensors"])
def test_a_damaged_checkpoint_is_named(tmp_path: Path, file: str) -> None:
    run(tmp_path)
    path = next((tmp_path / "checkpoints").glob("step-*")) / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"damaged|not a JSON file"):
        run(tmp_path, resume=True)


def test_what_cannot_be_trained_is_refused() -> None:
    model, objective = make()
    with pytest.raises(InputError, match="accumulate=3 does not divide"):
        fit(model, objective, batches, Recipe(steps=1, accumulate=3))
    with pytest.raises(InputError, match="nothing to train"):
        fit(nn.Identity(), lambda model, batch: batch["x"].sum(), batches, Recipe(steps=1))
    with pytest.raises(InputError, match="best asks for 'accuracy', and evaluate gives mean"):
        fit(model, objective, batches, Recipe(steps=1), evaluate=lambda judged: {"mean": 0.0}, best="accuracy")
    with pytest.raises(InputError, match="workers"):
        fit(model, objective, batches, Recipe(steps=1), workers=-1)
    with pytest.raises(InputError, match="lbfgs treats all parameters alike"):
        fit(model, objective, batches, Recipe(steps=1, optimizer="lbfgs", weight_decay=0.1))


def test_control_c_keeps_the_step_at_hand(tmp_path: Path) -> None:
    status = in_a_process(lambda: run(tmp_path / "run", pause=0.05), kill_after=0.7, number=signal.SIGINT)
    assert status == 130
    (checkpoint,) = (tmp_path / "run" / "checkpoints").glob("step-*")
    assert 1 <= int(checkpoint.name.removeprefix("step-")) < 40
    assert same(run(None)[0], run(tmp_path / "run", resume=True)[0])


def test_tensorboard_files_are_written(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    run(tmp_path, tensorboard=True)
    assert list((tmp_path / "tensorboard").glob("events*"))
