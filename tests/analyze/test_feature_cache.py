from pathlib import Path

import pytest
import torch
from torch import nn

from ordinate.analyze.feature_cache import cached_features, hash_encoder, hash_rows
from ordinate.data.batches import Subset, TensorSource
from ordinate.ground.errors import InputError
from ordinate.models.mlp import MLP


class _Counting(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.linear = nn.Linear(5, width)
        self.seen = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.seen += len(x)
        return self.linear(x)


def _source(rows: int = 300) -> TensorSource:
    return TensorSource(image=torch.randn(rows, 5), label=torch.arange(rows) % 3)


def test_features_are_computed_once_and_are_the_encoders(tmp_path: Path) -> None:
    encoder, source = _Counting(), _source()
    first, labels = cached_features(encoder, source, tmp_path)
    again, labels_again = cached_features(encoder, source, tmp_path)
    assert encoder.seen == 300 and torch.equal(first, again) and torch.equal(labels, labels_again)
    torch.testing.assert_close(first, encoder.linear(source.tensors["image"]).detach())
    assert torch.equal(labels, source.tensors["label"])


def test_another_weight_another_row_and_another_order_are_computed_anew(tmp_path: Path) -> None:
    encoder, source = _Counting(), _source()
    cached_features(encoder, source, tmp_path)
    with torch.no_grad():
        encoder.linear.bias[0] += 1e-3
    changed, _ = cached_features(encoder, source, tmp_path)
    assert encoder.seen == 600
    turned, _ = cached_features(encoder, Subset(source, torch.arange(300).flip(0)), tmp_path)
    torch.testing.assert_close(turned.flip(0), changed)
    assert encoder.seen == 900
    source.tensors["image"][7, 0] += 1e-3
    cached_features(encoder, source, tmp_path)
    assert encoder.seen == 1200


def test_structure_counts_where_weights_agree() -> None:
    relu, gelu = nn.Sequential(nn.Linear(2, 2), nn.ReLU()), nn.Sequential(nn.Linear(2, 2), nn.GELU())
    gelu.load_state_dict(relu.state_dict())
    assert hash_encoder(relu) != hash_encoder(gelu)
    assert hash_encoder(relu) == hash_encoder(nn.Sequential(relu[0], nn.ReLU()))


def test_labels_count_too() -> None:
    a, b = _source(), _source()
    b.tensors["image"] = a.tensors["image"]
    assert hash_rows(a, ("image",)) == hash_rows(b, ("image",))
    b.tensors["label"] = (b.tensors["label"] + 1) % 3
    assert hash_rows(a, ("image", "label")) != hash_rows(b, ("image", "label"))


def test_several_encoders_are_laid_side_by_side_and_kept_apart(tmp_path: Path) -> None:
    a, b, source = _Counting(3), _Counting(2), _source()
    alone, _ = cached_features(a, source, tmp_path)
    both, _ = cached_features(nn.ModuleList([a, b]), source, tmp_path)
    assert a.seen == 300 and both.shape == (300, 5) and torch.equal(both[:, :3], alone)
    assert torch.equal(cached_features([b, a], source, tmp_path)[0], both.roll(2, dims=1))


def test_statistics_stay_and_modes_come_back(tmp_path: Path) -> None:
    encoder = nn.Sequential(nn.BatchNorm1d(5), nn.Linear(5, 2)).train()
    cached_features(encoder, _source(), tmp_path)
    assert encoder.training and torch.equal(encoder[0].running_mean, torch.zeros(5))


def test_a_damaged_file_is_replaced(tmp_path: Path) -> None:
    encoder, source = _Counting(), _source()
    first, _ = cached_features(encoder, source, tmp_path)
    (path,) = tmp_path.glob("*.safetensors")
    path.write_bytes(path.read_bytes()[:100])
    assert torch.equal(cached_features(encoder, source, tmp_path)[0], first) and encoder.seen == 600
    assert torch.equal(cached_features(encoder, source, tmp_path)[0], first) and encoder.seen == 600


def test_half_the_numbers_take_half_the_room(tmp_path: Path) -> None:
    encoder, source = _Counting(), _source()
    whole, half = cached_features(encoder, source, tmp_path)[0], cached_features(encoder, source, tmp_path, dtype=torch.float16)[0]
    assert half.dtype == torch.float16 and len(list(tmp_path.iterdir())) == 2
    torch.testing.assert_close(half.float(), whole, atol=2e-3, rtol=2e-3)


def test_a_vision_encoder_is_read_before_its_head(tmp_path: Path) -> None:
    encoder, images = MLP(num_classes=3, image_size=4, hidden=[5], num_features=6), torch.randn(9, 1, 4, 4)
    found, _ = cached_features(encoder, TensorSource(image=images, label=torch.zeros(9)), tmp_path)
    torch.testing.assert_close(found, encoder.embed(images).detach())


def test_what_is_wrong_is_one_line(tmp_path: Path) -> None:
    source = _source()
    for encoder, given, match in (
        ([], source, "no encoder"),
        (nn.Unflatten(1, (5, 1)), source, "one vector an input"),
        (_Counting(), _source(0), "no rows"),
        (_Counting(), TensorSource(image=torch.randn(3, 5)), "no column 'label'"),
        (nn.Threshold(1e9, float("nan")), source, "not finite"),
    ):
        with pytest.raises(InputError, match=match):
            cached_features(encoder, given, tmp_path)
    with pytest.raises(InputError, match="float32 or float16"):
        cached_features(_Counting(), source, tmp_path, dtype=torch.float64)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_said_if_it_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    encoder, source = _Counting(), _source(5)
    with pytest.raises(OSError, match="file"):
        cached_features(encoder, source, blocked / "folder")
    monkeypatch.setattr("ordinate.analyze.feature_cache.cache_folder", lambda: blocked)
    assert cached_features(encoder, source)[0].shape == (5, 4)
