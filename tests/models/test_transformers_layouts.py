"""Tiny, randomly initialised models of `transformers`, read into ours and written back."""

from pathlib import Path

import pytest
import torch

from ordinate.ground.errors import InputError
from ordinate.models.sequence import Sequence
from ordinate.models.transformers_layouts import read_transformers, write_transformers

transformers = pytest.importorskip("transformers", reason="needs ordinate[language]")

KINDS = ("gpt2", "llama", "llama-shared-tied", "roberta")


def theirs(kind: str) -> torch.nn.Module:
    torch.manual_seed(0)
    if kind == "gpt2":
        config = transformers.GPT2Config(vocab_size=31, n_embd=12, n_layer=2, n_head=3, n_positions=20)
        model = transformers.GPT2LMHeadModel(config)
    elif kind.startswith("llama"):
        shared = kind.endswith("tied")
        config = transformers.LlamaConfig(
            vocab_size=31,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=4,
            num_key_value_heads=2 if shared else 4,
            intermediate_size=22,
            max_position_embeddings=20,
            tie_word_embeddings=shared,
        )
        model = transformers.LlamaForCausalLM(config)
    else:
        config = transformers.RobertaConfig(
            vocab_size=31,
            hidden_size=12,
            num_hidden_layers=2,
            num_attention_heads=3,
            intermediate_size=20,
            max_position_embeddings=22,
            type_vocab_size=1,
        )
        model = transformers.RobertaForMaskedLM(config)
    for parameter in model.parameters():  # biases and norms begin at 0 and 1, where a swap would not show
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


def tokens() -> tuple[torch.Tensor, torch.Tensor]:
    draw = torch.randint(2, 31, (3, 9), generator=torch.Generator().manual_seed(1))
    real = torch.ones(3, 9, dtype=torch.bool)
    real[1, 6:] = False
    return draw.masked_fill(~real, 1), real  # RoBERTa tells padding by its number, 1


@pytest.mark.parametrize("kind", KINDS)
def test_ours_gives_what_theirs_gives(kind: str, tmp_path: Path) -> None:
    model = theirs(kind)
    model.save_pretrained(tmp_path / "theirs")
    ours = read_transformers(tmp_path / "theirs")
    x, real = tokens()
    with torch.no_grad():
        wanted = model(x, attention_mask=real.long()).logits
        given = ours(x, padding_mask=real)
    assert (given - wanted)[real].abs().max() <= 1e-5 * wanted.abs().max()


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_written_opens_there_and_gives_the_same(kind: str, tmp_path: Path) -> None:
    theirs(kind).save_pretrained(tmp_path / "theirs")
    ours = read_transformers(tmp_path / "theirs")
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(parameter.numel())))
    write_transformers(ours, tmp_path / "ours")
    family = transformers.AutoModelForMaskedLM if kind == "roberta" else transformers.AutoModelForCausalLM
    again, report = family.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    x, real = tokens()
    with torch.no_grad():
        wanted, given = ours(x, padding_mask=real), again.eval()(x, attention_mask=real.long()).logits
    assert (given - wanted)[real].abs().max() <= 1e-5 * wanted.abs().max()


def test_prompts_padded_in_front_give_what_theirs_gives_when_it_counts_real_tokens(tmp_path: Path) -> None:
    model = theirs("gpt2")
    model.save_pretrained(tmp_path / "theirs")
    ours, (x, real) = read_transformers(tmp_path / "theirs"), tokens()
    x, real = x.flip(1), real.flip(1)
    with torch.no_grad():
        wanted = model(x, attention_mask=real.long(), position_ids=(real.cumsum(1) - 1).clamp(min=0)).logits
        given = ours(x, padding_mask=real)
    assert (given - wanted)[real].abs().max() <= 1e-5 * wanted.abs().max()


def test_what_cannot_be_read_or_written_is_said_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"config\.json"):
        read_transformers(tmp_path)
    model = theirs("llama")
    model.save_pretrained(tmp_path / "theirs")
    config = (tmp_path / "theirs/config.json").read_text()
    (tmp_path / "theirs/config.json").write_text(config.replace('"model_type": "llama"', '"model_type": "bloom"'))
    with pytest.raises(InputError, match="bloom"):
        read_transformers(tmp_path / "theirs")
    (tmp_path / "theirs/config.json").write_text(config.replace('"attention_bias": false', '"attention_bias": true'))
    with pytest.raises(InputError, match="attention_bias"):
        read_transformers(tmp_path / "theirs")
    (tmp_path / "theirs/config.json").write_text(config.replace('"intermediate_size": 22', '"intermediate_size": 24'))
    with pytest.raises(InputError, match="shape"):
        read_transformers(tmp_path / "theirs")
    (tmp_path / "theirs/config.json").write_text(config)
    (tmp_path / "theirs/model.safetensors").unlink()
    with pytest.raises(InputError, match=r"model\.safetensors"):
        read_transformers(tmp_path / "theirs")
    odd = Sequence(vocabulary=7, dim=8, depth=1, heads=2, mixer="linear-attention")
    with pytest.raises(InputError, match="linear-attention"):
        write_transformers(odd, tmp_path / "odd")
    with pytest.raises(InputError, match="roberta"):
        write_transformers(Sequence(vocabulary=7, dim=8, depth=1, heads=2), tmp_path / "odd", layout="roberta")
    assert not (tmp_path / "odd").exists()
