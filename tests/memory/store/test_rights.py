"""What is forgotten is in no file and never comes back; what is kept can be taken along."""

import json
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_fakes import EMBEDDER, START, Switch, fact, found, ids, opened, plan, turn, turns

from oldfriend.errors import InputError
from oldfriend.memory.store import rights, scan
from oldfriend.memory.store.edge import EdgeEngine
from oldfriend.memory.store.embed import Cached
from oldfriend.memory.store.engine import tenant_key
from oldfriend.memory.store.journal import Journal
from oldfriend.memory.store.pool import MemoryPool
from oldfriend.memory.store.scan import proof_scan, text_needles, vector_needles
from oldfriend.memory.store.server import ServerEngine
from oldfriend.memory.store.shard import Shard

LATER = START + timedelta(days=1)
SECRET = turn('my "secret" is a xylophone in Vélmora', 5, session="s9")


def secret_anywhere(folder: Path, vectors: Sequence[np.ndarray] = ()) -> list[str]:
    """Files with the secret, found by the plainest means there is."""
    needles = [
        SECRET.text.encode(),
        json.dumps(SECRET.text, ensure_ascii=False)[1:-1].encode(),
        b"xylophone",
        *(v[8:16].astype("<f4").tobytes() for v in vectors),
    ]
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [str(p.relative_to(folder)) for p in files for n in needles if n in p.read_bytes()]


def vectors_of(pool: MemoryPool, user: str = "ada") -> list[np.ndarray]:
    found = pool.engine.dense(tenant_key(user), [SECRET.id])
    assert len(found) == 2
    return [vector for _, vector in found]


def test_the_secret_is_there_before_it_is_forgotten(tmp_path: Path) -> None:
    """The scan would find it: else the tests below say nothing."""
    with opened(tmp_path) as pool:
        pool.of("ada").add([*turns(5), SECRET], START)
        vectors = vectors_of(pool)
        pool.flush()
        assert any("journals" in name for name in secret_anywhere(tmp_path))
        assert any("segments" in name for name in secret_anywhere(tmp_path, vectors))
        needles = {"text": text_needles(SECRET.text), "vector": vector_needles(vectors[0])}
        report = proof_scan(tmp_path, needles)
        places = {(hit.name, hit.path.relative_to(tmp_path).parts[0]) for hit in report.hits}
        assert places == {("text", "journals"), ("vector", "engine")}
        assert any("wal" in hit.path.parts for hit in report.hits), "the WAL has it as CBOR"
        assert "text in" in str(report)


def test_forgetting_one_leaves_nothing_of_it_and_all_of_the_rest(tmp_path: Path) -> None:
    said = turns(20)
    with opened(tmp_path) as pool:
        memory = pool.of("ada")
        memory.add([*said, SECRET], START)
        memory.recall([SECRET.id, said[0].id], START)
        pool.of("ben").add(turns(5, user="ben"), START)
        vectors = vectors_of(pool)
        erasure = memory.forget([SECRET.id], LATER)
        assert erasure.clean and erasure.done and erasure.scrubbed
        assert erasure.ids == (SECRET.id,)
        assert erasure.report.files > 10 and erasure.report.needles > 5
        assert "erased 1 records; looked through" in str(erasure)
        assert secret_anywhere(tmp_path, vectors) == []
        assert memory.get(SECRET.id) is None
        assert SECRET.text not in found(memory, SECRET.text)
        assert memory.records()[1:] == said[1:]
        assert memory.state[said[0].id].strength == 2
        assert found(memory, said[7].text)[0] == said[7].text
    assert secret_anywhere(tmp_path, vectors) == []
    with opened(tmp_path) as pool:
        assert pool.of("ada").add([SECRET], LATER) == [], "reading the session again"
        assert len(pool.of("ada").records()) == 20
        assert len(pool.of("ben").records()) == 5
        assert pool.behind == 0


def test_neighbours_windows_forget_as_well(tmp_path: Path) -> None:
    with opened(tmp_path) as pool:
        memory = pool.of("ada")
        memory.add(
            [turn("good morning", 4, session="s9"), SECRET, turn("good night", 6, session="s9")],
            START,
        )
        assert len(memory.query(plan("xylophone"))) == 3
        memory.forget([SECRET.id], LATER)
        scores = [set(hit.scores) for hit in memory.scored(plan("xylophone"))]
        assert scores and not any({"bm25", "bm25_w"} & names for names in scores)


