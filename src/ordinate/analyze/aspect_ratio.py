r"""How deep a network of a given width should be.

Depth over width, :math:`r = L/n`, is what correlations between neurons and fluctuations between networks grow with. The mutual information of two groups of output neurons, to third order in r, is largest at

.. math:: r^\star = \frac{4}{20 + 3 n_L} \frac1\nu,

with :math:`n_L` outputs and :math:`\nu` the rate of the four-point vertex. Beyond it networks of the same recipe differ more and more. A residual connection of weight :math:`\gamma` lowers :math:`\nu`
(see :meth:`ordinate.analyze.criticality.CriticalityReport.with_residual`) and so allows for more depth: `gamma_for` gives the weight at which a given depth is the best one.

Source: Roberts, Yaida, Hanin, The Principles of Deep Learning Theory (2022), appendix A.3 and section B.
"""

import math

from ordinate.analyze.criticality import CriticalityReport
from ordinate.analyze.flow import check_aspect
from ordinate.ground.errors import InputError

__all__ = ["best_ratio", "gamma_for", "optimal_depth"]


def best_ratio(report: CriticalityReport, n_out: int, gamma: float = 0.0) -> float:
    """r*, the best depth over width.

    Args:
        report: of the activation.
        n_out: number of outputs, at least 1.
        gamma: weight of the residual connections, in [0, 1).

    Raises:
        InputError: an activation that cannot be made critical, or numbers out of range.
    """
    if n_out < 1:
        raise InputError(f"a network has at least one output, not {n_out}")
    nu = report.with_residual(gamma).nu
    return 4 / ((20 + 3 * n_out) * nu) if nu else math.inf


def optimal_depth(width: int, n_out: int, report: CriticalityReport, gamma: float = 0.0) -> float:
    """L* = r* n, a real number: below 2 the width is too small for a hidden layer to pay off.

    Args:
        width: n, at least 2.
        n_out, report, gamma: as in `best_ratio`.

    Raises:
        InputError: as in `best_ratio`, or a width below 2.
    """
    if width < 2:
        raise InputError(f"a layer has at least two neurons, not {width}")
    return best_ratio(report, n_out, gamma) * width


def gamma_for(depth: int, width: int, n_out: int, report: CriticalityReport) -> float:
    r"""The residual weight for which `depth` is the best depth: the root of :math:`\nu(\gamma) = 4 / ((20 + 3 n_L) L/n)`, and 0 where the network is no deeper than it should be without.

    Args:
        depth: L.
        width: n.
        n_out, report: as in `best_ratio`.

    Raises:
        InputError: as in `best_ratio`. Warns where depth over width is above 0.5.
    """
    check_aspect(depth, width)
    if depth / width <= best_ratio(report, n_out):
        return 0.0
    wanted = 4 * width / ((20 + 3 * n_out) * depth)
    if report.nu is None:
        raise InputError(f"{report.activation} cannot be made critical")
    third = 3.0 if report.kind == "zero" else 1.0
    # nu(x) = (1 - x) [(1 - x) N + 4 x] with x = γ² is N - (2N - 4) x + (N - 4) x²; it falls from N to 0, and meets a smaller value once.
    start = third * report.nu
    square, line, rest = start - 4, 4 - 2 * start, start - third * wanted
    if abs(square) < 1e-12:
        return math.sqrt(-rest / line)
    root = math.sqrt(line * line - 4 * square * rest)
    return math.sqrt(min(x for x in ((-line - root) / (2 * square), (-line + root) / (2 * square)) if x >= 0))
