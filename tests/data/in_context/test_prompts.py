import pytest
import torch

from ordinate.data.in_context.linear import LinearPrompts
from ordinate.data.in_context.prompts import LAYOUTS, Curriculum, Growth, PromptBatches, interleave, query_tokens, token_width
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator


def test_pairs_become_tokens_in_three_layouts() -> None:
    x, y = torch.tensor([[[1.0, 2.0], [3.0, 4.0]]]), torch.tensor([[5.0, 6.0]])
    assert interleave(x, y).tolist() == [[[0, 1, 2], [5, 0, 0], [0, 3, 4], [6, 0, 0]]]
    assert interleave(x, y, "label-last").tolist() == [[[1, 2, 0], [0, 0, 5], [3, 4, 0], [0, 0, 6]]]
    assert interleave(x, y, "overlaid").tolist() == [[[1, 2], [5, 0], [3, 4], [6, 0]]]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_query_is_the_token_of_an_input(layout: str) -> None:
    prompts = LinearPrompts(3, 4, layout=layout).sample(2, generator(0))
    assert torch.equal(query_tokens(prompts.x, layout), prompts.tokens()[:, ::2])
    assert prompts.tokens().shape[2] == token_width(3, layout) == LinearPrompts(3, 4, layout=layout).token_width


def test_a_training_batch_hides_the_last_label_and_asks_for_all() -> None:
    prompts = LinearPrompts(2, 5).sample(3, generator(0))
    batch = prompts.batch()
    assert batch["tokens"].shape == (3, 9, 3) and torch.equal(batch["target"][..., 0], prompts.y)
    assert torch.equal(batch["tokens"], prompts.tokens()[:, :-1])


def test_batches_are_pure_functions_of_seed_and_step_and_are_shared_by_rows() -> None:
    batches = PromptBatches(LinearPrompts(2, 3), 4, seed=7)
    assert torch.equal(batches(5)["tokens"], batches(5)["tokens"])
    assert not torch.equal(batches(5)["tokens"], batches(6)["tokens"])
    halves = [batches(5, rank, 2)["tokens"] for rank in range(2)]
    assert torch.equal(torch.cat(halves), batches(5)["tokens"])
    with pytest.raises(InputError, match="cannot be shared equally by 3"):
        batches(0, 0, 3)


def test_a_curriculum_grows_coordinates_and_pairs() -> None:
    batches = PromptBatches(LinearPrompts(4, 6), 2, 0, Curriculum(Growth(1, 4, 1, 10), Growth(2, 6, 2, 10)))
    for step, alive, n in ((0, 1, 2), (10, 2, 4), (25, 3, 6), (90, 4, 6)):
        tokens = batches(step)["tokens"]
        assert tokens.shape[1] == 2 * n - 1
        assert (tokens[:, ::2, 1:].abs().amax(dim=(0, 1)) > 0).tolist() == [True] * alive + [False] * (4 - alive)


def test_bad_prompts_are_one_line() -> None:
    x, y = torch.zeros(1, 2, 3), torch.zeros(1, 2)
    with pytest.raises(InputError, match="did you mean label-last"):
        interleave(x, y, "label-lst")
    with pytest.raises(InputError, match="at least one pair"):
        interleave(x[:, :0], y[:, :0])
    with pytest.raises(InputError, match="grows from at least 1"):
        Growth(3, 2, 1, 1)
    with pytest.raises(InputError, match="the curriculum grows to 9 pairs, and the source has 4"):
        PromptBatches(LinearPrompts(2, 4), 2, 0, Curriculum(n=Growth(1, 9, 1, 1)))
    with pytest.raises(InputError, match="batch_size must be at least 1"):
        PromptBatches(LinearPrompts(2, 4), 0, 0)
