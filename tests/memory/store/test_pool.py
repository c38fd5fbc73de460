"""A pool is its journals: whatever happens to the engine, nothing is lost and nothing is double."""

import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from store_fakes import EMBEDDER, START, Switch, fact, found, ids, opened, plan, turn, turns

from oldfriend.errors import InputError, OldFriendError
from oldfriend.memory.store import books
from oldfriend.memory.store import pool as pools
from oldfriend.memory.store.embed import HashEmbedder
from oldfriend.memory.store.engine import Plan, tenant_key
from oldfriend.memory.store.lock import Lock, StoreLockedError
from oldfriend.memory.store.pool import MemoryPool
from oldfriend.memory.store.server import ServerEngine

HERE = Path(__file__).parent
LATER = START + timedelta(days=30)


def journals(folder: Path) -> list[Path]:
    return sorted(folder.glob("journals/*/*.jsonl"))


def unreachable() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


def test_memories_survive_the_process(tmp_path: Path) -> None:
    said = turns(30)
    with opened(tmp_path) as pool:
        assert pool.of("ada").add(said, START) == ids(said)
        before = pool.of("ada").query(plan(said[4].text))
    with opened(tmp_path) as pool:
        memory = pool.of("ada")
        assert memory.records() == said
        assert memory.query(plan(said[4].text)) == before
        assert before[0][0] == said[4].id
        assert (pool.users(), pool.behind, pool.notes) == (["ada"], 0, [])


def test_no_text_is_in_the_engine(tmp_path: Path) -> None:
    with opened(tmp_path) as pool:
        pool.of("ada").add([turn("a tell-tale xylophone", session="tell-tale session")], START)
    for path in (tmp_path / "engine").rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert b"tell-tale" not in data
        assert b"ada" not in data.replace(b"metadata", b"")


def test_adding_again_changes_nothing(tmp_path: Path) -> None:
    said = turns(5)
    with opened(tmp_path) as pool:
        memory = pool.of("ada")
        memory.add(said, START)
        memory.recall([said[0].id], START)
        size = journals(tmp_path)[0].stat().st_size
        assert memory.add(said, LATER) == []
        assert journals(tmp_path)[0].stat().st_size == size
        assert memory.state[said[0].id].strength == 2


def test_a_new_value_supersedes_and_the_old_stays_findable(tmp_path: Path) -> None:
    rome, paris = fact("home_city", "Rome", 1), fact("home_city", "Paris", 2)
    with opened(tmp_path) as pool:
        memory = pool.of("ada")
        memory.add([rome], START)
        memory.supersede(rome.id, paris, LATER)
        assert [r.value for r in memory.history("home_city")] == ["Rome", "Paris"]
        assert [r.value for r in memory.records(current=True)] == ["Paris"]
        assert set(found(memory, "home_city")) == {rome.text, paris.text}
        assert found(memory, "home_city", current=True) == [paris.text]
        memory.correct(paris.id, fact("home_city", "Lyon", 2), LATER)
        assert found(memory, "home_city", current=True) == ["home_city: Lyon"]


def test_the_archive_is_listed_but_not_searched(tmp_path: Path) -> None:
    said = turns(6)
    with opened(tmp_path) as pool:
        memory = pool.of("ada")
        memory.add(said, START)
        memory.archive([said[2].id], "not recalled for a year", LATER)
        assert said[2].text not in found(memory, said[2].text)
        assert len(memory.records()) == 5
        assert memory.records(archived=True)[2].archived == "not recalled for a year"
        memory.restore([said[2].id], LATER)
        assert found(memory, said[2].text)[0] == said[2].text


def test_a_neighbour_that_comes_later_joins_the_window(tmp_path: Path) -> None:
    first, second = turn("we went to the harbour", 0), turn("with a xylophone", 1)
    with opened(tmp_path) as pool:
        memory = pool.of("ada")
        memory.add([first], START)
        memory.add([second], START)
        (hit,) = [h for h in memory.scored(plan("xylophone")) if h.id == first.id]
    assert "bm25_w" in hit.scores
    assert "bm25" not in hit.scores


