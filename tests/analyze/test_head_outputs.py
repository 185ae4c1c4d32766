from contextlib import suppress

import pytest
import torch
from torch import nn

from ordinate.analyze.capture import Activations
from ordinate.analyze.head_outputs import HeadedModel, head_outputs
from ordinate.data.contrasts import Prompts
from ordinate.ground.errors import InputError
from ordinate.models.sequence import Sequence
from tests.analyze.transformers_models import gpt2, llama


def own(mixer: str = "softmax") -> nn.Module:
    torch.manual_seed(0)
    return Sequence(vocabulary=11, dim=12, depth=2, heads=3, max_length=9, mixer=mixer).eval()


MODELS = {"own": own, "linear": lambda: own("linear-attention"), "gpt2": gpt2, "llama": llama}


def bias_of(model: nn.Module) -> torch.Tensor:
    """Of the output map of the second layer."""
    for name in ("backbone.blocks.1.mixer.heads.out", "transformer.h.1.attn.c_proj"):
        with suppress(AttributeError):
            return model.get_submodule(name).bias.detach()
    return torch.zeros(())


@pytest.mark.parametrize("name", list(MODELS))
def test_heads_and_the_bias_sum_to_the_attention_s_output(name: str) -> None:
    model = MODELS[name]()
    headed = HeadedModel(model)
    prompts = Prompts.of(torch.randint(0, 11, (3, 6)))
    with torch.no_grad(), Activations(model, [headed.layers[1].out]) as seen:
        headed(prompts)
        whole = seen[headed.layers[1].out]
    for pool, expected in (("mean", whole.mean(dim=1)), ("last", whole[:, -1])):
        outputs = head_outputs(headed, prompts, pool=pool, batch_size=2)
        assert outputs.shape == (3, headed.shape[0] * headed.heads, headed.dim)
        torch.testing.assert_close(outputs[:, headed.heads :].sum(dim=1) + bias_of(model), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", list(MODELS))
@pytest.mark.parametrize("pool", ["mean", "last"])
def test_padding_changes_nothing(name: str, pool: str) -> None:
    headed = HeadedModel(MODELS[name](), mlp=True)
    rows = [[1, 2, 3], [4, 5, 6, 7, 8]]
    together = head_outputs(headed, Prompts.of(rows), pool=pool)
    alone = torch.cat([head_outputs(headed, Prompts.of([row]), pool=pool) for row in rows])
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)
    logits = headed.last_logits(Prompts.of(rows))
    torch.testing.assert_close(logits[:1], headed.last_logits(Prompts.of(rows[:1])), atol=1e-5, rtol=1e-4)


def test_mlps_are_a_column_more() -> None:
    model = own()
    headed = HeadedModel(model, mlp=True)
    assert headed.shape == (2, 4) and headed.labels[:5] == ["L0H0", "L0H1", "L0H2", "L0MLP", "L1H0"]
    prompts = Prompts.of(torch.randint(0, 11, (2, 5)))
    with torch.no_grad(), Activations(model, ["backbone.blocks.0.feed_forward"]) as seen:
        headed(prompts)
        expected = seen["backbone.blocks.0.feed_forward"].mean(dim=1)
    torch.testing.assert_close(head_outputs(headed, prompts)[:, 3], expected)
    assert headed.grid([(0, 3), (1, 0)]).nonzero().tolist() == [[0, 3], [1, 0]]


def test_query_heads_count_where_keys_are_shared() -> None:
    headed = HeadedModel(llama())
    assert (headed.heads, headed.width) == (4, 4) and headed.shape == (2, 4)


def test_heads_that_do_not_exist_are_refused() -> None:
    headed = HeadedModel(own())
    for node in ((2, 0), (0, 3), (-1, 0)):
        with pytest.raises(InputError, match=r"there is no head .*: the model has 2 layers of 3 heads"):
            headed.grid([node])


def test_prompts_that_do_not_fit_the_model_are_refused() -> None:
    headed = HeadedModel(own())
    with pytest.raises(InputError, match="10 tokens, and the model takes at most 9"):
        head_outputs(headed, Prompts.of([[1] * 10]))
    with pytest.raises(InputError, match="has token 11"):
        head_outputs(headed, Prompts.of([[11]]))
    with pytest.raises(InputError, match="at most 16"):
        head_outputs(HeadedModel(gpt2()), Prompts.of([[1] * 17]))
    with pytest.raises(InputError, match="unknown pooling"):
        head_outputs(headed, Prompts.of([[1]]), pool="max")


def test_models_without_heads_and_outputs_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(InputError, match="no attention heads that can be told apart"):
        HeadedModel(nn.Sequential(nn.Linear(2, 2)))
    broken = own()
    with torch.no_grad():
        broken.embedding.weight[3] = torch.nan
    with pytest.raises(InputError, match="not finite"):
        head_outputs(HeadedModel(broken), Prompts.of([[3, 1]]))
