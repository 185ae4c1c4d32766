r"""Learning rates by layer, so that every layer has the same part in the neural tangent kernel and the sum does not depend on depth.

With learning rates :math:`\lambda_b^\ell` for biases and :math:`\lambda_W^\ell / n_{\ell-1}` for weights, layer :math:`\ell` of a critical network of depth L brings
:math:`(\lambda_b^\ell + \lambda_W^\ell \langle \sigma^2 \rangle_{\ell-1}) \prod_{\ell' \ge \ell} \chi_\perp` to :math:`\Theta^L`. Where the kernel is constant and :math:`\chi_\perp = 1`,

.. math:: \lambda_b^\ell = \lambda_b / L, \qquad \lambda_W^\ell = \lambda_W / L.

At :math:`K^\star = 0` the product falls as :math:`(\ell/L)^{p_\perp}` and :math:`\langle \sigma^2 \rangle` as :math:`\ell^{-q}` (q = 1 for smooth activations), so that

.. math:: \lambda_b^\ell = \lambda_b\, \ell^{-p_\perp} L^{p_\perp - 1}, \qquad \lambda_W^\ell = \lambda_W\, \ell^{q} (L/\ell)^{p_\perp} / L.

The rule is derived for gradient descent. Adam divides every gradient by its size and undoes such factors.

Source: Roberts, Yaida, Hanin, The Principles of Deep Learning Theory (2022), section 9.4; the book leaves overall factors to be tuned.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.analyze.criticality import CriticalityReport
from ordinate.ground.errors import InputError
from ordinate.nn.variance_init import fan_in, weight_layers

__all__ = ["layer_lr", "layer_rates", "layer_scale"]


def layer_rates(
    report: CriticalityReport, depth: int, lambda_b: float = 1.0, lambda_W: float = 1.0
) -> tuple[Float[Tensor, " layers"], Float[Tensor, " layers"]]:
    """The rates of biases and of weights (before the division by their number of inputs) at the layers 1..L, (L,) float64 each.

    Args:
        report: of the activation.
        depth: L, at least 1.
        lambda_b, lambda_W: overall factors, 0 or more.

    Raises:
        InputError: an activation that cannot be made critical, or numbers out of range.
    """
    if depth < 1 or lambda_b < 0 or lambda_W < 0:
        raise InputError(
            f"a network has at least one layer, and rates are 0 or more, not depth={depth}, lambda_b={lambda_b}, lambda_W={lambda_W}"
        )
    if report.kind == "none":
        raise InputError(f"{report.activation} {report.remark}: no learning rates make its layers equal")
    layer = torch.arange(1, depth + 1, dtype=torch.float64)
    if report.kind != "zero" or report.p_perp is None or report.decay is None:
        level = torch.full_like(layer, 1 / depth)
        return lambda_b * level, lambda_W * level
    share = (depth / layer) ** report.p_perp / depth
    return lambda_b * share, lambda_W * share * layer**report.decay


def _rates_by_name(module: nn.Module, report: CriticalityReport, lambda_b: float, lambda_W: float) -> dict[str, float]:
    layers = weight_layers(module)
    if not layers:
        raise InputError("the module has no linear or convolutional layer to give a learning rate to")
    found = {}
    for (name, layer), rate_b, rate_W in zip(layers, *layer_rates(report, len(layers), lambda_b, lambda_W), strict=True):
        prefix = f"{name}." if name else ""
        found[f"{prefix}weight"] = float(rate_W) / fan_in(layer)
        if layer.bias is not None:
            found[f"{prefix}bias"] = float(rate_b)
    return found


def layer_lr(module: nn.Module, report: CriticalityReport, lr: float, lambda_b: float = 1.0, lambda_W: float = 1.0) -> list[dict[str, Any]]:
    """Parameter groups for a torch optimizer (SGD): a weight of layer l gets lr · λ_W^l / fan_in, a bias lr · λ_b^l.

    Layers are the module's linear and convolutional ones in the order in which it has them. Whatever else it trains (norms, embeddings) is outside the theory and gets `lr`.

    Args:
        module: the network.
        report: of its activation.
        lr: the global learning rate.
        lambda_b, lambda_W: as in `layer_rates`.

    Raises:
        InputError: as in `layer_rates`, or a module without such layers.
    """
    rates = _rates_by_name(module, report, lambda_b, lambda_W)
    return [
        {"params": [parameter], "lr": lr * rates.get(name, 1.0)} for name, parameter in module.named_parameters() if parameter.requires_grad
    ]


def layer_scale(module: nn.Module, report: CriticalityReport, lambda_b: float = 1.0, lambda_W: float = 1.0) -> Callable[[str], float]:
    """The same as factors on a global learning rate by a parameter's name: the `scale` of :func:`ordinate.train.fit.fit`. Arguments and errors as in `layer_lr`."""
    rates = _rates_by_name(module, report, lambda_b, lambda_W)
    return lambda name: rates.get(name, 1.0)
