r"""The bound on the excess risk of learning in two phases, as numbers.

For a loss in [0, L] and a :math:`\kappa^{-1}`-informative model, with probability :math:`1 - \delta`,

.. math:: \text{excess} \le 2 \max_\varphi R_n(\ell \circ G_{\varphi, \Psi}) + 12\, \kappa L \sqrt{\frac{\log\bigl(N_{[\,]}(P(\Phi), 1/m)/\delta\bigr)}{m}} + 2 L \sqrt{\frac{\log(4/\delta)}{2n}} .

Of a parametric class the logarithm of the bracketing number is about the number of parameters times :math:`\log(m \cdot \text{scale})`, and the Rademacher complexity of the head about :math:`L \sqrt{\dim \Psi / n}`. What is
sure of the bound is its shape, :math:`\tilde O(\sqrt{C_\Phi / m} + \sqrt{C_\Psi / n})`; its constants are arguments. It is an upper bound for the worst model of a class: in well-specified parametric models the risk falls like
1/m and 1/n.

Source: Ge, Tang, Fan, Jin, On the Provable Advantage of Unsupervised Pretraining (ICLR 2024), section 3 and, for weakly informative models, theorem 3.7; the orders of the instances from its sections on factor models,
Gaussian mixtures and contrastive learning.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from ordinate.ground.errors import InputError, choose

__all__ = ["CONSTANTS", "ORDERS", "RiskBound", "excess_risk_bound", "instance_order", "log_bracketing_number", "rademacher_complexity"]

CONSTANTS = (2.0, 12.0, 2.0)
"""Of the head's complexity, the pretraining and the confidence."""


@dataclass(frozen=True)
class RiskBound:
    """The bound by its terms, each in the loss's unit.

    Attributes:
        head: what fitting the head to n labels costs.
        pretraining: what fitting the latent-variable model to m rows costs.
        confidence: what the chance of an unlucky draw of labels costs.
    """

    head: float
    pretraining: float
    confidence: float

    @property
    def total(self) -> float:
        """The sum."""
        return self.head + self.pretraining + self.confidence

    @property
    def bottleneck(self) -> str:
        """``"unlabelled"`` where pretraining costs more than the labels do, else ``"labelled"``."""
        return "unlabelled" if self.pretraining > self.head + self.confidence else "labelled"


def log_bracketing_number(parameters: int, m: int, scale: float = 1.0) -> float:
    """About the logarithm of how many brackets of width 1/m cover a class with that many parameters.

    Args:
        parameters: of the class.
        m: unlabelled rows.
        scale: the size of the parameters' range.

    Raises:
        InputError: numbers that are not positive.
    """
    if parameters < 1 or m < 1 or scale <= 0:
        raise InputError(f"parameters and m must be at least 1 and the scale positive, not {parameters}, {m} and {scale}")
    return parameters * max(math.log(m * scale), 0.0)


def rademacher_complexity(dim: int, n: int, loss_bound: float = 1.0) -> float:
    """About that of losses in [0, L] of a head with `dim` parameters on n labels.

    Raises:
        InputError: numbers that are not positive.
    """
    if dim < 1 or n < 1 or loss_bound <= 0:
        raise InputError(f"dim and n must be at least 1 and the loss's bound positive, not {dim}, {n} and {loss_bound}")
    return loss_bound * math.sqrt(dim / n)


def excess_risk_bound(
    m: int,
    n: int,
    *,
    rademacher: float,
    log_bracketing: float,
    kappa: float = 1.0,
    loss_bound: float = 1.0,
    delta: float = 0.05,
    constants: tuple[float, float, float] = CONSTANTS,
) -> RiskBound:
    """The bound for m unlabelled rows and n labels.

    Args:
        m, n: how many.
        rademacher: the head's complexity on n labels; see `rademacher_complexity`.
        log_bracketing: see `log_bracketing_number`.
        kappa: how uninformative the model is; infinity gives an infinite bound.
        loss_bound: L.
        delta: the chance that it does not hold.
        constants: of the three terms.

    Raises:
        InputError: no rows or labels, or an argument out of range.
    """
    if m < 1 or n < 1:
        raise InputError(f"the bound needs unlabelled rows and labels, at least one of each, not m={m} and n={n}")
    if not 0 < delta < 1 or kappa <= 0 or loss_bound <= 0 or rademacher < 0 or log_bracketing < 0:
        raise InputError("delta lies in (0, 1), kappa and the loss's bound are positive, and complexities are 0 or more")
    first, second, third = constants
    return RiskBound(
        first * rademacher,
        second * kappa * loss_bound * math.sqrt((log_bracketing - math.log(delta)) / m),
        third * loss_bound * math.sqrt(math.log(4 / delta) / (2 * n)),
    )


ORDERS: dict[str, Callable[[int, int, int, int], tuple[float, float, float]]] = {
    "factor": lambda d, latents, m, n: (math.sqrt(d * latents / m), math.sqrt(latents / n), math.sqrt(d / n)),
    "mixture": lambda d, latents, m, n: (math.sqrt(d * latents / m), math.sqrt(latents / n), math.sqrt(d * latents / n)),
    "contrastive": lambda d, latents, m, n: (math.sqrt(d * latents / m), math.sqrt(latents / n), math.sqrt(d / n)),
}


def instance_order(instance: str, *, d: int, latents: int, m: int, n: int) -> tuple[float, float, float]:
    """The orders of the pretraining term, the head's term and labels alone, without constants and logarithms.

    Args:
        instance: ``"factor"``, ``"mixture"`` or ``"contrastive"``.
        d: coordinates.
        latents: r, or the number of components.
        m, n: unlabelled rows and labels.

    Raises:
        InputError: no such instance, or numbers below 1.
    """
    choose("instance", instance, ORDERS)
    if min(d, latents, m, n) < 1:
        raise InputError("d, latents, m and n must be at least 1")
    return ORDERS[instance](d, latents, m, n)
