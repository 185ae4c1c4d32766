import pytest
import torch

from ordinate.analyze.representations import POOLINGS, check_representation, pooling
from ordinate.ground.errors import InputError


def test_poolings_say_which_units_count() -> None:
    tokens, maps = torch.randn(2, 5, 3), torch.randn(2, 3, 4, 4)
    assert torch.allclose(pooling("positions")(tokens), tokens.mean(dim=1))
    assert torch.allclose(pooling("space")(maps), maps.mean(dim=(2, 3)))
    assert torch.equal(pooling("first")(tokens), tokens[:, 0]) and torch.equal(pooling("last")(tokens), tokens[:, -1])
    assert torch.equal(pooling("flatten")(maps), maps.flatten(1))


@pytest.mark.parametrize("name", POOLINGS)
def test_what_is_pooled_already_stays(name: str) -> None:
    x = torch.randn(4, 3)
    assert torch.equal(pooling(name)(x), x)


def test_only_finite_matrices_are_representations() -> None:
    assert check_representation(torch.ones(2, 3)).dtype == torch.float64
    for bad, why in (
        (torch.ones(2, 3, 1), "pool it first"),
        (torch.ones(1, 3), "at least 2 rows"),
        (torch.ones(2, 3) / 0, "not finite in 2 of 2"),
    ):
        with pytest.raises(InputError, match=why):
            check_representation(bad)
    with pytest.raises(InputError, match="unknown pooling"):
        pooling("middle")