def test_what_was_made_from_it_goes_too_but_may_be_made_again(tmp_path: Path) -> None:
    said = turns(3)
    insight = turn("ada hides a xylophone", kind="insight", source=None, evidence=(SECRET.id,))
    above = turn("ada hides things, a xylophone say", kind="insight", source=None,
                 evidence=(insight.id, said[0].id))  # fmt: skip
    summary = turn("they talked", kind="session", source=None, evidence=(said[0].id,))
    with opened(tmp_path) as pool:
        memory = pool.of("ada")
        memory.add([*said, SECRET, insight, above, summary], START)
        erasure = memory.forget([SECRET.id], LATER)
        assert set(erasure.derived) == {insight.id, above.id}
        assert secret_anywhere(tmp_path) == []
        assert ids(memory.records()) == ids([*said, summary])
        again = above.model_copy(update={"text": "ada likes pianos", "evidence": (said[0].id,)})
        assert memory.add([again], LATER) == [above.id]


def test_forgetting_a_note_takes_the_turn_it_stands_on(tmp_path: Path) -> None:
    note = fact("instrument", "xylophone", 5, session="s9")
    with opened(tmp_path) as pool:
        memory = pool.of("ada")
        memory.add([*turns(3), SECRET, note, fact("home_city", "Rome", 5, session="s9")], START)
        assert set(memory.forget([note.id], LATER).ids) == {SECRET.id, note.id}
        assert secret_anywhere(tmp_path) == []
        assert [r.value for r in memory.history("home_city")] == ["Rome"]


def test_forgetting_a_topic(tmp_path: Path) -> None:
    other = turn("a XYLOPHONE again", 9)
    with opened(tmp_path) as pool:
        memory = pool.of("ada")
        memory.add([*turns(3), SECRET, other, turn("xylophonist", 12)], START)
        assert set(memory.forget_topic("xylophone", LATER).ids) == {SECRET.id, other.id}
        assert [r.text for r in memory.records()][3:] == ["xylophonist"]
        assert memory.forget_topic("xylophone", LATER).ids == ()


def test_the_same_words_of_others_are_told_apart(tmp_path: Path) -> None:
    with opened(tmp_path) as pool:
        pool.of("ada").add([turn("good morning to you", 1)], START)
        pool.of("ben").add([turn("good morning to you", 1, user="ben")], START)
        erasure = pool.of("ada").forget([turn("good morning to you", 1).id], LATER)
        assert erasure.clean
        assert {hit.path.suffix for hit in erasure.kept} >= {".jsonl"}
        assert "same words in other records" in str(erasure)
        assert len(pool.of("ben").records()) == 1


