import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.models.registry import create_model, load_model, save_model
from ordinate.models.sequence import POSITIONS, Sequence, SequenceClassifier
from ordinate.nn.multiply_adds import count_parameters

SHAPE = {"vocabulary": 11, "dim": 12, "depth": 2, "heads": 2, "max_length": 16}


def tokens(length: int = 9) -> torch.Tensor:
    return torch.randint(0, 11, (3, length), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("mixer", "position"),
    [(mixer, position) for mixer in ("softmax-rpe", "nprf", "linear-attention") for position in POSITIONS if position != "rotary"]
    + [("softmax-rotary", "rotary")],
)
def test_no_logit_reads_its_future_and_steps_give_what_forward_gives(mixer: str, position: str) -> None:
    model = Sequence(mixer=mixer, position=position, **SHAPE).double().eval()
    x = tokens()
    whole = model(x)
    assert whole.shape == (3, 9, 11)
    changed = x.clone()
    changed[:, 6:] = (changed[:, 6:] + 1) % 11
    assert torch.allclose(model(changed)[:, :6], whole[:, :6], atol=1e-12)
    assert not torch.allclose(model(changed)[:, 6:], whole[:, 6:])
    logits, state = model.prefill(x[:, :4])
    assert torch.allclose(logits, whole[:, :4], atol=1e-9)
    for place in range(4, 9):
        logits, state = model.step(x[:, place], state)
        assert torch.allclose(logits, whole[:, place], atol=1e-9)
    assert state.lengths.tolist() == [9, 9, 9]


def test_padding_changes_no_real_logit() -> None:
    model = Sequence(mixer="nprf", **SHAPE).double().eval()
    x, real = tokens(), torch.ones(3, 9, dtype=torch.bool)
    real[1, 5:] = False
    assert torch.allclose(model(x, padding_mask=real)[1, :5], model(x[1:2, :5])[0], atol=1e-9)


def test_a_masked_model_sees_both_sides() -> None:
    model = Sequence(causal=False, **SHAPE).eval()
    x = tokens()
    changed = x.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 11
    assert not torch.allclose(model(changed)[:, 0], model(x)[:, 0])


def test_the_tied_head_is_the_embedding_and_survives_saving(tmp_path) -> None:
    tied, free = Sequence(**SHAPE), Sequence(tied=False, **SHAPE)
    assert tied.head.weight is tied.embedding.weight
    assert count_parameters(free) - count_parameters(tied) == 11 * 12
    model = create_model("sequence", mixer="nprf", mixer_arguments={"features": 5}, causal=True, **SHAPE).eval()
    save_model(model, tmp_path / "model")
    again = load_model(tmp_path / "model").eval()
    assert torch.equal(again(tokens()), model(tokens()))
    assert again.head.weight is again.embedding.weight


def test_without_positions_a_masked_softmax_model_cannot_tell_places_and_a_relative_bias_can() -> None:
    x = tokens()
    blind = Sequence(position="none", mixer="softmax", causal=False, **SHAPE).eval()
    turned = x.roll(1, dims=1)
    assert torch.allclose(blind(turned), blind(x).roll(1, dims=1), atol=1e-5)
    seeing = Sequence(position="none", mixer="softmax-rpe", causal=False, **SHAPE).eval()
    with torch.no_grad():
        for block in seeing.backbone.blocks:
            block.mixer.relative.table.normal_()
    assert not torch.allclose(seeing(turned), seeing(x).roll(1, dims=1), atol=1e-3)


def test_logits_begin_at_the_scale_of_one() -> None:
    assert 0.3 < float(Sequence(vocabulary=65, dim=64, depth=2)(torch.randint(0, 65, (4, 50))).std()) < 3


@pytest.mark.parametrize("mixer", ["softmax", "nprf"])
def test_the_classifier_reads_tokens_or_vectors_and_not_padding(mixer: str) -> None:
    shape = {"num_classes": 4, "dim": 12, "depth": 1, "heads": 2, "max_length": 16, "mixer": mixer}
    real = torch.ones(3, 9, dtype=torch.bool)
    real[1, 5:] = False
    for model, x in (
        (SequenceClassifier(vocabulary=11, **shape), tokens()),
        (create_model("sequence-classifier", in_dim=5, **shape), torch.randn(3, 9, 5)),
    ):
        model.eval()
        assert model(x).shape == (3, 4)
        assert torch.allclose(model(x, padding_mask=real)[1], model(x[1:2, :5])[0], atol=1e-5)
        nothing = torch.zeros(3, 9, dtype=torch.bool)
        assert (model.embed(x, padding_mask=nothing) == 0).all()
    assert SequenceClassifier(vocabulary=11, **{**shape, "num_classes": 0})(tokens()).shape == (3, 12)


def test_what_does_not_fit_is_refused_in_one_line() -> None:
    model = Sequence(**SHAPE)
    for call in (
        lambda: model(tokens() + 5),
        lambda: model(tokens() - 9),
        lambda: model(tokens(17)),
        lambda: Sequence(**{**SHAPE, "depth": 0}),
        lambda: Sequence(**{**SHAPE, "vocabulary": 0}),
        lambda: Sequence(position="rotary", **SHAPE),
        lambda: Sequence(mixer="softmix", **SHAPE),
        lambda: Sequence(activation="gelo", **SHAPE),
        lambda: SequenceClassifier(num_classes=2),
        lambda: SequenceClassifier(num_classes=2, vocabulary=3, in_dim=4),
        lambda: SequenceClassifier(num_classes=2, in_dim=4)(torch.randn(2, 5, 3)),
    ):
        with pytest.raises(InputError) as caught:
            call()
        assert "\n" not in str(caught.value)
