import pytest
import torch

from ordinate.data.in_context.linear import LinearPrompts, parse_scatter
from ordinate.data.in_context.sources import list_sources, make_source
from ordinate.ground.errors import InputError
from ordinate.ground.seeds import generator


def test_labels_are_linear_and_noise_is_added_to_them() -> None:
    clean = LinearPrompts(3, 5).sample(4, generator(0))
    torch.testing.assert_close(clean.y, (clean.x @ clean.latent["w"][..., None])[..., 0])
    noisy = LinearPrompts(3, 200, noise=0.5).sample(50, generator(0))
    left = noisy.y - (noisy.x @ noisy.latent["w"][..., None])[..., 0]
    assert float(left.std()) == pytest.approx(0.5, rel=0.03)


@pytest.mark.parametrize(
    ("text", "mean", "square"),
    [("normal*2+1", 1, 5), ("uniform*4+-2", 0, 4 / 3), ("normal", 0, 1), ("normal*1+3,uniform*1+-1", 1.25, (10 + 1 / 3) / 2)],
)
def test_a_distribution_is_scaled_moved_and_mixed(text: str, mean: float, square: float) -> None:
    scatter = parse_scatter(text)
    drawn = scatter.draw((200_000,), generator(0))
    assert float(drawn.mean()) == pytest.approx(mean, abs=0.02)
    assert float(drawn.square().mean()) == pytest.approx(square, rel=0.03) and scatter.second_moment == pytest.approx(square)


def test_what_is_expected_of_0_and_of_the_prior() -> None:
    source = LinearPrompts(4, 6, w="normal*0.5+0", noise=0.3)
    prompts = source.sample(20_000, generator(0))
    assert float(prompts.y.square().mean()) == pytest.approx(source.zero_risk, rel=0.03)
    assert source.penalty == pytest.approx(0.09 / 0.25)
    assert LinearPrompts(2, 3, fixed=(1.0, 1.0)).zero_risk == 2


def test_fixed_weights_are_the_same_in_every_prompt() -> None:
    prompts = LinearPrompts(2, 3, fixed=(1.0, -1.0)).sample(4, generator(0))
    torch.testing.assert_close(prompts.y, prompts.x[..., 0] - prompts.x[..., 1])


def test_a_source_is_made_from_its_description() -> None:
    source = make_source("linear:d=3,n=7,x=normal*1+0,uniform*2+-1,noise=0.5,layout=label-last")
    assert isinstance(source, LinearPrompts) and (source.d, source.n, source.noise, source.layout) == (3, 7, 0.5, "label-last")
    assert source.x.parts == (("normal", 1, 0), ("uniform", 2, -1)) and "linear" in list_sources()
    assert make_source("linear").n == 40


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("liner:d=3", "did you mean linear"),
        ("linear:d", "name=value"),
        ("linear:d=", "name=value"),
        ("linear:depth=3", "depth"),
        ("linear:d=0", "d and n of at least 1"),
        ("linear:n=0", "d and n of at least 1"),
        ("linear:noise=-1", "standard deviation"),
        ("linear:x=cauchy", "normal\\*a\\+b"),
        ("linear:layout=flat", "layout"),
        ("linear:d=2,fixed=(1.0,)", "2 numbers"),
    ],
)
def test_a_bad_description_is_one_line(text: str, why: str) -> None:
    with pytest.raises(InputError, match=why):
        make_source(text)


def test_a_source_refuses_what_it_cannot_draw() -> None:
    source = LinearPrompts(2, 3)
    for count, n, alive in ((0, 3, 2), (1, 0, 2), (1, 3, 0), (1, 3, 3)):
        with pytest.raises(InputError, match="at least one row"):
            source.sample(count, generator(0), n=n, alive=alive)
