import pytest
import torch

from ordinate.data.controlled.sequences import ControlledSequences, CountParity, FirstIsIn, MoreOf, Occurs, PairEqual
from ordinate.ground.errors import InputError


def test_every_combination_of_features_is_equally_frequent_and_what_it_says() -> None:
    features = [FirstIsIn((0, 1)), Occurs(2), PairEqual(1, 4), CountParity(3)]
    sample = ControlledSequences(features, 8, seed=1).sample(1_603)
    code = (sample.features * torch.tensor([8, 4, 2, 1])).sum(dim=1)
    assert set(code.bincount(minlength=16).tolist()) == {100, 101}
    for number, feature in enumerate(features):
        assert torch.equal(feature.label(sample.x), sample.features[:, number])


def test_labels_by_hand() -> None:
    tokens = torch.tensor([[0, 2, 2, 1], [3, 1, 1, 1]])
    assert FirstIsIn((3,)).label(tokens).tolist() == [0, 1] and FirstIsIn((2,), place=1).label(tokens).tolist() == [1, 0]
    assert Occurs(2).label(tokens).tolist() == [1, 0] and PairEqual(1, 2).label(tokens).tolist() == [1, 1]
    assert MoreOf(2, 1).label(tokens).tolist() == [1, 0] and CountParity(1).label(tokens).tolist() == [1, 1]


def test_a_decoder_reads_the_sequence_and_then_the_classes_in_its_order() -> None:
    data = ControlledSequences([Occurs(0), Occurs(1)], 4, 3, order=(1, 0))
    sample = data.sample(20)
    tokens = data.decoder_tokens(sample)
    assert tokens.shape == (20, 7) and bool((tokens[:, 4] == 3).all()) and int(tokens.max()) == 5 == data.vocabulary - 1
    assert torch.equal(tokens[:, 5] - 4, sample.features[:, 1]) and torch.equal(tokens[:, 6] - 4, sample.features[:, 0])
    same = ControlledSequences([Occurs(0), Occurs(1)], 4, 3).sample(20)
    assert torch.equal(same.x, sample.x)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match=r"hardly ever have the classes \[0, 1\] together"):
        ControlledSequences([Occurs(0), FirstIsIn((0,))], 3, 2).sample(100)
    with pytest.raises(InputError, match="each of 2 features once"):
        ControlledSequences([Occurs(0), Occurs(1)], 3, order=(0, 0))
    with pytest.raises(InputError, match="need features"):
        ControlledSequences([], 3)
    with pytest.raises(InputError, match="at least one sequence"):
        ControlledSequences([Occurs(0)], 3).sample(0)
