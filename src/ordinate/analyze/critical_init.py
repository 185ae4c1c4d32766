r"""The critical initialisation, applied to a network.

All linear and convolutional layers get the variances of :func:`ordinate.analyze.criticality.find_criticality`. An activation with a fixed point :math:`K^\star > 0` needs its signals to start there: the first layer's weights
are scaled to :math:`C_W^1 = (K^\star - C_b) / G^0`, with :math:`G^0` the mean square of the inputs. With residual connections of weight :math:`\gamma` all variances are :math:`1 - \gamma^2` of those without.

Source: Roberts, Yaida, Hanin, The Principles of Deep Learning Theory (2022), sections 5.2 to 5.4 and appendix B.
"""

import warnings
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ordinate.analyze.criticality import CriticalityReport, find_criticality
from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation
from ordinate.nn.variance_init import untouched, variance_init_

__all__ = ["critical_init_", "first_variance"]


def first_variance(report: CriticalityReport, mean_square: float) -> float | None:
    """C_W of the first layer that brings inputs of this mean square to K*, or None where the layer is like the others.

    Raises:
        InputError: inputs that are all zero, or not finite.
    """
    if not 0 < mean_square < float("inf"):
        raise InputError(f"the inputs' mean square must be positive and finite, not {mean_square}")
    return (report.K_star - report.C_b) / mean_square if report.K_star else None


def critical_init_(
    module: nn.Module,
    activation: str | Activation | nn.Module | Callable[[Tensor], Tensor],
    *,
    C_b: float | None = None,
    C_W: float | None = None,
    residual: float | None = None,
    batch: Float[Tensor, "batch *features"] | None = None,
    last_C_W: float | None = None,
    generator: torch.Generator | None = None,
) -> nn.Module:
    """Initialise a network critically, in place. Norm layers, embeddings and whatever else the theory does not know are left alone, with a warning that names them.

    Args:
        module: the network; its linear and convolutional layers in the order of its modules.
        activation: the one between them.
        C_b, C_W: in place of the critical variances.
        residual: weight γ of the residual connections that the module has around its layers, in [0, 1), or None.
        batch: inputs, to measure G^0 for activations with a fixed point K* > 0; without it they are taken to have mean square 1.
        last_C_W: variance of the last layer's weights, in place of the others'.
        generator: to draw from; None is torch's own.

    Returns:
        The module.

    Raises:
        InputError: no usable activation, numbers out of range, or a module without such layers. An activation that cannot be made critical gets the compromise, with a warning.
    """
    report = find_criticality(activation)
    if report.kind == "none":
        warnings.warn(f"{report.activation} {report.remark}", stacklevel=2)
        if residual:
            raise InputError(f"{report.activation} cannot be made critical, with a residual connection or without")
    elif residual is not None:
        report = report.with_residual(residual)
    left = untouched(module)
    if left:
        warnings.warn(f"left as they were, being outside the theory: {', '.join(left[:8])}{', ...' if len(left) > 8 else ''}", stacklevel=2)
    first_C_W = None
    if C_b is None and C_W is None:
        first_C_W = first_variance(report, 1.0 if batch is None else float(batch.double().square().mean()))
    return variance_init_(
        module,
        report.C_b if C_b is None else C_b,
        report.C_W if C_W is None else C_W,
        first_C_W=first_C_W,
        last_C_W=last_C_W,
        generator=generator,
    )
