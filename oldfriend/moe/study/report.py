"""A study as one HTML page that needs nothing else: tables, verdicts and plots (SVG)."""

import html
import io
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from oldfriend.files import atomic_write, write_json
from oldfriend.moe.study.summary import DENSE, Arm, Result, by_arm, read_cells, summarise
from oldfriend.outcome import Row

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 75rem; margin: 2rem auto; padding: 0 1rem;
  color: #1c2330; background: #fdfcfa; }
table { border-collapse: collapse; font-size: 13px; margin: 1rem 0; display: block;
  overflow: auto; }
th, td { border-bottom: 1px solid #ddd8cf; padding: .25rem .6rem; text-align: left;
  white-space: nowrap; }
figure { display: inline-block; margin: 0 1rem 1rem 0; } svg { max-width: 100%; height: auto; }
.held { color: #1b7340; } .failed { color: #a3312a; } .open { color: #8a6d1a; }
"""


def write_report(folder: Path) -> dict[str, Any]:
    """Write summary.json and report.html of the study in ``folder``; return the summary."""
    summary = summarise(folder)
    write_json(folder / "summary.json", summary)
    arms = by_arm(read_cells(folder))
    body = [
        "<h1>Mixture of experts: router starts on real domains</h1>",
        "<p>Every cell upcycles the same dense parent of its seed; mixers are frozen. Dense trains "
        "on for as many FLOPs. Churn, saturation and agreement are corrected for chance: 0 is "
        "chance, 1 the same choice. Intervals are 95% of paired differences over seeds.</p>",
        "<h2>Arms</h2>", table(summary["arms"]),
        "<h2>Which hypotheses held</h2>", table(summary["verdicts"], mark="verdict"),
        "<h2>Plots</h2>", *plots(arms),
    ]  # fmt: skip
    with atomic_write(folder / "report.html") as out:
        out.write(
            '<!doctype html><html lang="en"><meta charset="utf-8"><title>MoE study</title>'
            f"<style>{STYLE}</style><body>{''.join(body)}</body></html>\n"
        )
    return summary


def table(rows: Sequence[Row], mark: str = "") -> str:
    """Rows as HTML; the cells of column ``mark`` get their own text as CSS class."""
    if not rows:
        return "<p>none</p>"
    head = "".join(f"<th>{html.escape(name.replace('_', ' '))}</th>" for name in rows[0])
    lines = []
    for row in rows:
        cells = (
            f"<td{f' class={value}' if name == mark else ''}>{html.escape(str(value))}</td>"
            for name, value in row.items()
        )
        lines.append(f"<tr>{''.join(cells)}</tr>")
    return f"<table><tr>{head}</tr>{''.join(lines)}</table>"


def plots(arms: dict[Arm, dict[int, Result]]) -> list[str]:
    """All figures that the arms have data for."""
    found = []
    for domains, experts in sorted({(d, e) for d, e, r in arms if r != DENSE}):
        group = {r: arm for (d, e, r), arm in arms.items() if (d, e) == (domains, experts)}
        dense = arms.get((domains, 1, DENSE))
        where = f"{domains} domains, {experts} experts"
        curves = group | ({DENSE: dense} if dense else {})
        found += [
            _figure(f"Held-out loss; {where}", _draw_curves(curves, "tokens", "val_loss")),
            _figure(f"Churn between looks; {where}", _draw_time(group, "churn")),
            _figure(f"Agreement with the final routing; {where}", _draw_time(group, "saturation")),
            _figure(f"Load CV; {where}", _draw_time(group, "load_cv")),
            _figure(f"Loss by domain; {where}", _draw_domains(curves)),
            _figure(f"Churn by layer; {where}", _draw_layers(group, "churn")),
            _figure(f"Domain information by layer; {where}", _draw_layers(group, "domain_mi")),
            _figure(f"Half of the change done (share of steps); {where}", _draw_changes(group)),
        ]
        found += [
            _figure(f"Experts by domain, layer {layer}; {where}, {router}", _draw_heat(arm, layer))
            for router, arm in group.items()
            for layer in _first_and_last(arm)
        ]
    sizes = {(d, e) for d, e, r in arms if r != DENSE}
    if len(sizes) > 1:
        found.append(_figure("Loss by experts and domains", _draw_sizes(arms)))
    return found


def _figure(title: str, draw: Callable[[Any], None]) -> str:
    import matplotlib
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6.2, 3.8), layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.set_title(title, fontsize=10)
    out = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": title, "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    svg = out.getvalue()
    return f"<figure>{_with_own_ids(svg[svg.index('<svg') :], title)}</figure>"


def _with_own_ids(svg: str, title: str) -> str:
    """Ids in one page must differ between figures."""
    own = re.sub(r"\W+", "-", title)
    svg = re.sub(r'\bid="', f'id="{own}-', svg)
    return re.sub(r'(href="#|url\(#)', rf"\g<1>{own}-", svg)


def _mean_rows(arm: dict[int, Result], table: str, key: str, value: str) -> dict[float, float]:
    """Mean of ``value`` by ``key`` over all rows and seeds."""
    groups: dict[float, list[float]] = defaultdict(list)
    for cell in arm.values():
        for row in cell[table]:
            groups[row[key]].append(row[value])
    return {place: fmean(values) for place, values in sorted(groups.items())}


def _draw_curves(
    group: dict[str, dict[int, Result]], key: str, value: str
) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        for router, arm in group.items():
            points = _mean_rows(arm, "curve", key, value)
            style = {"color": "black", "linestyle": "--"} if router == DENSE else {}
            axes.plot(list(points), list(points.values()), label=router, **style)
        axes.set_xlabel(key)
        axes.set_ylabel(f"{value.replace('_', ' ')} (nats a token)")
        axes.legend(fontsize=8)

    return draw


def _draw_time(group: dict[str, dict[int, Result]], value: str) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        for router, arm in group.items():
            points = _mean_rows(arm, "over_time", "step", value)
            axes.plot(list(points), list(points.values()), label=router, marker=".")
        axes.set_xlabel("step")
        axes.legend(fontsize=8)

    return draw


def _draw_domains(group: dict[str, dict[int, Result]]) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        known = ("step", "tokens", "val_loss")
        names = [
            n for n in next(iter(next(iter(group.values())).values()))["curve"][0] if n not in known
        ]
        width = 0.8 / len(group)
        for place, (router, arm) in enumerate(group.items()):
            heights = [fmean(c["metrics"][f"val_loss_{n}"] for c in arm.values()) for n in names]
            at = [i + place * width for i in range(len(names))]
            axes.bar(at, heights, width=width, label=router)
        axes.set_xticks([i + 0.4 - width / 2 for i in range(len(names))])
        axes.set_xticklabels(names)
        axes.legend(fontsize=8)

    return draw


def _draw_layers(group: dict[str, dict[int, Result]], value: str) -> Callable[[Any], None]:
    def draw(axes: Any) -> None:
        for router, arm in group.items():
            points = _mean_rows(arm, "layers", "layer", value)
            axes.plot(list(points), list(points.values()), label=router, marker="o")
        axes.set_xlabel("layer")
        axes.legend(fontsize=8)

    return draw


def _draw_changes(group: dict[str, dict[int, Result]]) -> Callable[[Any], None]:
    """t50 by layer, routers and experts apart, mean over arms and seeds."""

    def draw(axes: Any) -> None:
        for kind in ("router", "expert"):
            times: dict[int, list[float]] = defaultdict(list)
            for arm in group.values():
                for cell in arm.values():
                    for row in cell["changes"]:
                        layer, _, part = row["name"].partition(".")
                        if part.startswith(kind):
                            times[int(layer.removeprefix("layer"))].append(row["t50"])
            places = sorted(times)
            axes.plot(places, [fmean(times[p]) for p in places], label=kind, marker="o")
        axes.set_xlabel("layer")
        axes.legend(fontsize=8)

    return draw


def _first_and_last(arm: dict[int, Result]) -> list[int]:
    layers = sorted({row["layer"] for row in next(iter(arm.values()))["experts_by_domain"]})
    return sorted({layers[0], layers[-1]}) if layers else []


def _draw_heat(arm: dict[int, Result], layer: int) -> Callable[[Any], None]:
    """Load of experts by domain, of the first seed (experts have no names across seeds)."""

    def draw(axes: Any) -> None:
        cell = arm[min(arm)]
        rows = [row for row in cell["experts_by_domain"] if row["layer"] == layer]
        names = [name for name in rows[0] if name not in ("layer", "expert")]
        grid = [[row[name] for row in rows] for name in names]
        image = axes.imshow(grid, aspect="auto", cmap="cividis", vmin=0)
        axes.set_yticks(range(len(names)))
        axes.set_yticklabels(names)
        axes.set_xlabel("expert")
        axes.figure.colorbar(image, ax=axes)

    return draw


def _draw_sizes(arms: dict[Arm, dict[int, Result]]) -> Callable[[Any], None]:
    """Loss relative to dense against the number of experts, a line per number of domains."""

    def draw(axes: Any) -> None:
        lines: dict[tuple[int, str], dict[int, float]] = defaultdict(dict)
        for (domains, experts, router), arm in arms.items():
            dense = arms.get((domains, 1, DENSE), {})
            common = arm.keys() & dense.keys()
            if router != DENSE and common:
                lines[domains, router][experts] = fmean(
                    arm[s]["metrics"]["val_loss"] / dense[s]["metrics"]["val_loss"] - 1
                    for s in common
                )
        for (domains, router), points in sorted(lines.items()):
            places = sorted(points)
            values = [points[p] for p in places]
            axes.plot(places, values, marker="o", label=f"{domains} domains, {router}")
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xlabel("experts")
        axes.set_ylabel("loss relative to dense")
        axes.legend(fontsize=7)

    return draw