def test_a_revised_summary_is_found_by_its_new_words(tmp_path: Path) -> None:
    summary = turn("they talked of gardens", kind="session", source=None)
    with opened(tmp_path) as pool:
        memory = pool.of("ada")
        memory.add([summary], START)
        memory.revise(summary.model_copy(update={"text": "they talked of trains"}), LATER)
        assert [h.scores.get("bm25") for h in memory.scored(plan("gardens"))] == [None]
        assert found(memory, "trains") == ["they talked of trains"]


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda m: m.add([turn("x", user="ben")], START), "of 'ben', not of 'ada'"),
        (lambda m: m.pin([turn("unknown").id], START), "no record .* see records"),
        (lambda m: m.supersede(turn("unknown").id, turn("new"), START), "no record"),
        (lambda m: m.forget([turn("unknown").id], START), "no record"),
        (lambda m: m.forget_topic(" ", START), "say what to forget"),
    ],
)
def test_what_makes_no_sense_is_refused_and_not_written(
    tmp_path: Path, write: Any, message: str
) -> None:
    with opened(tmp_path) as pool:
        memory = pool.of("ada")
        memory.add([turn("hello")], START)
        data = journals(tmp_path)[0].read_bytes()
        with pytest.raises(InputError, match=message):
            write(memory)
        assert journals(tmp_path)[0].read_bytes() == data


@pytest.mark.parametrize("user", ["", "a\nb", "x" * 257])
def test_a_user_has_a_name(tmp_path: Path, user: str) -> None:
    with opened(tmp_path) as pool, pytest.raises(InputError, match="1 to 256"):
        pool.of(user)


@pytest.mark.parametrize("user", ["../../etc", "a/b", ".", "Ünïcode 日本", "con\\nul"])
def test_any_name_stays_in_the_folder(tmp_path: Path, user: str) -> None:
    with opened(tmp_path / "pool") as pool:
        pool.of(user).add([turn("hello", user=user)], START)
        assert pool.users() == [user]
    assert [path.name for path in tmp_path.iterdir()] == ["pool"]


def test_opening_reads_no_journal_it_does_not_need(tmp_path: Path) -> None:
    with opened(tmp_path) as pool:
        for user in ("ada", "ben"):
            pool.of(user).add(turns(3, user=user), START)
    path = tmp_path / "journals" / tenant_key("ben")[:2] / f"{tenant_key('ben')}.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"text":"', b'"tixt":"'))
    with opened(tmp_path) as pool:
        assert len(pool.of("ada").records()) == 3
        with pytest.raises(InputError, match=rf"{path.name}:1: damaged"):
            pool.of("ben").records()


def test_a_torn_line_is_told_in_the_notes(tmp_path: Path) -> None:
    with opened(tmp_path) as pool:
        pool.of("ada").add(turns(3), START)
    (path,) = journals(tmp_path)
    with path.open("ab") as out:
        out.write(b'{"sum":"0000')
    with opened(tmp_path) as pool:
        assert len(pool.of("ada").records()) == 3
        assert "cut 12 bytes" in pool.notes[0]
        pool.of("ada").add([turn("and on it goes", 9)], START)
    with opened(tmp_path) as pool:
        assert len(pool.of("ada").records()) == 4


def test_people_not_lately_asked_about_leave_the_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(books, "CACHED_RECORDS", 5)
    with opened(tmp_path) as pool:
        for user in ("ada", "ben", "cyd"):
            pool.of(user).add(turns(4, user=user), START)
        assert len(pool.books._people) == 2
        for user in ("ada", "ben", "cyd"):
            assert pool.of(user).records() == turns(4, user=user)


# One process at a time


SECOND = """
import sys
from pathlib import Path
from oldfriend.memory.store.embed import HashEmbedder
from oldfriend.memory.store.pool import MemoryPool
try:
    MemoryPool.open(Path(sys.argv[1]), HashEmbedder(32))
except Exception as error:
    print(type(error).__name__, error)
"""


def test_a_second_process_is_refused_and_the_first_unharmed(tmp_path: Path) -> None:
    said = turns(20)
    with opened(tmp_path) as pool:
        pool.of("ada").add(said[:10], START)
        second = subprocess.run(
            [sys.executable, "-c", SECOND, str(tmp_path)], capture_output=True, text=True
        )
        assert second.stdout.startswith("StoreLockedError the memory pool")
        assert second.stdout.count("\n") == 1
        pool.flush()
        pool.of("ada").add(said[10:], START)
        pool.flush()
    with opened(tmp_path) as pool:
        assert pool.of("ada").records() == said
        assert found(pool.of("ada"), said[15].text)[0] == said[15].text
        assert len(pool.engine.marks(tenant_key("ada"))) == 20


