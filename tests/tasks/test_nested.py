"""Nested embeddings and the search among them, on the built-in digits and in a few steps."""

from functools import partial

import pytest

from ordinate.experiment.comparison import Comparison
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm
from ordinate.ground.errors import InputError
from ordinate.models.mlp import MLP
from ordinate.tasks.nested_embeddings import NestedEmbeddings, fixed_feature, nested, plain, retrofitted
from ordinate.tasks.nested_search import NestedSearch

SETTING = Setting(seeds=(0,))


def embeddings(**options) -> NestedEmbeddings:
    return NestedEmbeddings("digits", partial(MLP, hidden=(32,), num_features=16), (4, 8, 16), between=(6,), steps=40, lr=1e-2, **options)


def test_arms_share_the_encoder_and_are_judged_at_every_size() -> None:
    arms = [
        Arm("nested", nested((4, 8, 16))),
        Arm("plain", plain(("pca",))),
        Arm("fixed", fixed_feature(4)),
        Arm("retro", retrofitted((4, 8, 16), train="head")),
    ]
    table = Comparison("small", embeddings(), arms).run(SETTING)
    for arm in table.arms:
        assert table.value(arm, "knn@16") > 70 and {"knn@6", "linear@4"} <= table.of(arm)[0].metrics.keys()
    assert table.value("nested", "head@4") > 50
    assert {"pca@4", "pca@8"} <= table.of("plain")[0].metrics.keys()
    row = table.of("nested")[0].metrics
    assert 4 <= row["cascade_dim"] <= row["cascade_dim_cumulative"] and row["oracle"] >= row["head@16"]
    with pytest.raises(InputError, match="no metric 'cascade'"):
        table.values("plain", "cascade")


def test_an_encoder_of_another_width_is_refused() -> None:
    task = NestedEmbeddings("digits", partial(MLP, num_features=8), (4, 16), steps=1)
    with pytest.raises(InputError, match="8 wide, and the largest size is 16"):
        Comparison("wrong", task, [Arm("nested", nested((4, 16)))]).run(SETTING)


def test_every_way_of_searching_finds_and_costs_what_it_should() -> None:
    task = NestedSearch("digits", (8, 16, 32), steps=40, most_trained=600, most_tested=50)
    table = Comparison("search", task, [task.arm(name) for name in ("full", "full-8", "adaptive", "funnel")]).run(SETTING)
    assert table.value("full", "flops") == 600 * 32 and table.value("full-8", "flops") == 600 * 8
    assert table.value("adaptive", "flops") == 600 * 8 + 200 * 32
    assert table.value("funnel", "flops") == 600 * 8 + 400 * 16 + 200 * 32
    assert table.value("adaptive", "map@10") == pytest.approx(table.value("full", "map@10"), abs=3)
    assert table.value("full", "top1") > 80


def test_arms_by_name() -> None:
    with pytest.raises(InputError, match="no arm 'fixed-5'"):
        NestedEmbeddings.from_data("digits", SETTING).arm("fixed-5")
    assert NestedEmbeddings.from_data(None, SETTING).arm("nested-tied").role == "method"
    with pytest.raises(InputError, match="no arm 'faster'"):
        NestedSearch.from_data(None, SETTING).arm("faster")
