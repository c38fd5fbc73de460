"""Bar charts as inline SVG that take their colours from the page around them."""

import io
import re
from collections.abc import Mapping

import matplotlib.style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_INK, _BAR = "#010203", "#040506"  # stand-ins, replaced by the page's colours
_ROWS = 18
_STYLE: dict[str, object] = {
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": _INK,
    "axes.labelcolor": _INK,
    "axes.edgecolor": _INK,
    "xtick.color": _INK,
    "ytick.color": _INK,
}


def columns(name: str, bars: Mapping[str, int]) -> str:
    """Draw a histogram with upright bars, from the first to the last that is not empty."""
    filled = [place for place, number in enumerate(bars.values()) if number] or [0]
    bars = dict(list(bars.items())[filled[0] : filled[-1] + 1])
    with matplotlib.style.context([_STYLE, {"svg.hashsalt": name}]):
        figure, axes = _canvas(height=2.1)
        axes.bar(range(len(bars)), list(bars.values()), color=_BAR, width=0.86)
        axes.set_xticks(range(len(bars)), list(bars), rotation=45, ha="right")
        axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
        return _svg(figure)


def rows(name: str, bars: Mapping[str, int]) -> str:
    """Draw the most frequent names as lying bars with their counts."""
    shown = dict(list(bars.items())[:_ROWS])
    with matplotlib.style.context([_STYLE, {"svg.hashsalt": name}]):
        figure, axes = _canvas(height=0.3 + 0.19 * len(shown))
        drawn = axes.barh(range(len(shown)), list(shown.values()), color=_BAR, height=0.74)
        axes.set_yticks(range(len(shown)), [label.replace("_", " ") for label in shown])
        axes.bar_label(drawn, padding=3, fontsize=8)
        axes.invert_yaxis()
        axes.set_xticks([])
        axes.spines["bottom"].set_visible(False)
        axes.margins(x=0.16, y=0.01)
        return _svg(figure)


def _canvas(height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(3.6, height), layout="tight")
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.patch.set_visible(False)
    figure.patch.set_visible(False)
    axes.tick_params(length=0)
    return figure, axes


def _svg(figure: Figure) -> str:
    """Return the figure as an SVG element without prologue, names of schemas or fixed size."""
    out = io.StringIO()
    nothing = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    figure.savefig(out, format="svg", metadata=nothing)
    text = out.getvalue()
    text = text[text.index("<svg") :].replace(_INK, "currentColor").replace(_BAR, "var(--bar)")
    text = re.sub(r' xmlns(?::\w+)?="[^"]*"', "", text)
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    return re.sub(r' (?:height|width)="[\d.]+pt"', "", text, count=2)
