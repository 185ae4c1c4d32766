"""The sparse deep kernel machine against the fully connected layers of the follow-up's library: every layer's blocks, the objective, the outputs, and all gradients."""

import torch
from torch.distributions import Normal

from ordinate.models.registry import load_official
from ordinate.models.sparse_deep_kernel_machine import SparseDeepKernelMachine
from ordinate.nn.gram import Gram
from ordinate.nn.gram_layer import propagate
from tests.parity.case import Case

NOISE, ROWS = 0.1, 100  # of the recorded objective: ell_mean is under this noise, kl_reg is shared by this many data
CLOSE = {"atol": 1e-8, "rtol": 1e-8}  # what the recorded cases state in words
KERNELS = {"relu": "ReluKernel", "sqexp": "SqExpKernel"}
GRADIENTS = {
    "log_bias_var": "deep.kernels.{kernel}.log_bias_var",
    "log_weight_var": "deep.kernels.{kernel}.log_weight_var",
    "V": "deep.layers.{layer}.form.raw",
    "latent_Gscale": "deep.layers.{layer}.form.log_scale",
    "L": "output.covariance.raw",
    "mu": "output.mean",
}


def check(case: Case) -> None:
    layers, config = case.meta["layers"], case.meta["constructor"]
    expected = ["F2G", *[each for kernel in config["kernels"] for each in (KERNELS[kernel], "GramLayer")][:-1], "Output"]
    assert layers == expected, f"{case.name}: these layers are not known here: {layers}"
    assert case.meta["dtype"] == "float64" and str(case.meta["tolerance"]).startswith("1e-8"), f"{case.name}: another precision"
    machine = load_official("deep-kernel-machine", {**case.state(), "X_inducing": case.input("X_inducing")}, **config)
    assert isinstance(machine, SparseDeepKernelMachine)

    def blocks(number: int, gram: Gram) -> None:
        for name, value in (("ii", gram.ii), ("ti", gram.ti), ("t", gram.t)):
            case.close(value, f"{number}_{layers[number]}/{name}", **CLOSE)

    gram = machine.inputs(machine.points, case.input("X_test"))
    blocks(0, gram)
    regularisers = []
    for number, kernel in enumerate(machine.deep.kernels):
        gram = kernel(gram)
        blocks(2 * number + 1, gram)
        if number < len(machine.deep.layers):
            factors = machine.deep.layers[number].factor(gram.ii)
            gram = propagate(factors, gram)
            blocks(2 * number + 2, gram)
            case.close(-factors.penalty.reshape(1), f"{2 * number + 2}_GramLayer/obj", **CLOSE)
            regularisers.append(-factors.penalty)
    values = machine.output(gram)
    case.close(values.mean, "f_mean", **CLOSE)
    case.close(values.variance, "f_var", **CLOSE)
    regularisers.append(-values.divergence / machine.out_features)
    case.close(regularisers[-1].reshape(1), "output_obj", **CLOSE)
    regulariser = torch.stack(regularisers).sum()
    case.close(regulariser.reshape(1), "kl_reg", **CLOSE)
    samples = case.input("eps") * values.variance.sqrt()[:, None] + values.mean
    case.close(samples, "f_samples", **CLOSE)
    expected_log_prob = Normal(samples, NOISE**0.5).log_prob(case.input("y")).sum(dim=-1).mean()
    case.close(expected_log_prob.reshape(1), "ell_mean", **CLOSE)
    # The objective of the module has its expectation in closed form; what the recorded one adds to its own is the same.
    once, twice = (machine.elbo(case.input("X_test"), case.input("y"), rows) for rows in (ROWS, 2 * ROWS))
    torch.testing.assert_close(once - twice, regulariser / ROWS / 2)
    (-(expected_log_prob + regulariser / ROWS)).backward()
    ours = dict(machine.named_parameters())
    recorded = [name.removeprefix("grad/") for name in case.outputs() if name.startswith("grad/")]
    assert recorded
    for name in recorded:
        place, _, parameter = name.partition(".")
        key = GRADIENTS[parameter].format(kernel=int(place) // 2, layer=int(place) // 2 - 1)
        grad = ours[key].grad
        assert grad is not None, key
        case.close(grad, f"grad/{name}", **CLOSE)