def test_a_lock_is_given_back(tmp_path: Path) -> None:
    with Lock(tmp_path / "lock"), pytest.raises(StoreLockedError, match="in use by process"):
        Lock(tmp_path / "lock")
    with Lock(tmp_path / "lock") as lock:
        lock.release()
        Lock(tmp_path / "lock").release()


def test_a_closed_pool_takes_nothing(tmp_path: Path) -> None:
    with opened(tmp_path) as pool:
        memory = pool.of("ada")
    pool.close()
    with pytest.raises(InputError, match="is closed"):
        memory.add([turn("hello")], START)
    with pytest.raises(InputError, match="is closed"):
        memory.query(plan("hello"))


# The engine is gone, or another


def test_a_dead_server_is_told_searched_around_and_caught_up(tmp_path: Path) -> None:
    said = turns(40)
    engine = Switch(ServerEngine(":memory:", "x", EMBEDDER.size))
    with opened(tmp_path, engine=engine) as pool:
        memory = pool.of("ada")
        memory.add(said[:20], START)
        assert pool.behind == 0
        engine.down = True
        memory.add(said[20:], START)
        memory.archive([said[0].id], "old", START)
        assert pool.behind == 21
        assert found(memory, said[30].text)[0] == said[30].text
        assert said[0].text not in found(memory, said[0].text)
        assert pool.catch_up() == 0
        assert pool.behind == 21
        engine.down = False
        assert pool.catch_up() == 21
        assert pool.behind == 0
        assert pool.engine.marks(tenant_key("ada")).keys() == set(ids(said[1:]))
        assert found(memory, said[30].text)[0] == said[30].text


def test_a_dead_server_is_not_asked_at_every_turn(tmp_path: Path) -> None:
    engine = Switch(ServerEngine(":memory:", "x", EMBEDDER.size))
    with opened(tmp_path, engine=engine) as pool:
        engine.down = True
        pool.of("ada").add(turns(1), START)
        before = engine.calls
        for record in turns(10)[1:]:
            pool.of("ada").add([record], START)
        assert engine.calls == before
        assert pool.behind == 11  # with the entry that opens the journal


def test_words_alone_respect_the_filters(tmp_path: Path) -> None:
    said = [turn(f"piano lesson {i}", i, kind="event" if i % 2 else "turn") for i in range(10)]
    engine = Switch(ServerEngine(":memory:", "x", EMBEDDER.size))
    with opened(tmp_path, engine=engine) as pool:
        memory = pool.of("ada")
        memory.add(said, START)
        asked: dict[str, Any] = {
            "kinds": ("event",), "since": said[3].created_at, "until": said[8].created_at
        }  # fmt: skip
        right = set(found(memory, "piano", **asked))
        engine.down = True
        assert set(found(memory, "piano", **asked)) == right == {r.text for r in said[3:8:2]}
        assert found(memory, "violin") == []
        only_dense = Plan([leaf for leaf in plan("piano").prefetches if leaf.vector == "dense"])
        assert memory.query(only_dense) == []


def test_words_alone_are_scored_as_the_engine_scores_them(tmp_path: Path) -> None:
    said = turns(60)
    engine = Switch(ServerEngine(":memory:", "x", EMBEDDER.size))
    with opened(tmp_path, engine=engine) as pool:
        memory = pool.of("ada")
        memory.add(said, START)
        words = [leaf for leaf in plan("piano garden coffee").prefetches if leaf.vector == "bm25"]
        right = memory.scored(Plan(words, limit=50))
        engine.down = True
        mine = memory.scored(Plan(words, limit=50))
        assert [h.id for h in mine] == [h.id for h in right]
        assert [h.scores["bm25"] for h in mine] == pytest.approx(
            [h.scores["bm25"] for h in right], rel=1e-5
        )
        assert len(mine) > 5


def test_a_url_where_nobody_listens(tmp_path: Path) -> None:
    with opened(tmp_path, url=unreachable()) as pool:
        memory = pool.of("ada")
        memory.add(turns(3), START)
        assert pool.behind == 4
        assert turns(3)[1].text in found(memory, turns(3)[1].text)
    with opened(tmp_path) as pool:  # embedded after all
        assert pool.behind == 4
        assert pool.catch_up() == 4
        assert len(pool.engine.marks(tenant_key("ada"))) == 3


