from functools import partial

import torch

from ordinate.data.controlled.sequences import FirstIsIn, Occurs
from ordinate.experiment.setting import Setting
from ordinate.experiment.task import Arm, Run
from ordinate.tasks.encoder_decoder_plan import encoder_decoder_plan
from ordinate.tasks.feature_bias import FeatureBias
from ordinate.train.recipe import Recipe


def test_the_encoder_is_measured_in_either_order() -> None:
    features = [FirstIsIn((0, 1)), Occurs(3)]
    task = FeatureBias(Recipe(steps=150, lr=1e-2), ("one", "other"), examples=2_000, tested=200, members=1, batch_size=64)
    for order in ((0, 1), (1, 0)):
        arm = Arm("plan", partial(encoder_decoder_plan, features, order, length=4, alphabet=4, dim=16, depth=1))
        found = task.run(arm, Run(0, Setting(seeds=(0,))))
        assert found.metrics["accuracy one"] > 70 and 0 < found.metrics["joint"] <= 100


def test_its_data_are_those_of_the_decoder_s_plan() -> None:
    plan = encoder_decoder_plan([FirstIsIn((0,)), Occurs(1)], (1, 0), length=5, alphabet=4)
    sample = plan.data(0).sample(8)
    assert sample.x.shape == (8, 8) and plan.make(2)(sample.x).shape == (8, 2) and plan.layer == "norm"
    assert torch.equal(sample.x[:, 5], torch.full((8,), 4))
