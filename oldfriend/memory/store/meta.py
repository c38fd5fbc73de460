"""What a pool knows of itself: whose vectors it holds, and how far its engine has come."""

import json
from pathlib import Path
from uuid import uuid4

from oldfriend.errors import InputError
from oldfriend.files import write_json
from oldfriend.memory.store.indexing import Indexer

FORMAT = 1


def check_meta(folder: Path, indexer: Indexer, reindex: bool) -> dict[str, object]:
    """Read or write meta.json; InputError if its vectors are not this indexer's."""
    path = folder / "meta.json"
    wanted = dict(indexer.meta())
    try:
        meta = json.loads(path.read_text(encoding="utf-8"))
        if meta["format"] > FORMAT:
            raise InputError("the pool is of a later version; update oldfriend", path=path)
        held = {name: meta[name] for name in wanted}
    except FileNotFoundError:
        meta, held = {"format": FORMAT, "pool": str(uuid4())}, wanted
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"not a pool's meta.json ({error}); restore it", path=path) from None
    if held != wanted and not reindex:
        raise InputError(
            f"the vectors are of {held}, not of {wanted}; rebuild them with "
            "`oldfriend memory reindex`, or use the embedder they were made with",
            path=path,
        )
    if held != wanted or not path.exists():
        (folder / "marks.json").unlink(missing_ok=True)  # first: they tell of the old vectors
        meta |= wanted
        write_json(path, meta)
    return dict(meta)


def load_marks(path: Path, engine: str) -> dict[str, int]:
    """The sizes that ``save_marks`` wrote; none if they are of another engine, or unreadable."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        return dict(kept["sizes"]) if kept["engine"] == engine else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # only costs a comparison of everybody


def save_marks(path: Path, engine: str, sizes: dict[str, int]) -> None:
    """Write down how much of which journal the engine holds for good."""
    write_json(path, {"engine": engine, "sizes": sizes})
