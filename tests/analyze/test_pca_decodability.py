import pytest
import torch

from ordinate.analyze.pca_decodability import by_head, by_probe, pca_decodability
from ordinate.ground.errors import InputError
from tests.analyze.test_feature_directions import example, predict


def test_the_large_feature_needs_fewer_components_and_all_of_them_give_the_full_accuracy() -> None:
    model, x, f = example()
    found = pca_decodability(x, f, by_head(model, "layer", predict(x)))
    assert found.components == (1, 2, 3) and found.smallest() == [1, 2]
    assert torch.equal(found.accuracy[-1], (predict(x)(model) == f).double().mean(dim=0))


def test_a_probe_fitted_anew_finds_the_same() -> None:
    _, x, f = example()
    x = x + 0.01 * torch.randn_like(x)
    found = pca_decodability(x[:40], f[40:], by_probe(x[:40], f[:40], x[40:]), components=(1, 2))
    assert found.smallest() == [1, 2]
    shuffled = f[torch.randperm(80)]
    assert pca_decodability(x[:40], shuffled[40:], by_probe(x[:40], shuffled[:40], x[40:]), components=(2,)).smallest() == [None, None]


def test_bad_input_is_refused() -> None:
    model, x, f = example()
    with pytest.raises(InputError, match="1 to 3 components"):
        pca_decodability(x, f, by_head(model, "layer", predict(x)), components=(0, 1))
    with pytest.raises(InputError, match="ascending order"):
        pca_decodability(x, f, by_head(model, "layer", predict(x)), components=(2, 1))
    with pytest.raises(InputError, match="the features are"):
        pca_decodability(x, f[:10], by_head(model, "layer", predict(x)))