def adapter(folder: Path) -> Path:
    folder.mkdir()
    (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
    (folder / "adapter_model.safetensors").write_bytes(b"weights of ada")
    return folder


def test_forgetting_a_person_leaves_no_sign_of_them(tmp_path: Path) -> None:
    lora = adapter(tmp_path / "lora")
    pool_at = tmp_path / "pool"
    embedder = Cached(EMBEDDER, 100)
    with MemoryPool.open(pool_at, embedder) as pool:
        pool.of("ada").add([*turns(20), SECRET], START)
        pool.of("ben").add(turns(5, user="ben"), START)
        pool.flush()
        vectors = vectors_of(pool)
        erasure = pool.of("ada").forget_all(LATER, lora)
        assert erasure.clean
        assert len(erasure.ids) == 21
        assert not lora.exists()
        assert embedder._kept.keys().isdisjoint({SECRET.text})
        assert not [text for text in embedder._kept if "xylophone" in text]
        assert (pool.users(), pool.of("ada").records()) == (["ben"], [])
        assert pool.of("ada").query(plan("piano")) == []
        assert len(pool.of("ben").query(plan("piano"))) == 5
    assert secret_anywhere(pool_at, vectors) == []
    key = tenant_key("ada").encode()
    assert not [p for p in pool_at.rglob("*") if p.is_file() and key in p.read_bytes()]
    assert not [p for p in pool_at.rglob("*") if tenant_key("ada") in p.name]
    with opened(pool_at) as pool:
        assert pool.of("ada").add([SECRET], LATER) == [SECRET.id], (
            "they may come back as a stranger"
        )


def test_only_an_adapter_is_deleted(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.mkdir()
    link = tmp_path / "link"
    link.symlink_to(adapter(tmp_path / "lora"))
    with opened(tmp_path / "pool") as pool:
        pool.of("ada").add([SECRET], START)
        for path in (precious, link, tmp_path / "nowhere"):
            with pytest.raises(InputError, match=r"adapter_config\.json"):
                pool.of("ada").forget_all(LATER, path)
        assert len(pool.of("ada").records()) == 1
    assert precious.is_dir() and (tmp_path / "lora").is_dir()


class Killed(BaseException):
    """As kill -9: nothing catches it, nothing is tidied up."""


def die(*_: object, **__: object) -> None:
    raise Killed


STEPS: list[tuple[str, Callable[[pytest.MonkeyPatch], None]]] = [
    ("before the journal", lambda m: m.setattr(Journal, "rewrite", die)),
    ("before its name is gone", lambda m: m.setattr(rights, "_erase_here", die)),
    ("before the engine", lambda m: m.setattr(MemoryPool, "learn", die)),
    ("before the scrub", lambda m: m.setattr(EdgeEngine, "scrub", die)),
    ("within the scrub", lambda m: m.setattr(Shard, "_switch", die)),
    ("after the scrub", lambda m: m.setattr(Shard, "_sweep", die)),
    ("before the last flush", lambda m: m.setattr(MemoryPool, "flush", die)),
]


@pytest.mark.parametrize(
    ("step", "kill", "whole"),
    [(*step, whole) for n, step in enumerate(STEPS) for whole in (False, True)[: 1 + (n % 2)]],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_erasure_that_was_cut_short_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, kill: Any, whole: bool
) -> None:
    said = turns(10)
    lora = adapter(tmp_path / "lora")
    folder = tmp_path / "pool"
    pool = MemoryPool.open(folder, EMBEDDER)
    pool.of("ada").add([*said, SECRET], START)
    pool.of("ben").add(turns(4, user="ben"), START)
    pool.flush()
    vectors = vectors_of(pool)
    with monkeypatch.context() as patch:
        kill(patch)
        with pytest.raises(Killed):
            if whole:
                pool.of("ada").forget_all(LATER, lora)
            else:
                pool.of("ada").forget([SECRET.id], LATER)
    assert pool._lock is not None
    for shard in pool.engine._open.values():  # type: ignore[attr-defined]
        shard._shard.close()
    pool._lock.release()
    with opened(folder) as again:
        assert again.of("ada").records() == ([] if whole else said)
        assert len(again.of("ben").records()) == 4
        assert SECRET.text not in found(again.of("ada"), SECRET.text)
    assert secret_anywhere(folder, vectors) == []
    assert lora.exists() != whole
    assert not list((folder / "erasing").iterdir())


def test_a_dead_server_is_told_to_forget_when_it_is_back(tmp_path: Path) -> None:
    engine = Switch(ServerEngine(":memory:", "x", EMBEDDER.size))
    with opened(tmp_path, engine=engine) as pool:
        memory = pool.of("ada")
        memory.add([*turns(4), SECRET], START)
        engine.down = True
        erasure = memory.forget([SECRET.id], LATER)
        assert not erasure.done and not erasure.clean
        assert "erased later" in str(erasure)
        other = memory.records()[0]
        memory.forget([other.id], LATER)
        assert SECRET.text not in found(memory, "xylophone")
        engine.down = False
        pool.catch_up()
        assert SECRET.id not in engine.engine.marks(tenant_key("ada"))
        assert len(engine.engine.marks(tenant_key("ada"))) == 3
        assert not list((tmp_path / "erasing").iterdir())
        erasure = memory.forget([memory.records()[0].id], LATER)
        assert erasure.done and not erasure.scrubbed
        assert "files of the server" in str(erasure)


def test_who_comes_back_while_the_server_is_away_keeps_the_new_memories(tmp_path: Path) -> None:
    engine = Switch(ServerEngine(":memory:", "x", EMBEDDER.size))
    with opened(tmp_path, engine=engine) as pool:
        memory = pool.of("ada")
        memory.add([*turns(4), SECRET], START)
        engine.down = True
        assert not memory.forget_all(LATER).done
        memory.add([turn("here I am again", 1)], LATER)
        engine.down = False
        pool.catch_up()
        assert [record.text for record in memory.records()] == ["here I am again"]
        assert len(engine.engine.marks(tenant_key("ada"))) == 1
        assert found(memory, "again") == ["here I am again"]


def test_export_and_import_are_a_round_trip(tmp_path: Path) -> None:
    rome, paris = fact("home_city", "Rome", 1), fact("home_city", "Paris", 2)
    with opened(tmp_path / "a") as pool:
        memory = pool.of("ada")
        memory.add([*turns(10), rome, SECRET], START)
        memory.supersede(rome.id, paris, LATER)
        memory.recall([rome.id], LATER)
        memory.pin([paris.id], LATER)
        memory.archive([turns(10)[3].id], "old", LATER)
        assert rights.export(memory, tmp_path / "out.jsonl") == 13
        before, ranked = dict(memory.state), memory.query(plan("home_city"))
    with opened(tmp_path / "b") as pool:
        memory = pool.of("ada")
        assert len(rights.load(memory, tmp_path / "out.jsonl", LATER)) == 13
        assert dict(memory.state) == before
        assert memory.query(plan("home_city")) == ranked
        assert rights.load(memory, tmp_path / "out.jsonl", LATER) == []
        memory.forget([SECRET.id], LATER)
        assert rights.load(memory, tmp_path / "out.jsonl", LATER) == [], "not by this door either"


def test_nobody_imports_anothers_memories(tmp_path: Path) -> None:
    with opened(tmp_path / "pool") as pool:
        pool.of("ada").add(turns(3), START)
        rights.export(pool.of("ada"), tmp_path / "out.jsonl")
        with pytest.raises(InputError, match=r"out\.jsonl:1, field 'user': a record of 'ada'"):
            rights.load(pool.of("ben"), tmp_path / "out.jsonl", LATER)
        assert pool.users() == ["ada"]


def test_a_broken_line_takes_nothing_in(tmp_path: Path) -> None:
    lines = [record.model_dump_json() for record in turns(3)] + ['{"id": 3}']
    (tmp_path / "bad.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with opened(tmp_path / "pool") as pool:
        with pytest.raises(InputError, match=r"bad\.jsonl:4"):
            rights.load(pool.of("ada"), tmp_path / "bad.jsonl", LATER)
        assert pool.users() == []


# The scan itself


@pytest.mark.parametrize("chunk", [16, 300, 2**20])
def test_a_needle_is_found_wherever_it_lies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int
) -> None:
    monkeypatch.setattr(scan, "CHUNK", chunk)
    rng = np.random.default_rng(0)
    needle = "a needle, not hay"
    vector = rng.standard_normal(32).astype(np.float32)
    for place in (0, 1, 7, 255, 256, 299, 1000):
        for number, form in enumerate([*text_needles(needle), *vector_needles(vector), b"tiny"]):
            path = tmp_path / f"{place}-{number}" / "file"
            path.parent.mkdir()
            path.write_bytes(bytes(place) + form + rng.bytes(500))
            needles = {"it": {form}, "other": [b"not there at all"]}
            (hit,) = proof_scan(path.parent, needles).hits
            assert (hit.name, hit.path, hit.offset) == ("it", path, place)


def test_needles_at_the_edge_of_a_hole(tmp_path: Path) -> None:
    form = bytes(40) + b"half of it is zeros" + bytes(40)
    path = tmp_path / "sparse"
    with path.open("wb") as out:
        out.truncate(10 * 2**20)
        for place in (2**20, 5 * 2**20, 10 * 2**20 - len(form)):
            out.seek(place + 40)
            out.write(form[40:-40])
    assert path.stat().st_blocks * 512 < 2**20, "a file with holes"
    (hit,) = proof_scan(tmp_path, {"it": [form]}).hits
    assert hit.offset == 2**20
    assert proof_scan(tmp_path, {"it": [form]}).bytes == 10 * 2**20


def test_hay_is_no_needle(tmp_path: Path) -> None:
    (tmp_path / "hay").write_bytes(bytes(10_000) + np.random.default_rng(1).bytes(10_000))
    report = proof_scan(tmp_path, {str(i): text_needles(f"needle {i}") for i in range(300)})
    assert (report.files, report.bytes, report.hits) == (1, 20_000, ())
    assert "none found" in str(report)
