import pytest
import torch

from ordinate.data.in_context.prompts import PromptBatches
from ordinate.data.in_context.representations import RepresentationPrompts
from ordinate.data.in_context.sphere import SpherePrompts
from ordinate.ground.errors import InputError
from ordinate.nn.fixed_representation import FixedRepresentation

PHIS = [FixedRepresentation(3, 5, 2, seed=seed) for seed in range(2)]


def draw(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_labels_are_linear_in_the_representation_that_the_prompt_has() -> None:
    source = RepresentationPrompts(PHIS, 3, 7, noise=0.0)
    prompts = source.sample(20, draw())
    kind = prompts.latent["kind"]
    assert set(kind.tolist()) == {0, 1} and source.D == 5
    for k, phi in enumerate(PHIS):
        mine = kind == k
        torch.testing.assert_close(prompts.y[mine], (phi(prompts.x[mine]) @ prompts.latent["w"][mine][..., None])[..., 0])


def test_labels_have_the_variance_that_the_scales_give() -> None:
    y = RepresentationPrompts(PHIS[:1], 3, 10, noise=0.5, tau=2.0).sample(4_000, draw()).y
    assert y.square().mean() == pytest.approx(4.25, rel=0.05)
    assert RepresentationPrompts(PHIS[:1], 3, 10, noise=0.5, tau=2.0).penalty == 1 / 16


def test_tokens_have_the_label_last_and_batches_are_functions_of_the_step() -> None:
    source = RepresentationPrompts(PHIS[:1], 3, 4)
    prompts = source.sample(2, draw())
    tokens = prompts.batch()["tokens"]
    assert tokens.shape == (2, 7, 4)
    assert torch.equal(tokens[:, ::2, :3], prompts.x) and torch.equal(tokens[:, 1::2, 3], prompts.y[:, :-1])
    assert tokens[:, ::2, 3].abs().max() == 0 and tokens[:, 1::2, :3].abs().max() == 0
    batches = PromptBatches(source, 4, 0)
    assert torch.equal(batches(3)["tokens"], batches(3)["tokens"]) and not torch.equal(batches(3)["tokens"], batches(4)["tokens"])


def test_overlaid_tokens_are_as_wide_as_the_input() -> None:
    assert RepresentationPrompts(PHIS[:1], 3, 4, layout="overlaid").sample(2, draw()).tokens().shape == (2, 8, 3)


def test_inputs_on_the_sphere_have_unit_length_and_their_chance_is_known() -> None:
    source = SpherePrompts(4, 6, noise=0.1)
    prompts = source.sample(3_000, draw())
    torch.testing.assert_close(prompts.x.norm(dim=-1), torch.ones(3_000, 6))
    assert source.chance == pytest.approx(1.01) and prompts.y.square().mean() == pytest.approx(1.01, rel=0.05)
    clean = SpherePrompts(4, 6, noise=0.0).sample(2, draw())
    torch.testing.assert_close(clean.y, (clean.x @ clean.latent["w"][..., None])[..., 0])


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(InputError, match="at least one representation"):
        RepresentationPrompts([], 3, 4)
    with pytest.raises(InputError, match=r"one width, not \[4, 5\]"):
        RepresentationPrompts([PHIS[0], FixedRepresentation(3, 4, 1)], 3, 4)
    with pytest.raises(InputError, match="d and n of at least 1"):
        RepresentationPrompts(PHIS, 3, 0)
    with pytest.raises(InputError, match="standard deviations"):
        RepresentationPrompts(PHIS, 3, 4, noise=-1.0)
    with pytest.raises(InputError, match="unknown layout"):
        RepresentationPrompts(PHIS, 3, 4, layout="sideways")
    with pytest.raises(InputError, match="d and n of at least 1"):
        SpherePrompts(0, 4)
    with pytest.raises(InputError, match="positive of the weights"):
        SpherePrompts(3, 4, tau=0.0)
