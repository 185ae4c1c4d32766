import pytest
import torch

from ordinate.adapt.extend_context import extend_context, patch_llama
from ordinate.ground.errors import InputError
from ordinate.models.sequence import Sequence
from ordinate.models.transformers_layouts import read_transformers


def model(**position: object) -> Sequence:
    torch.manual_seed(0)
    return Sequence(
        vocabulary=7, dim=16, depth=2, heads=2, mixer="softmax-rotary", position="rotary", position_arguments=position or None, max_length=8
    ).eval()


def test_a_factor_of_one_changes_nothing_and_others_change_what_is_far() -> None:
    before, tokens = model(base=500.0), torch.randint(0, 7, (2, 30))
    same = extend_context(before, "linear", factor=1.0, max_length=64)
    assert same.max_length == 64
    assert torch.equal(same(tokens), before(tokens))
    assert not torch.allclose(extend_context(before, "linear", factor=4.0)(tokens), before(tokens), atol=1e-3)
    assert extend_context(before, "power", power=0.5).arguments["position_arguments"] == {"scaling": "power", "base": 500.0, "power": 0.5}
    back = extend_context(extend_context(before, "linear", factor=4.0), "plain")
    assert torch.equal(back(tokens), before(tokens))


def test_xpos_keeps_the_pairs_of_the_model() -> None:
    weak = extend_context(model(), "xpos", scale_base=1e9)
    tokens = torch.randint(0, 7, (2, 9))
    assert torch.allclose(weak(tokens), model()(tokens), atol=1e-5)


def test_a_llama_is_changed_in_place_as_ours_is(tmp_path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs ordinate[language]")
    torch.manual_seed(0)
    config = transformers.LlamaConfig(
        vocab_size=11, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=20, max_position_embeddings=16
    )
    theirs = transformers.LlamaForCausalLM(config).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    theirs.save_pretrained(tmp_path / "llama")
    tokens = torch.randint(0, 11, (1, 40))
    for scaling, arguments in (("linear", {"factor": 4.0}), ("truncated", {"truncate_at": 16}), ("ntk", {"factor": 2.0})):
        ours = extend_context(read_transformers(tmp_path / "llama"), scaling, max_length=64, **arguments)
        changed = patch_llama(transformers.LlamaForCausalLM.from_pretrained(tmp_path / "llama").eval(), scaling, **arguments)
        with torch.no_grad():
            wanted = ours(tokens)
            assert torch.allclose(changed(tokens).logits, wanted, atol=1e-5)
            assert not torch.allclose(theirs(tokens).logits, wanted, atol=1e-4)


def test_what_cannot_be_stretched_is_one_line() -> None:
    with pytest.raises(InputError, match="absolute"):
        extend_context(Sequence(vocabulary=7, dim=8, depth=1, heads=2), "linear", factor=2.0)
    with pytest.raises(InputError, match="factor"):
        extend_context(model(), "linear")
    with pytest.raises(InputError, match="rule"):
        extend_context(model(), "rubber")
    with pytest.raises(InputError, match="inv_freq"):
        patch_llama(model(), "linear", factor=2.0)
