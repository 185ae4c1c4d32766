r"""How deep a network of a given width should be.

Depth over width, :math:`r = L/n`, is what correlations between neurons and fluctuations between networks grow with. The mutual information of two groups of output neurons, to third order in r, is largest at

.. math:: r^\star = \frac{4}{20 + 3 n_L} \frac1\nu,

with :math:`n_L` outputs and :math:`\nu` the rate of the four-point vertex. Beyond it networks of the same recipe differ more and more. A residual connection of weight :math:`\gamma` lowers :math:`\nu`
(see :meth:`ordinate.analyze.criticality.CriticalityReport.with_residual`) and so allows for more depth: `gamma_for` gives the weight at which a given depth is the best one.

Source: Roberts, Yaida, Hanin, The Principles of Deep Learning Theory (2022), appendix A.3 and section B.
"""

import math

from scipy.optimize import brentq

from ordinate.analyze.criticality import CriticalityReport
from ordinate.analyze.flow import check_aspect
from ordinate.ground.errors import InputError

__all__ = ["best_ratio", "gamma_for", "optimal_depth"]


def best_ratio(report: CriticalityReport, n_out: int, gamma: float = 0.0, *, skewed: bool = True) -> float:
    """r*, the best depth over width.

    Args:
        report: of the activation.
        n_out: number of outputs, at least 1.
        gamma: weight of the residual connections, in [0, 1).
        skewed: False takes the book's rate with residual connections, which leaves third moments out.

    Raises:
        InputError: an activation that cannot be made critical, or numbers out of range.
    """
    if n_out < 1:
        raise InputError(f"a network has at least one output, not {n_out}")
    nu = report.with_residual(gamma, skewed=skewed).nu
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


def gamma_for(depth: int, width: int, n_out: int, report: CriticalityReport, *, skewed: bool = True) -> float:
    r"""The residual weight for which `depth` is the best depth: the root of :math:`\nu(\gamma) = 4 / ((20 + 3 n_L) L/n)`, and 0 where the network is no deeper than it should be without.

    For an activation that is neither odd nor even the rate first rises with :math:`\gamma`; the root is the one beyond which it only falls.

    Args:
        depth: L.
        width: n.
        n_out, report, skewed: as in `best_ratio`.

    Raises:
        InputError: as in `best_ratio`. Warns where depth over width is above 0.5.
    """
    check_aspect(depth, width)
    if depth / width <= best_ratio(report, n_out):
        return 0.0

    def short(gamma: float) -> float:
        return best_ratio(report, n_out, gamma, skewed=skewed) - depth / width

    enough = [step / 1000 for step in range(1000) if short(step / 1000) < 0][-1]
    # At the end of the grid the root lies between 0.999 and 1, where the rate goes to 0.
    return float(brentq(short, enough, min(enough + 1e-3, 1 - 1e-12), xtol=1e-13))
