import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.ground.errors import InputError
from ordinate.nn.cosine_head import CosineHead, cosine_logits, cosine_scale


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 4))
def test_logits_are_scaled_lengths_times_cosines(dim: int, classes: int, batch: int) -> None:
    head, x = CosineHead(dim, classes), torch.randn(batch, dim) * 50
    cosines = torch.nn.functional.cosine_similarity(x[:, None], head.weight_v[None], dim=2)
    torch.testing.assert_close(head(x), 2 * head.weight_g[:, 0] * cosines, rtol=1e-3, atol=1e-4)


def test_the_length_of_an_embedding_does_not_count() -> None:
    head, x = CosineHead(8, 3), torch.randn(4, 8)
    torch.testing.assert_close(head(1000 * x), head(x), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(head(-x), -head(x))


def test_it_begins_as_the_linear_layer_whose_weights_it_was_drawn_as() -> None:
    head = CosineHead(8, 3, scale=1.0)
    torch.testing.assert_close(head.rows(), head.weight_v.detach())


def test_the_scale_follows_the_number_of_classes() -> None:
    assert [cosine_scale(5), cosine_scale(200), cosine_scale(201)] == [2.0, 2.0, 10.0]
    assert CosineHead(2, 201).scale == 10.0 and CosineHead(2, 3, 4.5).scale == 4.5


def test_batch_normalisation_stands_in_front() -> None:
    head, x = CosineHead(6, 3, use_bn=True), torch.randn(64, 6) * 4 + 9
    normal = (x - x.mean(0)) / (x.var(0, unbiased=False) + 1e-5).sqrt()
    torch.testing.assert_close(head(x), cosine_logits(normal, head.weight_v, head.weight_g, 2.0))


def test_many_heads_at_once_are_each_by_itself() -> None:
    heads, x = [CosineHead(4, 3) for _ in range(5)], torch.randn(5, 7, 4)
    together = cosine_logits(x, torch.stack([h.weight_v for h in heads]), torch.stack([h.weight_g for h in heads]), 2.0)
    torch.testing.assert_close(together, torch.stack([head(each) for head, each in zip(heads, x, strict=True)]))


def test_what_is_wrong_is_one_line() -> None:
    with pytest.raises(InputError, match="positive"):
        CosineHead(4, 3, scale=0)
    with pytest.raises(InputError, match="at least one"):
        CosineHead(0, 3)
    with pytest.raises(InputError, match=r"\(batch, 4\)"):
        CosineHead(4, 3)(torch.randn(2, 5))
