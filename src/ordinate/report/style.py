"""How everything that is drawn looks: one colour for a verdict, one for a contender, on light and on dark.

The colours stay apart for the common forms of colour blindness, and none carries a meaning alone: a verdict has its sign, a contender its label and, past the fourth, its dash.
Contenders use no green and no vermilion, which belong to verdicts.
"""

from typing import Any

__all__ = ["ARM_DASHES", "FIGURE_STYLE", "THEMES", "VERDICTS", "css_colours", "verdict_key"]

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
        "inconclusive": "#7d6200",
        "unchecked": "#6b747c",
        "allowed": "#e3f2ec",
        "arm0": "#0072b2",
        "arm1": "#c77700",
        "arm2": "#a63d82",
        "arm3": "#2a9ba5",
        "arm4": "#5d4bb0",
        "arm5": "#7a7a00",
        "arm6": "#8a4b2a",
        "arm7": "#6e6e6e",
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
        "inconclusive": "#e8c33c",
        "unchecked": "#98a2aa",
        "allowed": "#17352c",
        "arm0": "#56aeea",
        "arm1": "#f0a83a",
        "arm2": "#e58ac6",
        "arm3": "#5fd0da",
        "arm4": "#a99bf0",
        "arm5": "#c8c850",
        "arm6": "#d99a76",
        "arm7": "#b0b0b0",
    },
}

ARM_DASHES = ("", "", "", "", "6 2", "2 2", "6 2 2 2", "8 3")
"""By contender: the dash of its line, in points; an empty one is a solid line."""

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


def verdict_key(verdict: str | None) -> str:
    """The word by which a verdict is looked up here: None, a claim that was never checked, is ``"unchecked"``."""
    return verdict or "unchecked"


def css_colours(theme: str) -> str:
    """The colours of a theme as declarations of CSS custom properties: ``"--page: #fdfcfa; ..."``."""
    return " ".join(f"--{name}: {colour};" for name, colour in THEMES[theme].items())
