import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.models.hornet import HorNet
from ordinate.models.registry import (
    create_model,
    list_models,
    list_official,
    load_model,
    load_official,
    model_class,
    published_arguments,
    save_model,
)


def small() -> HorNet:
    return HorNet.small(8, image_size=32, in_chans=3, num_classes=5).eval()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(small(), tmp_path / "saved")
    return tmp_path / "saved"


def official() -> dict[str, Tensor]:
    """A checkpoint by the names of the official repository; one block a stage."""
    torch.manual_seed(0)
    state = {"norm.weight": torch.randn(64), "norm.bias": torch.randn(64), "head.weight": torch.randn(5, 64), "head.bias": torch.randn(5)}
    for stage, width in enumerate((8, 16, 32, 64)):
        before = f"downsample_layers.{stage}"
        norm, conv, reads, kernel = ("1", "0", 3, 2) if stage == 0 else ("0", "1", width // 2, 2)
        normed = width if stage == 0 else width // 2
        state |= {f"{before}.{norm}.weight": torch.randn(normed), f"{before}.{norm}.bias": torch.randn(normed)}
        state |= {f"{before}.{conv}.weight": torch.randn(width, reads, kernel, kernel), f"{before}.{conv}.bias": torch.randn(width)}
        block = f"stages.{stage}.0"
        state |= {
            f"{block}.{name}": torch.randn(width)
            for name in ("gamma1", "gamma2", "norm1.weight", "norm1.bias", "norm2.weight", "norm2.bias")
        }
        state |= {f"{block}.pwconv1.weight": torch.randn(4 * width, width), f"{block}.pwconv1.bias": torch.randn(4 * width)}
        state |= {f"{block}.pwconv2.weight": torch.randn(width, 4 * width), f"{block}.pwconv2.bias": torch.randn(width)}
        widths = [width // 2 ** (stage + 1 - k) for k in range(stage + 2)]
        state |= {
            f"{block}.gnconv.proj_in.weight": torch.randn(2 * width, width, 1, 1),
            f"{block}.gnconv.proj_in.bias": torch.randn(2 * width),
        }
        state |= {f"{block}.gnconv.proj_out.weight": torch.randn(width, width, 1, 1), f"{block}.gnconv.proj_out.bias": torch.randn(width)}
        state |= {
            f"{block}.gnconv.dwconv.weight": torch.randn(sum(widths), 1, 7, 7),
            f"{block}.gnconv.dwconv.bias": torch.randn(sum(widths)),
        }
        for k in range(stage + 1):
            state[f"{block}.gnconv.pws.{k}.weight"] = torch.randn(widths[k + 1], widths[k], 1, 1)
            state[f"{block}.gnconv.pws.{k}.bias"] = torch.randn(widths[k + 1])
    return state


def test_models_are_made_by_name() -> None:
    model = create_model("hornet-tiny", num_classes=10, image_size=32)
    assert model(torch.randn(1, 3, 32, 32)).shape == (1, 10)
    assert model_class("hornet-tiny") is HorNet
    assert published_arguments("hornet-small") == {"widths": 96}


def test_names_are_listed_by_pattern() -> None:
    assert {"hornet-tiny", "hornet-tiny-gf"} <= set(list_models("hornet-tiny*"))
    assert list_models("hornet-tiny") == ["hornet-tiny"] and list_models("no-*") == []
    assert {"hornet", "hornet-features", "horfpn", "upernet"} <= set(list_official())


def test_unknown_models_and_arguments_are_refused() -> None:
    with pytest.raises(InputError, match="unknown model 'hornet-tinny': did you mean hornet-tiny"):
        create_model("hornet-tinny")
    with pytest.raises(InputError, match=r"model 'hornet-tiny': .*unexpected keyword argument 'num_clases'"):
        create_model("hornet-tiny", num_clases=3)
    with pytest.raises(InputError, match="unknown model"):
        published_arguments("no-such")


def test_a_saved_model_is_rebuilt_with_the_head_that_it_has_now(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, x = small(), torch.randn(2, 3, 32, 32)
    model.reset_classifier(3)
    save_model(model, tmp_path / "saved")
    again = load_model(tmp_path / "saved").eval()
    assert torch.equal(again(x), model(x)) and again.arguments["num_classes"] == 3
    assert "".join(capsys.readouterr()) == ""  # stdout belongs to whoever called: it may be a JSON document


def test_a_folder_is_not_overwritten(folder: Path) -> None:
    with pytest.raises(InputError, match="exists already"):
        save_model(small(), folder)


def test_a_folder_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such folder"):
        load_model(tmp_path / "absent")
    with pytest.raises(InputError, match=r"ordinate\.json: no such file"):
        load_model(tmp_path)
    (tmp_path / "ordinate.json").write_text(json.dumps({"family": "HorNot"}))
    with pytest.raises(InputError, match="unknown model family 'HorNot': did you mean HorNet"):
        load_model(tmp_path)


def test_cut_files_are_refused(folder: Path) -> None:
    config, weights = folder / "config.json", folder / "model.safetensors"
    text, data = config.read_text(), weights.read_bytes()
    config.write_text(text[:40])
    with pytest.raises(InputError, match=r"config\.json is not a JSON file"):
        load_model(folder)
    config.write_text(text)
    for size in (5, 500, len(data) - 3):
        weights.write_bytes(data[:size])
        with pytest.raises(InputError, match=r"model\.safetensors is damaged"):
            load_model(folder)
    weights.unlink()
    with pytest.raises(InputError, match=r"has no model\.safetensors"):
        load_model(folder)


def test_weights_of_another_shape_are_refused(folder: Path) -> None:
    weights = folder / "model.safetensors"
    state = load_file(weights)
    save_file({key: tensor for key, tensor in state.items() if key != "norm.bias"}, weights)
    with pytest.raises(InputError, match=r"do not fit config\.json .*norm\.bias"):
        load_model(folder)
    save_file(state | {"norm.bias": torch.zeros(3)}, weights)
    with pytest.raises(InputError, match=r"do not fit config\.json .*size mismatch for norm\.bias"):
        load_model(folder)


def wrappers(state: dict[str, Tensor]) -> dict[str, dict[str, object]]:
    return {
        "bare": dict(state),
        "nested": {"model": state, "optimizer": {"lr": 0.1}, "epoch": 7},
        "nested twice": {"state_dict": {"model": state}},
        "averaged": {"model_ema": state},
        "distributed": {f"module.{key}": tensor for key, tensor in state.items()},
        "nested and distributed": {"model": {f"module.{key}": tensor for key, tensor in state.items()}, "args": {"lr": 0.1}},
    }


@pytest.mark.parametrize("wrapper", ["bare", "nested", "nested twice", "averaged", "distributed", "nested and distributed"])
def test_a_checkpoint_is_unwrapped(wrapper: str, tmp_path: Path) -> None:
    state, x = official(), torch.randn(1, 3, 32, 32)
    expected = load_official("hornet", state).eval()(x)
    document = wrappers(state)[wrapper]
    torch.save(document, tmp_path / "checkpoint.pth")
    assert torch.equal(load_official("hornet", document).eval()(x), expected)
    assert torch.equal(load_official("hornet", tmp_path / "checkpoint.pth").eval()(x), expected)


def test_safetensors_are_read(tmp_path: Path) -> None:
    state, x = official(), torch.randn(1, 3, 32, 32)
    save_file(state, tmp_path / "checkpoint.safetensors")
    assert torch.equal(load_official("hornet", tmp_path / "checkpoint.safetensors").eval()(x), load_official("hornet", state).eval()(x))


def test_missing_unexpected_and_misshaped_keys_are_named_with_the_configuration() -> None:
    state = official()
    del state["stages.1.0.norm2.bias"]
    state["stages.1.0.attention.weight"] = torch.zeros(2)
    state["head.bias"] = torch.zeros(6)
    with pytest.raises(InputError) as caught:
        load_official("hornet", state, num_classes=5)
    message = str(caught.value)
    assert "does not fit HorNet(num_classes=5)" in message
    assert "missing: stages.1.0.norm2.bias" in message
    assert "unexpected: stages.1.0.attention.weight" in message
    assert "mis-shaped: head.bias (6,) for (5,)" in message


def test_long_lists_of_keys_are_cut() -> None:
    state = official() | {f"extra.{number}": torch.zeros(1) for number in range(9)}
    with pytest.raises(InputError, match=r"unexpected: extra\.0, .*extra\.5 and 3 more"):
        load_official("hornet", state)


def test_checkpoints_without_tensors_or_of_another_model_are_refused() -> None:
    with pytest.raises(InputError, match="unknown official checkpoint 'hornot'"):
        load_official("hornot", {})
    with pytest.raises(InputError, match="holds no tensors"):
        load_official("hornet", {"epoch": 3})
    with pytest.raises(InputError, match="of another model"):
        load_official("hornet", {"stages.0.0.norm1.weight": torch.zeros(4)})


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        load_official("hornet", tmp_path / "absent.pth")
    text = tmp_path / "notes.txt"
    text.write_text("weights")
    with pytest.raises(InputError, match=r"ends in \.safetensors"):
        load_official("hornet", text)
    for ending, message in ((".safetensors", "not a whole safetensors file"), (".pth", "cannot be read as weights alone")):
        path = tmp_path / f"cut{ending}"
        if ending == ".pth":
            torch.save(official(), path)
        else:
            save_file(official(), path)
        path.write_bytes(path.read_bytes()[:2000])
        with pytest.raises(InputError, match=message) as caught:
            load_official("hornet", path)
        assert "\n" not in str(caught.value)


class Spiteful:
    """Unpickling it would run code."""

    def __reduce__(self):
        return (Path.touch, (Path("spite"),))


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": Spiteful()}, tmp_path / "unsafe.pth")
    with pytest.raises(InputError, match="cannot be read as weights alone"):
        load_official("hornet", tmp_path / "unsafe.pth")
    assert not (tmp_path / "spite").exists()
