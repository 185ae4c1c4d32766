"""The polynomial compositions against the official code. Official coefficients descend (the first is the highest power's) and have no bias among them; ours ascend from it."""

import torch

from ordinate.models.polycom_official import ascending
from ordinate.nn.polynomial_activations import PolyNorm, PolyReLU
from tests.parity.case import Case

CLASSES = {"PolyNorm": PolyNorm, "PolyReLU": PolyReLU}


def check(case: Case) -> None:
    tolerance, bf16 = case.tolerance("float64"), 0.05
    x, w = case.input("x"), case.input("w")
    names = {name.split("/")[0] for name in case.outputs()}
    assert names <= set(CLASSES), f"classes that the adapter does not know: {names - set(CLASSES)}"
    for name in names:
        state = case.state()
        module = CLASSES[name](len(state[f"{name}.weight"])).double()
        with torch.no_grad():
            module.coefficients.copy_(ascending(state[f"{name}.weight"], state[f"{name}.bias"]))
        given = x.clone().requires_grad_()
        y = module(given)
        (y * w).sum().backward()
        case.close(y, f"{name}/y", atol=tolerance)
        case.close(given.grad, f"{name}/dx", atol=tolerance)
        gradient = module.coefficients.grad
        case.close(gradient[1:].flip(0), f"{name}/dweight", atol=tolerance)
        case.close(gradient[:1], f"{name}/dbias", atol=tolerance)
        half = module.to(torch.bfloat16)(x.to(torch.bfloat16))
        case.close(half, f"{name}/y_bf16", rel=bf16)
