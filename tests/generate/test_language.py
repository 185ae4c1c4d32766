"""Generation, against `transformers` on tiny models, and by hand."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ordinate.generate.decoding import beam_search
from ordinate.generate.language import Sampling, block_ngrams, generate, pad_prompts
from ordinate.ground.errors import InputError
from ordinate.models.sequence import Sequence

PROMPTS = [[3, 1, 4, 1, 5], [9, 2], [6, 5, 3]]
MIXERS = [
    ("softmax", "absolute"),
    ("softmax-rotary", "rotary"),
    ("softmax-rpe", "none"),
    ("nprf", "sinusoidal"),
    ("linear-attention", "none"),
]


def model(mixer: str = "softmax", position: str = "absolute", **arguments: object) -> Sequence:
    torch.manual_seed(0)
    made = Sequence(vocabulary=11, dim=16, depth=2, heads=2, mixer=mixer, position=position, max_length=32, tied=False, **arguments)
    for parameter in made.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.4)
    return made.double().eval()


@pytest.mark.parametrize(("mixer", "position"), MIXERS)
def test_prompts_of_unequal_lengths_go_on_as_each_alone_and_as_without_a_state(mixer: str, position: str) -> None:
    lm = model(mixer, position)
    together = generate(lm, PROMPTS, most=7).symbols
    for row, prompt in enumerate(PROMPTS):
        assert torch.equal(together[row : row + 1], generate(lm, [prompt], most=7).symbols)
        said = torch.tensor([prompt])
        for symbol in together[row]:
            assert int(lm(said)[0, -1].argmax()) == int(symbol)
            said = torch.cat([said, symbol[None, None]], dim=1)


@pytest.mark.parametrize(("mixer", "position"), MIXERS)
def test_beams_find_what_a_search_over_everything_finds(mixer: str, position: str) -> None:
    lm = model(mixer, position)
    tokens, mask = pad_prompts(PROMPTS)
    beams = beam_search(lm, {"tokens": tokens, "padding_mask": mask}, width=11, most=2, end=None)
    for row, prompt in enumerate(PROMPTS):
        first = lm(torch.tensor([prompt]))[0, -1].log_softmax(-1)
        second = torch.stack([lm(torch.tensor([[*prompt, symbol]]))[0, -1].log_softmax(-1) for symbol in range(11)])
        total = first[:, None] + second
        assert torch.allclose(beams.log_prob[row, 0], total.max(), atol=1e-9)
        assert beams.symbols[row, 0].tolist() == [int(total.argmax()) // 11, int(total.argmax()) % 11]


def test_greedy_and_sampled_distributions_are_those_of_transformers(tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers", reason="needs ordinate[language]")
    from ordinate.models.transformers_layouts import read_transformers

    torch.manual_seed(2)
    theirs = transformers.LlamaForCausalLM(
        transformers.LlamaConfig(
            vocab_size=23, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=20, max_position_embeddings=32
        )
    ).eval()
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    theirs.save_pretrained(tmp_path / "theirs")
    ours = read_transformers(tmp_path / "theirs")
    tokens, mask = pad_prompts(PROMPTS)
    wanted = theirs.generate(
        tokens, attention_mask=mask.long(), max_new_tokens=8, do_sample=False, pad_token_id=0, eos_token_id=None, no_repeat_ngram_size=2
    )
    rows = [torch.tensor(prompt) for prompt in PROMPTS]
    # transformers counts the padding in front as said too: only the row without any is alike
    given_ = generate(ours, PROMPTS, most=8, constraint=block_ngrams(2, rows)).symbols
    assert torch.equal(given_[0], wanted[0, tokens.shape[1] :])
    plain = theirs.generate(tokens, attention_mask=mask.long(), max_new_tokens=8, do_sample=False, pad_token_id=0, eos_token_id=None)
    assert torch.equal(generate(ours, PROMPTS, most=8).symbols, plain[:, tokens.shape[1] :])
    logits = torch.randn(4, 23)
    warped = transformers.TopPLogitsWarper(0.7)(tokens, transformers.TopKLogitsWarper(9)(tokens, logits / 0.6))
    assert torch.allclose(Sampling(0.6, 9, 0.7).shaped(logits.log_softmax(1)).exp(), warped.softmax(1), atol=1e-6)


@given(st.floats(0.1, 3.0), st.one_of(st.none(), st.integers(1, 30)), st.floats(0.01, 1.0), st.integers(0, 1000))
def test_what_is_drawn_from_is_a_distribution_over_the_likeliest(temperature: float, top_k: int | None, top_p: float, seed: int) -> None:
    log_prob = torch.randn(3, 12, generator=torch.Generator().manual_seed(seed)).log_softmax(1)
    shaped = Sampling(temperature, top_k, top_p).shaped(log_prob)
    kept = shaped > -torch.inf
    assert torch.allclose(shaped.exp().sum(1), torch.ones(3), atol=1e-5)
    assert kept.sum(1).ge(1).all()
    assert kept.sum(1).le(top_k or 12).all()
    assert (torch.where(kept, log_prob, torch.inf).amin(1) >= torch.where(kept, -torch.inf, log_prob).amax(1)).all()
    if top_p < 1 and top_k is None:
        probability = (log_prob / temperature).softmax(1)
        mass = torch.where(kept, probability, 0).sum(1)
        assert (mass >= top_p - 1e-5).all()
        assert (mass - torch.where(kept, probability, torch.inf).amin(1) < top_p + 1e-5).all(), "one token more than needed"


def test_draws_follow_the_distribution_and_the_seed() -> None:
    lm = model()
    many = generate(lm, [PROMPTS[0]] * 4000, most=1, sampling=Sampling(), seed=3).symbols[:, 0]
    probability = lm(torch.tensor(PROMPTS[:1]))[0, -1].softmax(-1)
    found = torch.bincount(many, minlength=11) / 4000
    assert (found - probability).abs().max() < 0.03
    assert torch.equal(
        generate(lm, PROMPTS, most=5, sampling=Sampling(), seed=3).symbols,
        generate(lm, PROMPTS, most=5, sampling=Sampling(), seed=3).symbols,
    )
    assert not torch.equal(
        generate(lm, PROMPTS, most=9, sampling=Sampling(), seed=3).symbols,
        generate(lm, PROMPTS, most=9, sampling=Sampling(), seed=4).symbols,
    )
    assert torch.equal(generate(lm, PROMPTS, most=5, sampling=Sampling(temperature=0)).symbols, generate(lm, PROMPTS, most=5).symbols)


@given(st.integers(1, 4), st.lists(st.integers(0, 2), min_size=1, max_size=12))
def test_blocked_ngrams_are_those_that_were_there(n: int, said: list[int]) -> None:
    allowed = block_ngrams(n)(torch.tensor([said]), torch.ones(1, 3, dtype=torch.bool))[0]
    grams = {tuple(said[at : at + n]) for at in range(len(said) - n + 1)}
    for symbol in range(3):
        assert bool(allowed[symbol]) == ((*said[len(said) - n + 1 :], symbol) not in grams if len(said) >= n else True)


def test_an_end_stops_a_row_and_bad_requests_are_one_line() -> None:
    lm = model()
    plain = generate(lm, PROMPTS, most=6)
    end = int(plain.symbols[0, 1])
    cut = generate(lm, PROMPTS, most=6, end=end)
    assert bool(cut.ended[0])
    assert cut.symbols[0, 1:].eq(end).all()
    for prompts in ([], [[]], [[1], []]):
        with pytest.raises(InputError, match="prompt"):
            generate(lm, prompts, most=3)
    with pytest.raises(InputError, match="11"):
        generate(lm, [[11]], most=3)
    with pytest.raises(InputError, match="top_p"):
        Sampling(top_p=0)
    with pytest.raises(InputError, match="n-grams"):
        block_ngrams(0)
    with pytest.raises(InputError, match="positions"):
        generate(lm, [[1]], most=40)