def test_a_server_that_was_emptied_is_filled_again(tmp_path: Path) -> None:
    engine = ServerEngine(":memory:", "x", EMBEDDER.size)
    with opened(tmp_path, engine=Switch(engine)) as pool:
        memory = pool.of("ada")
        memory.add(turns(8), START)
        pool.engine.engine._client.delete_collection("x")
        pool.engine.down = True
        assert memory.query(plan("piano")) is not None
        pool.engine.down = False
        assert pool.catch_up() == 9
        assert len(engine.marks(tenant_key("ada"))) == 8


def test_a_lost_engine_folder_is_made_again(tmp_path: Path) -> None:
    with opened(tmp_path) as pool:
        pool.of("ada").add(turns(8), START)
    shutil.rmtree(tmp_path / "engine")
    with opened(tmp_path) as pool:
        assert pool.behind == 9
        assert found(pool.of("ada"), turns(8)[3].text)[0] == turns(8)[3].text
        assert pool.behind == 0


class Failing(HashEmbedder):
    """An embedder that breaks at the third call."""

    calls = 0

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        self.calls += 1
        if self.calls == 3:
            raise RuntimeError("out of memory")
        return super().encode(texts)


def test_what_could_not_be_embedded_is_kept_and_embedded_later(tmp_path: Path) -> None:
    said = turns(4)
    with MemoryPool.open(tmp_path, Failing(32)) as pool:
        memory = pool.of("ada")
        memory.add(said[:1], START)
        memory.add(said[1:2], START)
        with pytest.raises(RuntimeError, match="out of memory"):
            memory.add(said[2:3], START)
        assert pool.behind == 1
        memory.add(said[3:], START)
        assert pool.behind == 0
        assert pool.engine.marks(tenant_key("ada")).keys() == set(ids(said))


def test_another_embedder_needs_a_reindex(tmp_path: Path) -> None:
    said = turns(12)
    with opened(tmp_path) as pool:
        pool.of("ada").add(said, START)
    with pytest.raises(InputError, match=r"meta\.json: the vectors are of .*memory reindex"):
        MemoryPool.open(tmp_path, HashEmbedder(48))
    with opened(tmp_path) as pool:
        assert pool.behind == 0, "being refused does no harm"
    with MemoryPool.open(tmp_path, HashEmbedder(48), reindex=True) as pool:
        assert pool.behind == 0
        assert {len(v) for _, v in pool.engine.dense(tenant_key("ada"), ids(said))} == {48}
        assert pool.of("ada").records() == said
    with pytest.raises(InputError, match="reindex"):
        MemoryPool.open(tmp_path, EMBEDDER)


def test_a_reindex_that_was_cut_short_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened(tmp_path) as pool:
        pool.of("ada").add(turns(12), START)

    class Other(HashEmbedder):
        id = "another-of-the-same-size"

    with monkeypatch.context() as patch:
        patch.setattr(MemoryPool, "reindex", lambda self: sys.exit("killed"))
        with pytest.raises(SystemExit):
            MemoryPool.open(tmp_path, Other(32), reindex=True)
    with MemoryPool.open(tmp_path, Other(32)) as pool:
        assert pool.behind == 13
        calls: list[int] = []
        encode = pool.indexer.encoder.encode
        monkeypatch.setattr(
            pool.indexer.encoder, "encode", lambda t: (calls.append(len(t)), encode(t))[1]
        )
        pool.catch_up()
        assert sum(calls) >= 12, "embedded again, though the texts are the same"


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}'])
def test_a_broken_meta_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "meta.json").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=r"meta\.json"):
        MemoryPool.open(tmp_path, EMBEDDER)


def test_broken_marks_cost_only_a_comparison(tmp_path: Path) -> None:
    with opened(tmp_path) as pool:
        pool.of("ada").add(turns(3), START)
    (tmp_path / "marks.json").write_text("{", encoding="utf-8")
    with opened(tmp_path) as pool:
        assert pool.behind == 4
        assert turns(3)[1].text in found(pool.of("ada"), turns(3)[1].text)
        assert pool.behind == 0


def test_long_writes_go_in_lines_of_a_thousand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "LINE_ENTRIES", 10)
    with opened(tmp_path) as pool:
        pool.of("ada").add(turns(25), START)
    assert journals(tmp_path)[0].read_bytes().count(b"\n") == 3
    with opened(tmp_path) as pool:
        assert pool.of("ada").records() == turns(25)


def test_every_error_is_one_of_ours(tmp_path: Path) -> None:
    assert issubclass(StoreLockedError, OldFriendError)
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(OldFriendError, match="not a folder"):
        MemoryPool.open(tmp_path / "file", EMBEDDER)
