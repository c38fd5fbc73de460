"""Readers of JSON, JSON Lines, CSV, TSV and text that say where malformed input stands."""

import csv
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from oldfriend.errors import InputError, MissingDataError

SIZE_LIMIT = 2 * 1024**3  # bytes a file may have
FIELD_LIMIT = 16 * 1024**2  # characters one CSV field may have; the csv module allows 128 Ki
CHUNK = 1 << 20  # bytes of a JSON array read at once


@dataclass(frozen=True)
class Place:
    """Where a value stands, for error messages."""

    path: Path
    line: int | None = None
    record: int | None = None
    field: str = ""

    def error(self, message: str, field: str = "") -> InputError:
        """An InputError about ``field`` here: ``message`` says what was expected."""
        where = ".".join(part for part in (self.field, field) if part)
        number = "" if self.record is None else f"record {self.record}: "
        return InputError(number + message, path=self.path, line=self.line, field=where)

    def at(self, field: str) -> "Place":
        """The place of a nested field."""
        return replace(self, field=".".join(part for part in (self.field, field) if part))


@dataclass(frozen=True)
class Record:
    """One JSON object or CSV row, read by field; a wrong field is an InputError."""

    values: Mapping[str, object]
    place: Place

    def __contains__(self, key: str) -> bool:
        return self.values.get(key) is not None

    def text(self, key: str) -> str:
        """The string at ``key``."""
        return _text(self._get(key, "a string"), self.place.at(key))

    def maybe(self, key: str) -> str:
        """The string at ``key``, or an empty one where it is absent or null."""
        return self.text(key) if key in self else ""

    def number(self, key: str) -> float:
        """The number at ``key``, also where it is written as a string."""
        value = self._get(key, "a number")
        try:
            return float(value) if isinstance(value, str | int | float) else float("")
        except ValueError:
            raise self.place.error(f"expected a number, found {_show(value)}", key) from None

    def texts(self, key: str) -> list[str]:
        """The list of strings at ``key``."""
        return [_text(value, place) for value, place in self._items(key)]

    def lists(self, key: str) -> list[list[str]]:
        """The list of lists of strings at ``key``."""
        return [
            [_text(value, place.at(str(number))) for number, value in enumerate(inner)]
            for inner, place in self.pairs(key)
        ]

    def record(self, key: str) -> "Record":
        """The object at ``key``."""
        return _record(self._get(key, "an object"), self.place.at(key))

    def records(self, key: str) -> list["Record"]:
        """The list of objects at ``key``."""
        return [_record(value, place) for value, place in self._items(key)]

    def tables(self, key: str) -> list[list["Record"]]:
        """The list of lists of objects at ``key``."""
        return [
            [_record(value, place.at(str(number))) for number, value in enumerate(inner)]
            for inner, place in self.pairs(key)
        ]

    def integers(self, key: str) -> list[tuple[int, Place]]:
        """The list of integers from 0 at ``key``, each with its place."""
        return [(_integer(value, place), place) for value, place in self._items(key)]

    def pairs(self, key: str) -> list[tuple[list[object], Place]]:
        """The list of lists of anything at ``key``, each with its place."""
        return [(_list(value, place), place) for value, place in self._items(key)]

    def entries(self) -> Iterator[tuple[str, "Record"]]:
        """Every key with its object, for objects used as tables."""
        for key in self.values:
            yield key, self.record(key)

    def _get(self, key: str, expected: str) -> object:
        if key not in self:
            raise self.place.error(f"missing; expected {expected}", key)
        return self.values[key]

    def _items(self, key: str) -> Iterator[tuple[object, Place]]:
        place = self.place.at(key)
        for number, value in enumerate(_list(self._get(key, "a list"), place)):
            yield value, place.at(str(number))


