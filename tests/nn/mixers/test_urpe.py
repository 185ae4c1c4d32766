import pytest
import torch

from ordinate.analyze.position_awareness import construct_position_code, identical_token_probe, row_sum_spread
from ordinate.ground.errors import InputError
from ordinate.models.registry import create_model
from ordinate.nn.mixers import create_mixer
from ordinate.train.optimizers import parameter_groups


def x(length: int = 9) -> torch.Tensor:
    return torch.randn(2, length, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_it_starts_as_attention_with_a_relative_bias() -> None:
    torch.manual_seed(0)
    universal = create_mixer("urpe", 12, heads=2, max_length=16).double()
    torch.manual_seed(0)
    relative = create_mixer("urpe", 12, heads=2, max_length=16, universal=False).double()
    assert torch.equal(universal(x()), relative(x()))
    softmax = create_mixer("softmax-rpe", 12, heads=2, max_length=16).double()
    softmax.heads.load_state_dict(relative.heads.state_dict())
    softmax.relative.table.data = relative.bias_table.table.data
    assert torch.allclose(softmax(x()), relative(x()), atol=1e-12)


def test_row_sums_are_one_until_the_factor_moves() -> None:
    mixer = create_mixer("urpe", 12, heads=2, max_length=16).double()
    assert row_sum_spread(mixer.weights(x())) < 1e-6
    torch.nn.init.normal_(mixer.scale_table.table)
    assert row_sum_spread(mixer.weights(x())) > 0.1


def test_indices_of_ones_own_take_the_place_of_offsets() -> None:
    mixer = create_mixer("urpe", 12, heads=2, max_length=9).double()
    torch.nn.init.normal_(mixer.scale_table.table)
    places = torch.arange(9)
    offsets = places - places[:, None] + 8
    real = torch.ones(2, 9, dtype=torch.bool)
    real[1, 6:] = False
    wanted = mixer(x(), padding_mask=real)
    assert torch.allclose(mixer(x(), padding_mask=real, bias_index=offsets, scale_index=offsets), wanted, atol=1e-12)
    assert torch.allclose(mixer(x(), padding_mask=real, scale_index=offsets.expand(2, -1, -1)), wanted, atol=1e-12)
    graph = torch.randint(0, 17, (2, 9, 9), generator=torch.Generator().manual_seed(1))
    swapped = torch.tensor([3, 1, 2, 0, *range(4, 9)])
    mixed = mixer(x(), bias_index=graph, scale_index=graph)
    again = mixer(x()[:, swapped], bias_index=graph[:, swapped][:, :, swapped], scale_index=graph[:, swapped][:, :, swapped])
    assert torch.allclose(again, mixed[:, swapped], atol=1e-12), "nodes of a graph have no order"
    for index, said in ((graph[:, :4], "integers"), (graph + 17, "0..16")):
        with pytest.raises(InputError, match=said):
            mixer(x(), scale_index=index)


def test_positions_are_a_matter_of_row_sums() -> None:
    code = construct_position_code(7, dim=4, heads=2)
    v = torch.tensor([1.0, -2.0, 3.0, 0.5])
    y = code(v.expand(1, 7, 4))[0]
    assert torch.allclose(y, torch.arange(1, 8)[:, None] / 7 * v, atol=1e-6)


@pytest.mark.parametrize("depth", [1, 3])
def test_identical_tokens_stay_identical_without_the_factor_whatever_the_weights(depth: int) -> None:
    def model(**arguments: object) -> torch.nn.Module:
        torch.manual_seed(1)
        made = create_model("urpe-encoder", vocabulary=7, dim=16, depth=depth, heads=2, max_length=12, **arguments).double().eval()
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        return made

    assert identical_token_probe(model(universal=False), 12) < 1e-10
    assert identical_token_probe(model(universal=False, relative=False), 12) < 1e-10
    assert identical_token_probe(model(), 12) > 1e-2
    with pytest.raises(InputError, match="2 tokens"):
        identical_token_probe(model(), 1)


def test_tables_are_shared_among_layers_or_not_and_never_decayed() -> None:
    shape = {"vocabulary": 7, "dim": 16, "depth": 3, "heads": 2, "max_length": 12}
    shared, own = create_model("urpe-encoder", **shape), create_model("urpe-encoder", share=False, **shape)
    count = [sum(parameter.numel() for parameter in model.parameters()) for model in (shared, own)]
    assert count[1] - count[0] == 2 * 2 * 2 * 23
    decayed = {
        id(parameter) for group in parameter_groups(own.named_parameters(), 0.1) if group["weight_decay"] for parameter in group["params"]
    }
    assert not any(id(parameter) in decayed for name, parameter in own.named_parameters() if "table" in name)
    with pytest.raises(InputError, match="beyond"):
        shared(torch.zeros(1, 13, dtype=torch.int64))
