"""The contract of a token mixer, over every mixer that is registered, causal and not."""

import math
import subprocess
import sys

import pytest
import torch
from torch import Tensor

from ordinate.ground.errors import InputError
from ordinate.nn.mixers import create_mixer, list_mixers, mixer_class
from ordinate.nn.mixers.base import TokenMixer

DIM, HEADS, LENGTH = 12, 2, 11
TOLERANCE = 3e-5

BOTH = pytest.mark.parametrize("causal", [False, True], ids=["bidirectional", "causal"])
ALL = pytest.mark.parametrize("name", list_mixers())


def build(name: str, causal: bool, **arguments: object) -> TokenMixer:
    torch.manual_seed(1)
    try:
        return create_mixer(name, dim=DIM, heads=HEADS, causal=causal, max_length=16, **arguments)
    except InputError as error:
        if "causal" not in str(error):
            raise
        pytest.skip(f"{name} refuses causal={causal} at construction: {error}")


def build_decoder(name: str) -> TokenMixer:
    mixer = build(name, True)
    if mixer.spec.state == "none":
        pytest.skip(f"{name} says that it cannot decode step by step")
    return mixer.eval()


def inputs(length: int = LENGTH, batch: int = 3) -> Tensor:
    return torch.randn(batch, length, DIM, generator=torch.Generator().manual_seed(2))


def mask() -> Tensor:
    """Padding behind, in front and none."""
    real = torch.ones(3, LENGTH, dtype=torch.bool)
    real[0, 7:] = False
    real[1, :3] = False
    return real


@BOTH
@ALL
def test_shape_and_dtype_are_kept(name, causal):
    for dtype in (torch.float32, torch.float64):
        x = inputs().to(dtype)
        y = build(name, causal).to(dtype)(x)
        assert y.shape == x.shape
        assert y.dtype == dtype
        assert y.isfinite().all()


@ALL
def test_it_mixes_across_positions(name):
    mixer = build(name, False).eval()
    x = inputs().requires_grad_()
    mixer(x)[:, 5].sum().backward()
    assert (x.grad[:, :5].abs().amax(-1) > 0).any(), "nothing of the other positions is read"


@ALL
def test_the_future_is_not_read(name):
    mixer = build(name, True).double().eval()
    x = inputs().double().requires_grad_()
    y = mixer(x)
    for position in range(LENGTH - 1):
        (grad,) = torch.autograd.grad(y[:, position].sum(), x, retain_graph=True)
        assert grad[:, position + 1 :].abs().max() <= 1e-12, f"position {position} reads its future"


@BOTH
@ALL
def test_padding_changes_nothing_and_comes_out_as_zeros(name, causal):
    mixer, real = build(name, causal).eval(), mask()
    x = inputs()
    y = mixer(x, padding_mask=real)
    assert (y[~real] == 0).all()
    noise = torch.where(real[..., None], x, torch.randn_like(x) * 30)
    assert torch.allclose(mixer(noise, padding_mask=real), y, atol=TOLERANCE)
    garbage = torch.where(real[..., None], x, torch.full_like(x, math.nan))
    assert torch.allclose(mixer(garbage, padding_mask=real), y, atol=TOLERANCE), "padding that is not a number reaches real positions"
    short = mixer(x[:1, :7])
    assert torch.allclose(y[:1, :7], short, atol=TOLERANCE)
    assert torch.allclose(y[2:], mixer(x[2:]), atol=TOLERANCE)


@BOTH
@ALL
def test_a_sequence_of_padding_alone_is_zero_and_has_finite_gradients(name, causal):
    mixer, real = build(name, causal), mask()
    real[1] = False
    x = inputs().requires_grad_()
    y = mixer(x, padding_mask=real)
    assert (y[1] == 0).all()
    y.square().sum().backward()
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in mixer.parameters() if parameter.grad is not None)


@ALL
def test_prefill_and_steps_give_what_forward_gives(name):
    mixer, x = build_decoder(name), inputs()
    whole = mixer(x)
    for start in (1, 6):
        y, state = mixer.prefill(x[:, :start])
        assert torch.allclose(y, whole[:, :start], atol=TOLERANCE)
        for position in range(start, LENGTH):
            y_t, state = mixer.step(x[:, position], state)
            assert torch.allclose(y_t, whole[:, position], atol=TOLERANCE), f"position {position} after a prompt of {start}"


@ALL
def test_prefill_minds_the_padding_of_a_prompt(name):
    mixer, x = build_decoder(name), inputs()
    real = mask()
    real[:, 8:] = True
    _, state = mixer.prefill(x[:, :8], padding_mask=real[:, :8])
    y_t, _ = mixer.step(x[:, 8], state)
    assert torch.allclose(y_t, mixer(x[:, :9], padding_mask=real[:, :9])[:, 8], atol=TOLERANCE)


@ALL
def test_a_state_can_be_continued_twice(name):
    mixer, x = build_decoder(name), inputs()
    _, state = mixer.prefill(x[:, :5])
    first, _ = mixer.step(x[:, 5], state)
    mixer.step(x[:, 6], state)
    again, _ = mixer.step(x[:, 5], state)
    assert torch.equal(first, again)