def files(path: Path, *patterns: str) -> list[Path]:
    """``path`` itself, or the files below it that match; MissingDataError if there are none."""
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise MissingDataError(f"{path} is not there; docs/datasets.md says what to put there")
    found = sorted({file for pattern in patterns for file in path.rglob(pattern) if file.is_file()})
    if not found:
        raise MissingDataError(f"{path} has no file named {' or '.join(patterns)}")
    return found


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The numbered lines of a UTF-8 file, without their ends."""
    for number, line in _raw_lines(path):
        yield number, line.rstrip("\r\n")


def json_object(path: Path) -> Record:
    """A file that is one JSON object."""
    text = "".join(line for _, line in _raw_lines(path))
    return _record(_decode(text, Place(path)), Place(path))


def json_records(path: Path) -> Iterator[Record]:
    """The objects of a JSON array or of JSON Lines, told apart by the first character."""
    first = next((line for _, line in lines(path) if line.strip()), "")
    return _json_array(path) if first.lstrip().startswith("[") else _json_lines(path)


def csv_rows(
    path: Path, columns: Sequence[str], *, quoted: bool = True, ragged: bool = False
) -> Iterator[Record]:
    """The rows of a CSV file with a header that has ``columns``; ``ragged`` rows may be short."""
    csv.field_size_limit(max(FIELD_LIMIT, csv.field_size_limit()))
    source = (line for _, line in _raw_lines(path))
    rows = (
        csv.reader(source, strict=True)
        if quoted
        else csv.reader(source, quoting=csv.QUOTE_NONE, strict=True)
    )
    header: list[str] = []
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise Place(path, line).error(f"malformed CSV: {error}") from None
        if row is None:
            break
        if not header:
            header = _header(row, columns, Place(path, line))
        elif row:
            yield _row(header, row, Place(path, line), ragged)
    if not header:
        raise Place(path).error(f"empty; expected a header with {', '.join(columns)}")


def tsv_rows(path: Path, columns: int) -> Iterator[tuple[Place, list[str]]]:
    """The rows of a TSV file without header and quoting, each of ``columns`` cells."""
    for number, line in lines(path):
        cells, place = line.split("\t"), Place(path, number)
        if not line.strip():
            continue
        if len(cells) != columns:
            raise place.error(f"expected {columns} columns separated by tabs, found {len(cells)}")
        yield place, cells


def _raw_lines(path: Path) -> Iterator[tuple[int, str]]:
    size = path.stat().st_size
    if size > SIZE_LIMIT:
        raise Place(path).error(f"{size} bytes; at most {SIZE_LIMIT} are read, split the file")
    with path.open("rb") as source:
        for number, line in enumerate(source, start=1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                message = f"byte {error.start + 1} is not UTF-8; convert the file to UTF-8"
                raise Place(path, number).error(message) from None
            yield number, text


def _json_lines(path: Path) -> Iterator[Record]:
    for number, line in lines(path):
        if line.strip():
            place = Place(path, number)
            yield _record(_decode(line, replace(place, line=None), number - 1), place)


def _json_array(path: Path) -> Iterator[Record]:
    """Objects one by one, so that a large array is never in memory as a whole."""
    source = _Array(path)
    source.take("[")
    if source.peek() != "]":
        yield source.record()
        while source.peek() == ",":
            source.take(",")
            yield source.record()
    source.take("]")
    if source.peek():
        raise Place(path, source.line).error("text after the end of the array")


class _Array:
    """The text of a JSON array, read in pieces."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pieces = (line for _, line in _raw_lines(path))
        self._text, self._at, self._more = "", 0, True
        self._count, self.line = 0, 1

    def peek(self) -> str:
        """The next character that is not white space; empty at the end of the file."""
        while True:
            while self._at < len(self._text):
                char = self._text[self._at]
                if char not in " \t\r\n":
                    return char
                self._advance(self._at + 1)
            if not self._more:
                return ""
            self._refill(CHUNK)

    def take(self, mark: str) -> None:
        """Step over ``mark``, which must come next."""
        if self.peek() != mark:
            found = self.peek() or "the end of the file"
            raise Place(self._path, self.line).error(f"expected {mark!r}, found {found!r}")
        self._advance(self._at + 1)

    def record(self) -> Record:
        """The next object."""
        self.peek()
        self._count, want = self._count + 1, CHUNK
        while True:
            try:
                value, end = json.JSONDecoder().raw_decode(self._text, self._at)
                break
            except json.JSONDecodeError as error:
                if not self._more or _is_inside(error):
                    raise self._malformed(error) from None
                self._refill(want)
                want *= 2  # a record of n bytes is tried log n times, not n times
            except (ValueError, RecursionError) as error:
                raise self._place().error(f"malformed JSON: {error}") from None
        place = self._place()
        self._advance(end)
        return _record(value, place)

    def _malformed(self, error: json.JSONDecodeError) -> InputError:
        line = self.line + self._text.count("\n", self._at, error.pos)
        return replace(self._place(), line=line).error(f"malformed JSON: {error.msg}")

    def _place(self) -> Place:
        return Place(self._path, self.line, self._count)

    def _advance(self, to: int) -> None:
        self.line += self._text.count("\n", self._at, to)
        self._at = to

    def _refill(self, size: int) -> None:
        parts = [self._text[self._at :]]
        for piece in self._pieces:
            parts.append(piece)
            size -= len(piece)
            if size <= 0:
                break
        else:
            self._more = False
        self._text, self._at = "".join(parts), 0


def _is_inside(error: json.JSONDecodeError) -> bool:
    """Whether the text is wrong in itself, rather than cut off by the end of the piece."""
    return error.pos < len(error.doc) - 16 and not error.msg.startswith("Unterminated")


def _decode(text: str, place: Place, lines_before: int = 0) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        at = replace(place, line=error.lineno + lines_before)
        raise at.error(f"malformed JSON: {error.msg} at column {error.colno}") from None
    except (ValueError, RecursionError) as error:
        raise place.error(f"malformed JSON: {error}") from None


def _header(row: Sequence[str], columns: Sequence[str], place: Place) -> list[str]:
    header = [name.strip() for name in row]
    for column in columns:
        if column not in header:
            raise place.error(f"missing column; the header has {', '.join(header)}", column)
    return header


def _row(header: Sequence[str], row: Sequence[str], place: Place, ragged: bool) -> Record:
    if len(row) != len(header) and not ragged:
        raise place.error(f"expected {len(header)} columns, found {len(row)}")
    return Record(dict(zip(header, row, strict=False)), place)


def _record(value: object, place: Place) -> Record:
    if not isinstance(value, dict):
        raise place.error(f"expected an object, found {_show(value)}")
    return Record(value, place)


def _list(value: object, place: Place) -> list[object]:
    if not isinstance(value, list):
        raise place.error(f"expected a list, found {_show(value)}")
    return value


def _text(value: object, place: Place) -> str:
    if not isinstance(value, str):
        raise place.error(f"expected a string, found {_show(value)}")
    if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
        raise place.error("expected text, found half of a surrogate pair")
    return value


def _integer(value: object, place: Place) -> int:
    if not isinstance(value, int) or value < 0:
        raise place.error(f"expected an integer from 0, found {_show(value)}")
    return value


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
