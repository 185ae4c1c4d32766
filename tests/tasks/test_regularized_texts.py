import math
from pathlib import Path

import pytest
import torch

from ordinate.data.streams import Streams
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Run
from ordinate.ground.errors import InputError
from ordinate.models.regularized_lstm import RegularizedLSTM
from ordinate.objectives.carried_tokens import CarriedTokens
from ordinate.tasks.regularized_texts import MEDIUM, RegularizedTexts, TextRecipe, carried_perplexity
from ordinate.train.fit import StepEnd, fit

SMALL = TextRecipe(dim=16, spread=0.5, rows=4, length=8, dropout=0.1, epochs=3, held=2, lr=1.0)
RUN = Run(0, Setting(seeds=(0,)))


def cycle(count: int) -> torch.Tensor:
    return torch.arange(count) % 5


def test_the_published_recipe() -> None:
    recipe = MEDIUM.over(100)
    assert (recipe.steps, recipe.optimizer, recipe.momentum, recipe.clip, recipe.weight_decay) == (3900, "sgd", 0.0, 5.0, 0.0)
    assert [recipe.rate(100 * epoch) for epoch in (0, 5, 6, 38)] == pytest.approx([1, 1, 1 / 1.2, 1.2**-33])


def test_a_text_that_repeats_is_learnt_in_any_order_and_runs_repeat() -> None:
    task = RegularizedTexts(cycle(2_000), cycle(200), 5, SMALL)
    for order in ("natural", "reversed"):
        found = task.run(task.arm(order), RUN)
        assert found.metrics.keys() == {metric.name for metric in task.metrics}
        assert found.metrics["perplexity"] < 1.5
    assert task.run(task.arm("natural"), RUN).metrics == task.run(task.arm("natural"), RUN).metrics


def test_a_run_that_was_stopped_goes_on_with_its_state(tmp_path: Path) -> None:
    streams, recipe = Streams(cycle(400), 4, 8), SMALL.over(12)

    def train(folder: Path | None, resume: bool = False, stop: int | None = None) -> RegularizedLSTM:
        torch.manual_seed(0)
        model = RegularizedLSTM(5, dim=16, dropout=0.1, spread=0.5)

        def interrupt(moment: StepEnd) -> None:
            if moment.step == stop:
                raise KeyboardInterrupt

        fit(
            model,
            CarriedTokens(2, 4, 16),
            streams,
            recipe,
            seed=0,
            folder=folder,
            resume=resume,
            checkpoint_every=5,
            callbacks=(interrupt,),
        )
        return model

    whole = train(None)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", stop=7)
    resumed = train(tmp_path / "run", resume=True)
    assert all(torch.equal(one, other) for one, other in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_perplexity_is_carried_through_the_streams() -> None:
    model, ids = RegularizedLSTM(5, dim=6, spread=1.0).eval(), torch.randint(5, (101,))
    streams = Streams(ids, 1, 10)
    nats = -model(ids[None, :-1])[0].gather(1, ids[1:, None]).double().mean()
    assert carried_perplexity(model, streams, 10) == pytest.approx(math.exp(float(nats)), rel=1e-5)


def test_words_of_a_file_make_a_task_and_others_are_refused(tmp_path: Path) -> None:
    (tmp_path / "text.txt").write_text("the cat sat on the mat . " * 600, encoding="utf-8")
    task = RegularizedTexts.from_data(str(tmp_path / "text.txt"), Setting())
    assert task.vocabulary == 7 and task.plan.dim == 32
    assert RegularizedTexts.from_data(str(tmp_path / "text.txt"), Setting(scale="gpu")).plan == MEDIUM
    with pytest.raises(InputError, match="must be an OrderedText"):
        task.run(Arm("any", lambda vocabulary: None), RUN)
    with pytest.raises(InputError, match="unknown arm"):
        task.arm("sideways")
    with pytest.raises(InputError, match="does not fill a stretch"):
        RegularizedTexts(cycle(30), cycle(200), 5, SMALL).run(task.arm("natural"), RUN)
