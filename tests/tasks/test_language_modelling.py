import math

import pytest
import torch
from torch import nn

from ordinate.data.text import open_text
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Run
from ordinate.ground.errors import InputError
from ordinate.models.sequence import Sequence
from ordinate.nn.mixers import list_mixers
from ordinate.nn.multiply_adds import count_parameters
from ordinate.tasks.kernel_estimate import Estimate, KernelEstimate
from ordinate.tasks.language_modelling import LanguageModelling
from ordinate.tasks.mixer_scaling import MixerScaling
from ordinate.tasks.training_stability import TrainingStability


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "abc.txt"
    path.write_text("abcdefgh" * 100)
    return open_text(path)


SHAPE = {"steps": 30, "length": 12, "batch_size": 8, "lr": 1e-2, "dim": 16, "depth": 1, "heads": 2}


def test_a_text_that_repeats_is_learnt_and_the_score_is_nats_a_token(text) -> None:
    task = LanguageModelling(text, points=2, **SHAPE)
    outcome = task.run(task.arm("nprf"), Run(0, Setting()))
    assert outcome.metrics["nats"] < 0.5 < math.log(8)
    assert len(outcome.curves["nats"]) == 2
    again = task.run(task.arm("nprf"), Run(0, Setting()))
    assert again.metrics == outcome.metrics
    uniform = nn.Module()
    uniform.forward = lambda tokens: torch.zeros(*tokens.shape, 8)
    assert task.score(uniform, "cpu")["nats"] == pytest.approx(math.log(8))


def test_arms_by_name_have_the_same_number_of_parameters(text) -> None:
    task = LanguageModelling(text, **{**SHAPE, "dim": 32})
    counts = {name: count_parameters(task.arm(name).make(vocabulary=8)) for name in list_mixers()}
    assert max(counts.values()) <= 1.02 * min(counts.values()), counts
    with pytest.raises(InputError, match="unknown mixer"):
        task.arm("softmix")


def test_it_is_opened_by_name_or_path_and_from_the_command_line(text, tmp_path) -> None:
    task = LanguageModelling.from_data(str(tmp_path / "abc.txt"), Setting())
    assert task.length == 64
    assert task.model_arguments() == {"vocabulary": 8}
    assert task.input_card()["vocabulary"] == list("abcdefgh")
    with pytest.raises(InputError, match="no such file"):
        LanguageModelling.from_data(str(tmp_path / "none.txt"), Setting())


class Exploding(Sequence):
    """Its logits are no numbers from the first step on."""

    def forward(self, tokens, *, padding_mask=None):
        return super().forward(tokens) * math.inf


def test_a_run_that_diverges_is_a_result_of_the_stability_task_and_an_error_of_the_other(text) -> None:
    shape = {"dim": 8, "depth": 1, "heads": 2, "max_length": 12}
    arm = Arm("exploding", lambda vocabulary: Exploding(vocabulary=vocabulary, **shape))
    outcome = TrainingStability(text, **SHAPE).run(arm, Run(0, Setting()))
    assert outcome.metrics == {"nats": math.log(8), "diverged": 1.0}
    assert "step 0" in outcome.notes["diverged"]
    calm = TrainingStability(text, **SHAPE).run(TrainingStability(text, **SHAPE).arm("softmax"), Run(0, Setting()))
    assert calm.metrics["diverged"] == 0
    with pytest.raises(InputError, match="loss is"):
        LanguageModelling(text, **SHAPE).run(arm, Run(0, Setting()))


def test_the_stability_task_neither_clips_nor_warms_up(text) -> None:
    recipe = TrainingStability(text, **SHAPE).recipe(Setting())
    assert (recipe.clip, recipe.warmup, recipe.schedule, recipe.rate(0)) == (None, 0, "constant", recipe.lr)


def test_the_exponent_is_that_of_the_times() -> None:
    class Sleepless(nn.Module):
        def forward(self, x):
            return x

    task = MixerScaling(lengths=(8, 16, 32), dim=4, repeats=1)
    outcome = task.run(Arm("idle", lambda dim, max_length: Sleepless()), Run(0, Setting()))
    assert {"exponent", "seconds"} == outcome.metrics.keys()
    assert [x for x, _ in outcome.curves["seconds"]] == [8.0, 16.0, 32.0]
    low, high = outcome.notes["interval"]
    assert low <= outcome.metrics["exponent"] <= high
    assert task.run(task.arm("nprf"), Run(0, Setting())).parameters > 0
    with pytest.raises(InputError, match="at least three"):
        MixerScaling(lengths=(8, 16))
    with pytest.raises(InputError, match="leave out --data"):
        MixerScaling.from_data("text", Setting())


def test_the_measured_error_of_features_is_the_closed_form_s() -> None:
    task = KernelEstimate(pairs=300, draws=30)
    unit = task.run(Arm("unit", lambda: Estimate(1.0, 64)), Run(0, Setting())).metrics
    assert unit["error"] == pytest.approx(unit["expected"], rel=0.15)
    far = task.run(Arm("far", lambda: Estimate(2.0, 64)), Run(0, Setting())).metrics
    assert far["error"] > 5 * unit["error"]
    assert far["attention_error"] > unit["attention_error"]
