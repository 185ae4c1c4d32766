import pytest
import torch

from ordinate.data.words import WordData
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Run
from ordinate.ground.errors import InputError
from ordinate.models.paired_language_model import PairedLanguageModel
from ordinate.models.placed_language_model import PlacedLanguageModel
from ordinate.tasks.order_search import OrderedNGrams
from ordinate.tasks.paired_order_search import PairedNGrams

WORDS = WordData("cycle", torch.arange(400) % 4, torch.arange(60) % 4, list("abcd"))
OPTIONS = {"steps": 4, "warmup": 2, "batch_size": 8, "dim": 8, "tested": 40}


def test_arms_have_one_softmax_or_are_those_of_the_other_task() -> None:
    task = PairedNGrams(WORDS, **OPTIONS)
    one, other = task.arm("easy"), task.arm("easy-factored")
    assert isinstance(one.make(**task.model_arguments()), PairedLanguageModel) and one.role == "method"
    assert isinstance(other.make(**task.model_arguments()), PlacedLanguageModel) and other.role == "baseline"
    assert dict(one.search) == dict(other.search)
    run = Run(0, Setting(seeds=(0,)))
    assert (
        task.run(task.arm("natural-factored"), run).metrics
        == OrderedNGrams(WORDS, **OPTIONS).run(task.arm("natural-factored"), run).metrics
    )
    assert task.run(one, run).metrics.keys() == {metric.name for metric in task.metrics}
    with pytest.raises(InputError, match="unknown arm"):
        task.arm("sideways-factored")


def test_one_softmax_learns_a_text_that_repeats() -> None:
    task = PairedNGrams(WORDS, **{**OPTIONS, "steps": 120, "dim": 16, "batch_size": 32, "lr": 2e-2})
    found = task.run(task.arm("natural"), Run(0, Setting(seeds=(0,)))).metrics
    assert found["perplexity"] < 4**0.2 + 0.4  # only the first word has to be guessed
