"""How everything that is drawn looks: one colour for a verdict, one for a contender, on light and on dark.

The colours stay apart for the common forms of colour blindness, and none carries a meaning alone: a verdict has its sign, a contender its label and, past the fourth, its dash.
Contenders keep away from the verdicts' colours.
"""

from typing import Any

__all__ = ["FIGURE_STYLE", "THEMES", "VERDICTS", "arm_dash", "css_colours", "verdict_key"]

VERDICTS = {"holds": "✓", "fails": "✗", "inconclusive": "?", "unchecked": "–"}

THEMES: dict[str, dict[str, str]] = {
    "light": {
        "page": "#fdfcfa",
        "card": "#ffffff",
        "ink": "#1d2125",
        "soft": "#5a636b",
        "line": "#dcdfe2",
        "wash": "#f2f3f4",
        "link": "#0a5ea0",
        "holds": "#007a5a",
        "fails": "#c04a00",
        "inconclusive": "#5a57b0",
        "unchecked": "#6b747c",
        "stale": "#7d6200",
        "allowed": "#e3f2ec",
        "arm0": "#0072b2",
        "arm1": "#c77700",
        "arm2": "#463026",
        "arm3": "#cc3270",
        "arm4": "#14406e",
        "arm5": "#94805a",
        "arm6": "#7a20e0",
        "arm7": "#59636b",
    },
    "dark": {
        "page": "#14171a",
        "card": "#1b1f23",
        "ink": "#e7eaec",
        "soft": "#a0aab2",
        "line": "#343b41",
        "wash": "#23282d",
        "link": "#74b8f2",
        "holds": "#35d0a0",
        "fails": "#ff9254",
        "inconclusive": "#a9a6f8",
        "unchecked": "#98a2aa",
        "stale": "#e8c33c",
        "allowed": "#17352c",
        "arm0": "#4aa8ec",
        "arm1": "#f0a030",
        "arm2": "#f2ecd0",
        "arm3": "#e0559f",
        "arm4": "#2f74c4",
        "arm5": "#a08458",
        "arm6": "#c9f09c",
        "arm7": "#67727a",
    },
}

_DASHES = ("", "", "", "", "6 2", "2 2", "6 2 2 2", "8 3")

_LIGHT = THEMES["light"]
FIGURE_STYLE: Any = {
    "figure.facecolor": "#ffffff",
    "figure.dpi": 100,
    "savefig.dpi": 160,
    "svg.hashsalt": "ordinate",
    "font.family": "sans-serif",
    "font.size": 9.5,
    "text.color": _LIGHT["ink"],
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelcolor": _LIGHT["soft"],
    "axes.edgecolor": _LIGHT["line"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": _LIGHT["wash"],
    "xtick.color": _LIGHT["soft"],
    "ytick.color": _LIGHT["soft"],
    "xtick.labelcolor": _LIGHT["soft"],
    "ytick.labelcolor": _LIGHT["ink"],
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
}
"""Settings of matplotlib, for `matplotlib.rc_context`."""


def arm_dash(index: int) -> str:
    """The dash of a contender's line by its number, in points as SVG writes it; empty for a solid line. Past the eighth the colours begin again, and the lines are dotted."""
    return _DASHES[index] if index < len(_DASHES) else "1 3"


def verdict_key(verdict: str | None) -> str:
    """The word by which a verdict is looked up here: None, a claim that was never checked, is ``"unchecked"``."""
    return verdict or "unchecked"


def css_colours(theme: str) -> str:
    """The colours of a theme as declarations of CSS custom properties: ``"--page: #fdfcfa; ..."``."""
    return " ".join(f"--{name}: {colour};" for name, colour in THEMES[theme].items())
