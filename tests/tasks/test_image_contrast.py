from functools import partial

from ordinate.experiment.comparison import Comparison
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm
from ordinate.models.mlp import MLP
from ordinate.objectives.base import create_objective
from ordinate.tasks.image_contrast import ImageContrast

SETTING = Setting(seeds=(0,), steps=150)


def test_views_are_told_apart_and_neighbours_have_the_same_class() -> None:
    task = ImageContrast.from_data("digits", SETTING)
    batch = task.batches(0, "contrastive")(3)
    assert {"query", "key"} <= batch.keys() and not batch["query"].equal(batch["key"])
    table = Comparison("contrast", task, [Arm("mlp", partial(MLP, hidden=(64,), num_features=16))]).run(SETTING)
    losses = [value for _, value in table.rows[0].curves["loss"]]
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    assert table.value("mlp", "knn") > 60


def test_nested_sizes_are_completed_by_the_width() -> None:
    objective = create_objective("contrastive", MLP(num_features=16), matryoshka=[4, 8])
    assert objective.loss.dims == (4, 8, 16)
