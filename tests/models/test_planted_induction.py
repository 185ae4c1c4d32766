import pytest
import torch

from ordinate.analyze.head_outputs import HeadedModel
from ordinate.analyze.head_patching import ablation_costs, mean_values
from ordinate.data.repeated_tokens import repeated_tokens
from ordinate.ground.errors import InputError
from ordinate.models.planted_induction import planted_induction


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_model_foretells_repeats_by_its_two_heads_and_by_no_other(seed: int) -> None:
    planted = planted_induction(seed)
    headed, contrast = HeadedModel(planted.model), repeated_tokens(60, seed=seed)
    with torch.no_grad():
        assert contrast.accuracy(headed.last_logits(contrast.positives)) > 0.9
        assert contrast.accuracy(headed.last_logits(contrast.negatives)) < 0.12
    values = mean_values(headed, contrast.positives.followed_by(contrast.negatives))
    costs = ablation_costs(headed, contrast, values, accuracy=True)
    inside = headed.grid(planted.truth) > 0
    assert int(inside.sum()) == 2 and float(costs[inside].min()) > 0.8 and float(costs[~inside].abs().max()) < 0.05
    assert planted.roles["previous token"][0] < planted.roles["induction"][0]
    assert planted.edges == ((planted.truth[0], planted.truth[1]), (planted.truth[1], None))


def test_places_differ_by_seed_and_the_same_seed_gives_the_same_model() -> None:
    assert len({planted_induction(seed).truth for seed in range(8)}) > 3
    one, two = planted_induction(3), planted_induction(3)
    assert all(torch.equal(a, b) for a, b in zip(one.model.parameters(), two.model.parameters(), strict=True))


def test_the_previous_token_head_looks_one_back_everywhere() -> None:
    planted = planted_induction(1, noise=0.0)
    headed = HeadedModel(planted.model)
    layer, head = planted.roles["previous token"]
    from ordinate.analyze.capture import Activations

    tokens = repeated_tokens(3).positives.tokens
    name, part = headed.place((layer, head))
    with torch.no_grad(), Activations(planted.model, [name]) as seen:
        planted.model(tokens)
    copied = seen[name][..., part].argmax(dim=-1)
    assert torch.equal(copied[:, 1:], tokens[:, :-1]) and torch.equal(copied[:, 0], tokens[:, 0])


def test_what_has_no_room_is_refused() -> None:
    with pytest.raises(InputError, match="2 layers"):
        planted_induction(layers=1)
    with pytest.raises(InputError, match="no room"):
        planted_induction(heads=3)
    with pytest.raises(InputError, match="no room"):
        planted_induction(length=33)