@ALL
def test_what_is_not_causal_refuses_to_step(name):
    mixer = build(name, False)
    with pytest.raises(InputError, match="causal"):
        mixer.prefill(inputs())
    with pytest.raises(InputError, match="causal"):
        mixer.step(inputs()[:, 0], None)


@BOTH
@ALL
def test_bfloat16_is_finite_and_near(name, causal):
    mixer, x = build(name, causal).eval(), inputs()
    y = mixer(x)
    low = mixer.to(torch.bfloat16)(x.to(torch.bfloat16))
    assert low.dtype == torch.bfloat16
    assert low.isfinite().all()
    assert (low.float() - y).abs().max() <= 0.1 * y.abs().max()


@ALL
def test_autocast_is_finite_and_near(name):
    mixer, x = build(name, True).eval(), inputs()
    y = mixer(x)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        low = mixer(x)
    assert low.isfinite().all()
    assert (low.float() - y).abs().max() <= 0.1 * y.abs().max()


@BOTH
@ALL
def test_every_parameter_gets_a_gradient(name, causal):
    mixer = build(name, causal)
    mixer(inputs(16)).square().sum().backward()
    for label, parameter in mixer.named_parameters():
        assert parameter.grad is not None, label
        assert parameter.grad.isfinite().all(), label
        assert (parameter.grad != 0).any(), label


@BOTH
@ALL
def test_gradients_are_those_of_finite_differences(name, causal):
    mixer = build(name, causal).double().eval()
    x = inputs(5, batch=1).double().requires_grad_()
    assert torch.autograd.gradcheck(mixer, (x,), fast_mode=True, atol=1e-6)


@BOTH
@ALL
def test_the_state_goes_round(name, causal):
    mixer, x = build(name, causal).eval(), inputs()
    torch.manual_seed(7)
    twin = create_mixer(name, dim=DIM, heads=HEADS, causal=causal, max_length=16).eval()
    twin.load_state_dict(mixer.state_dict())
    assert torch.equal(mixer(x), twin(x))


@BOTH
@ALL
@pytest.mark.parametrize("length", [0, 1])
def test_the_shortest_sequences(name, causal, length):
    x = inputs(length)
    y = build(name, causal)(x)
    assert y.shape == x.shape
    assert y.isfinite().all()


@BOTH
@ALL
def test_what_is_not_a_number_does_not_pass_silently(name, causal):
    x = inputs()
    x[0, 4, 3] = math.nan
    try:
        y = build(name, causal).eval()(x)
    except ValueError:
        return
    assert y[0, 4].isnan().any()
    assert y[2].isfinite().all() or not y.isfinite().all()


@ALL
def test_bad_input_is_one_clear_line(name):
    mixer = build(name, False)
    bad = [
        (torch.randn(LENGTH, DIM), None),
        (torch.randn(2, LENGTH, DIM + 1), None),
        (torch.randn(2, 3, LENGTH, DIM), None),
        (torch.zeros(2, LENGTH, DIM, dtype=torch.int64), None),
        (torch.randn(2, LENGTH, DIM, dtype=torch.complex64), None),
        (torch.randn(2, LENGTH, DIM), torch.ones(2, LENGTH + 1, dtype=torch.bool)),
        (torch.randn(2, LENGTH, DIM), torch.ones(2, LENGTH)),
    ]
    for x, padding in bad:
        with pytest.raises(Exception) as caught:
            type(mixer).check(mixer, x, padding)
        assert isinstance(caught.value, InputError)
        assert "\n" not in str(caught.value)


@ALL
def test_a_width_that_the_heads_do_not_divide_is_refused(name):
    with pytest.raises(InputError):
        create_mixer(name, dim=10, heads=4)
    with pytest.raises(InputError):
        create_mixer(name, dim=0, heads=1)


@ALL
def test_its_row_of_the_taxonomy_is_filled(name):
    spec = build(name, False).spec
    assert all((spec.mixes_with, spec.time, spec.memory, spec.state, spec.shards))
    assert mixer_class(name).__doc__


COMPILE = """
import torch
from ordinate.nn.mixers import create_mixer
for name, more in [("softmax", {}), ("linear-attention", {}), ("nprf", {}), ("nprf", {"method": "fft"}), ("nprf", {"method": "chunked"})]:
    torch.manual_seed(0)
    mixer, x = create_mixer(name, dim=12, heads=2, causal=True, max_length=16, **more), torch.randn(2, 11, 12, requires_grad=True)
    compiled = torch.compile(mixer, fullgraph=True, backend="aot_eager")
    for run in (compiled, mixer):
        y = run(x)
        (grad,) = torch.autograd.grad(y.square().sum(), x)
        if run is compiled:
            first = y, grad
    assert torch.allclose(first[0], y, atol=3e-5) and torch.allclose(first[1], grad, atol=3e-4), (name, more)
"""


def test_representatives_compile_whole():
    # In a process of its own: the checks of signatures that the tests switch on cannot be traced.
    done = subprocess.run([sys.executable, "-c", COMPILE], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
