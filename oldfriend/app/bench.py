"""``oldfriend bench``: run one benchmark, show it as a table, keep it as JSON."""

import csv
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from oldfriend.errors import InputError
from oldfriend.files import atomic_write, write_json
from oldfriend.outcome import Outcome, Row

NAMES = ("locomo", "longmemeval", "lives", "memory-peers")
SEEDS, METRICS = Path("data/seeds"), Path("metrics/bench")


def show(name: str, data: Path | None, json: Path | None) -> None:
    """Run the benchmark ``name`` on ``data``, print its metrics and tables, and write the metrics
    to ``json`` (default: metrics/bench/<name>.json), each table as <name>.<table>.csv beside it.
    InputError if there is no such benchmark or it needs ``data``."""
    console = Console()
    found = _runner(name, data, console)()
    target = json or METRICS / f"{name}.json"
    write_json(target, found.metrics)
    console.print(_metrics(name, found.metrics))
    for title, rows in found.tables.items():
        if rows:
            console.print(*_rows(title, rows))
            _write_csv(target.with_name(f"{target.stem}.{title}.csv"), rows)
    console.print(f"written to {target}", soft_wrap=True)


def _runner(name: str, data: Path | None, console: Console) -> Callable[[], Outcome]:
    """The benchmark, ready to run; only its own module is loaded."""
    tell = partial(console.print, style="dim", highlight=False)
    if name == "lives":
        from oldfriend.bench import lives

        return partial(lives.run, data or SEEDS, tell=tell)
    if name == "memory-peers":
        from oldfriend.bench import peers

        return partial(peers.run, data, tell=tell)
    if name not in NAMES:
        raise InputError(f"no benchmark {name!r}; there are {', '.join(NAMES)}")
    if data is None:
        raise InputError(f"the benchmark {name} reads public data: give its folder with --data")
    if name == "locomo":
        from oldfriend.bench import locomo

        return partial(locomo.run, data)
    from oldfriend.bench import longmemeval

    return partial(longmemeval.run, data)


def _metrics(name: str, metrics: dict[str, float]) -> Table:
    """Each metric with its spread over seeds, if there is one."""
    table = Table(title=name, title_justify="left")
    table.add_column("metric")
    table.add_column("value", justify="right")
    for key, value in metrics.items():
        if not key.endswith("_sd"):
            table.add_row(key, _with_spread(value, metrics.get(f"{key}_sd")))
    return table


def _rows(title: str, rows: list[Row]) -> Iterator[Table]:
    """A row each, so many figures beside each other as a terminal has room for; a column of
    spreads is shown within that of its means."""
    names = [key for key in rows[0] if not key.endswith("_sd")]
    words = [key for key in names if isinstance(rows[0][key], str)]
    figures = [key for key in names if key not in words]
    room = 3 if any(f"{key}_sd" in rows[0] for key in figures) else 6
    for start in range(0, len(figures), room):
        shown = [*words, *figures[start : start + room]]
        table = Table(title=title, title_justify="left", box=SIMPLE)
        for key in shown:
            left = key in words
            table.add_column(key, justify="left" if left else "right", overflow="fold")
        for row in rows:
            table.add_row(*(_cell(row, key) for key in shown))
        yield table


def _write_csv(path: Path, rows: list[Row]) -> None:
    with atomic_write(path) as out:
        writer = csv.DictWriter(out, list(dict.fromkeys(key for row in rows for key in row)))
        writer.writeheader()
        writer.writerows(rows)


def _cell(row: Row, key: str) -> str:
    value = row.get(key, "")
    return str(value) if isinstance(value, str | int) else _with_spread(value, row.get(f"{key}_sd"))


def _with_spread(value: float, spread: float | None) -> str:
    return f"{value:,.3f}" + (f" ± {spread:,.3f}" if spread is not None else "")
