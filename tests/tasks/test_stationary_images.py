"""Stationary features through `train_run`: the model embeds to them, and the card says what other runs must share."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ordinate.adapt.model_sequence import cards_differ
from ordinate.experiment.setting import Setting
from ordinate.ground.errors import InputError
from ordinate.tasks.stationary_images import StationaryImages
from ordinate.tasks.training_run import Request, load_run, train_run


def _train(folder: Path, model: str = "mlp", steps: int = 3, **changes: Any) -> dict[str, float]:
    request = Request(model, "stationary", "digits", **{"arguments": {"num_features": 15}, **changes})
    return train_run(request, Setting(steps=steps), folder)


def test_a_run_embeds_to_the_stationary_features_and_its_card_names_table_and_rows(tmp_path: Path) -> None:
    result = _train(tmp_path / "run", steps=150)
    assert result["accuracy"] > 60 and result["identified"] > 60  # chance is 10
    run = load_run(tmp_path / "run")
    assert run.model.embed(torch.randn(2, 1, 8, 8)).shape == (2, 15)  # type: ignore[operator]
    agreed = run.card["agreed"]
    assert agreed["classes"] == 16 and agreed["places"] == list(range(15, 5, -1)) and len(agreed["prototypes"]) == 32
    assert run.card["input"]["classes"] == [str(digit) for digit in range(10)]


def test_runs_of_one_table_agree_and_others_are_told_apart(tmp_path: Path) -> None:
    _train(tmp_path / "plain")
    _train(tmp_path / "again", arguments={"num_features": 15, "hidden": [12]})
    _train(tmp_path / "nested", options={"dims": [4, 8]})
    _train(tmp_path / "wider", arguments={"num_features": 16})
    cards = {name: load_run(tmp_path / name).card for name in ("plain", "again", "nested", "wider")}
    assert cards["nested"]["agreed"]["dims"] == [4, 8, 15]
    assert cards_differ(cards["plain"], cards["again"]) is None
    assert "turned" in str(cards_differ(cards["plain"], cards["nested"])) and "16 and 17" in str(
        cards_differ(cards["plain"], cards["wider"])
    )


def test_a_projected_encoder_has_any_width(tmp_path: Path) -> None:
    inner = {"encoder": "mlp", "num_features": 11, "arguments": {"hidden": [6], "num_features": 4}}
    _train(tmp_path / "run", "projected", arguments=inner)
    assert load_run(tmp_path / "run").model.embed(torch.randn(2, 1, 8, 8)).shape == (2, 11)  # type: ignore[operator]


def test_a_width_that_is_not_the_table_s_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="set num_features=31"):
        _train(tmp_path / "run", options={"classes": 32})
    task = StationaryImages.from_data("digits", Setting())
    with pytest.raises(InputError, match="vision encoder"):
        task.score(nn.Linear(2, 2), "cpu")
