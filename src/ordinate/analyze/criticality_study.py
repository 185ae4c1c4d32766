r"""Everything that the theory says of one activation, one depth and one width, beside what networks show.

The activation's class and critical variances; then, for the critical initialisation and two popular ones (He's, :math:`C_W = 2`; torch's default for linear layers, :math:`C_W = 1/3` and :math:`C_b = 1/(3n)`), the recursion through all
layers beside networks that are drawn; and how deep the width allows for.
"""

import math
import warnings
from dataclasses import asdict, dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ordinate.analyze.aspect_ratio import gamma_for, optimal_depth
from ordinate.analyze.criticality import CriticalityReport, find_criticality
from ordinate.analyze.flow import RGFlow, rg_flow
from ordinate.analyze.kernels import kernel_flow
from ordinate.analyze.signals import Propagation, Signals, propagate
from ordinate.ground.errors import InputError
from ordinate.nn.activations import Activation

__all__ = ["CriticalityStudy", "Initialisation", "study_criticality"]

_COSINE = 0.2


@dataclass(frozen=True)
class Initialisation:
    """One initialisation of the studied network, foretold and seen.

    Attributes:
        name: ``"critical"`` (``"compromise"`` where nothing is), ``"He"`` or ``"torch default"``.
        C_b, C_W: its variances.
        flow: the recursion through the layers.
        cosine: the recursion's cosine of two inputs of the same size, (L,).
        mean, spread: the predicted mean and standard deviation over networks of a layer's mean z², (L,).
        signals: of the networks that were drawn; None where none were.
        gradient: the predicted log10 of the gradient's norm by z^1 over that by z^L.
        fate: what becomes of a signal, in a few words.
    """

    name: str
    C_b: float
    C_W: float
    flow: RGFlow
    cosine: Float[Tensor, " layers"]
    mean: Float[Tensor, " layers"]
    spread: Float[Tensor, " layers"]
    signals: Signals | None
    gradient: float
    fate: str

    def to_json(self) -> dict[str, Any]:
        """JSON values; a curve is a list over the layers."""
        document: dict[str, Any] = {
            "C_b": self.C_b,
            "C_W": self.C_W,
            "fate": self.fate,
            "gradient_decades": self.gradient,
            "K": self.flow.K.tolist(),
            "K_spread": self.spread.tolist(),
            "V": self.flow.V.tolist(),
            "Theta": self.flow.Theta.tolist(),
            "chi_par": self.flow.chi_par.tolist(),
            "chi_perp": self.flow.chi_perp.tolist(),
            "cosine": self.cosine.tolist(),
        }
        if self.signals is not None:
            document["measured"] = {
                "K": self.signals.squares.mean(dim=0).tolist(),
                "K_spread": self.signals.squares.std(dim=0).tolist() if len(self.signals.squares) > 1 else None,
                "cosine": self.signals.cosines.mean(dim=0).tolist(),
                "gradient_decades": float(self.signals.decades.mean()),
            }
        return document


@dataclass(frozen=True)
class CriticalityStudy:
    """What `study_criticality` found.

    Attributes:
        report: the activation's critical point.
        depth, width, n_out: of the network.
        best_depth: the depth that suits the width, or None where nothing is critical.
        residual: the weight of residual connections that makes `depth` suit the width; 0 where none is needed, None where nothing is critical.
        initialisations: the critical one first.
        remarks: what to know before using any of it.
    """

    report: CriticalityReport
    depth: int
    width: int
    n_out: int
    best_depth: float | None
    residual: float | None
    initialisations: tuple[Initialisation, ...]
    remarks: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """JSON values."""
        return {
            **asdict(self.report),
            "depth": self.depth,
            "width": self.width,
            "n_out": self.n_out,
            "best_depth": self.best_depth,
            "residual": self.residual,
            "remarks": list(self.remarks),
            "initialisations": {each.name: each.to_json() for each in self.initialisations},
        }


def study_criticality(
    activation: Any,
    *,
    depth: int = 50,
    width: int = 512,
    n_out: int = 10,
    draws: int = 20,
    seed: int = 0,
) -> CriticalityStudy:
    """Study an activation in networks of one depth and width.

    Args:
        activation: a name, an `Activation`, a module or a function of a tensor; whatever else is refused with a reason.
        depth: L, at least 2.
        width: n, at least 2.
        n_out: outputs of the network, for the best depth.
        draws: networks to draw for each initialisation; 0 for the recursions alone.
        seed: of the networks.

    Raises:
        InputError: no usable activation, or numbers out of range.
    """
    if depth < 2 or width < 2 or n_out < 1 or draws < 0:
        raise InputError(f"a study needs 2 layers, 2 neurons and an output, not depth={depth}, width={width}, n_out={n_out}, draws={draws}")
    act = Activation.of(activation)
    report = find_criticality(act)
    remarks = [report.remark] if report.remark else []
    best_depth = residual = None
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if report.kind != "none":
            best_depth, residual = optimal_depth(width, n_out, report), gamma_for(depth, width, n_out, report)
        first, ours = report.K_star or 1.0, "critical" if report.kind != "none" else "compromise"
        found = [
            _try(name, act, C_b, C_W, max(first, C_b), depth, width, draws, seed, remarks)
            for name, C_b, C_W in ((ours, report.C_b, report.C_W), ("He", 0.0, 2.0), ("torch default", 1 / (3 * width), 1 / 3))
        ]
    remarks += dict.fromkeys(str(warning.message) for warning in caught)
    return CriticalityStudy(report, depth, width, n_out, best_depth, residual, tuple(each for each in found if each), tuple(remarks))


def _try(
    name: str, act: Activation, C_b: float, C_W: float, first: float, depth: int, width: int, draws: int, seed: int, remarks: list[str]
) -> Initialisation | None:
    """One initialisation, or None, with a remark, where its signals leave the range of numbers."""
    try:
        flow = rg_flow(act, depth, C_b, C_W, first=first)
        cross = (first - C_b) * _COSINE + C_b
        pair = torch.tensor([[first, cross], [cross, first]], dtype=torch.float64)
        cosine = kernel_flow(act, pair, depth, C_b, C_W).cosine[:, 0, 1]
    except InputError as error:
        remarks.append(f"{name} initialisation: {error}")
        return None
    mean, spread = flow.at_width(width)
    signals = propagate(Propagation(act, C_b, C_W, first), depth, width, draws, _COSINE, seed) if draws else None
    gradient = 0.5 * float(flow.chi_perp[:-1].log10().sum())
    return Initialisation(name, C_b, C_W, flow, cosine, mean, spread, signals, gradient, _fate(flow, cosine))


def _fate(flow: RGFlow, cosine: Tensor) -> str:
    """Exponential growth has the same rate half-way and at the end; a power of depth has half of it."""
    half = max(1, len(flow.K) // 2)
    signal = (flow.K[1:] / flow.K[:-1]).log()
    gradient = flow.chi_perp.log() / 2
    words = []
    for name, rates in (("signals", signal), ("gradients", gradient)):
        middle, end = float(rates[half - 1]), float(rates[-1])
        if abs(end) > max(0.005, 0.7 * abs(middle)):
            words.append(f"{name} {'grow' if end > 0 else 'die'} as {math.exp(end):.3g}^layer")
        elif abs(float(rates.sum())) < 0.5:
            words.append(f"{name} keep their size")
        elif abs(end) > 0.005:
            words.append(f"{name} change as a power of depth")
        else:
            words.append(f"{name} settle")
    if float(cosine[-1]) > 0.99:
        words.append("all inputs become one")
    return ", ".join(words)
