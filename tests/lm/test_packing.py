"""Packing: nothing lost, nothing doubled, and no document sees its neighbours."""

from collections.abc import Callable
from copy import deepcopy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from lm_tiny import SLIDING, VARIANTS, packed_batch, random_documents, tiny_model
from torch.nn import functional as F

from oldfriend.errors import InputError
from oldfriend.lm.lit import PackedLM
from oldfriend.lm.packing import (
    IGNORE,
    Document,
    PackedRows,
    attention_mask,
    fitting,
    isolate_convolutions,
    pack,
    packed_hidden,
    plan_rows,
    short_convolutions,
)
from oldfriend.lm.settings import FitParams

ROW = 64
LENGTHS = (1, 9, 23, 2, 17, 11, 30)  # two rows, the second one padded
lengths_lists = st.lists(st.integers(1, ROW), max_size=60)


@st.composite
def documents(draw: st.DrawFn) -> Document:
    """A document with disjoint learn spans, or none."""
    ids = draw(st.lists(st.integers(0, 99), min_size=1, max_size=ROW))
    cuts = sorted(draw(st.sets(st.integers(0, len(ids)), max_size=6)))
    return Document(tuple(ids), tuple(zip(cuts[::2], cuts[1::2], strict=False)))


@given(lengths_lists)
def test_pack_holds_every_document_once_within_capacity(lengths: list[int]) -> None:
    rows = pack(lengths, ROW)
    assert sorted(i for row in rows for i in row) == list(range(len(lengths)))
    assert all(0 < sum(lengths[i] for i in row) <= ROW for row in rows)
    assert pack(lengths, ROW) == rows


@given(lengths_lists)
def test_pack_leaves_at_most_one_row_half_empty(lengths: list[int]) -> None:
    fills = [sum(lengths[i] for i in row) for row in pack(lengths, ROW)]
    assert sum(fill <= ROW // 2 for fill in fills) <= 1


@given(lengths_lists, st.integers(0, 60), st.integers(1, 50))
def test_pack_refuses_a_document_longer_than_a_row(
    lengths: list[int], place: int, excess: int
) -> None:
    place = min(place, len(lengths))
    lengths.insert(place, ROW + excess)
    with pytest.raises(InputError, match=f"document {place} has {ROW + excess} tokens"):
        pack(lengths, ROW)


@given(lengths_lists, st.integers(0, 5), st.integers(1, 20))
def test_plan_keeps_documents_windows_and_seed(lengths: list[int], seed: int, window: int) -> None:
    docs = random_documents(lengths)
    rows = plan_rows(docs, ROW, seed, window=window)
    assert sorted(i for row in rows for i in row) == list(range(len(docs)))
    assert all(sum(lengths[i] for i in row) <= ROW for row in rows)
    assert all(len({i // window for i in row}) == 1 for row in rows)
    order = [row[0] // window for row in rows]
    assert order == sorted(order)  # a curriculum's order survives
    assert plan_rows(docs, ROW, seed, window=window) == rows


def test_plan_shuffles_rows_by_seed() -> None:
    docs = random_documents([ROW] * 40)
    assert plan_rows(docs, ROW, 0) != plan_rows(docs, ROW, 1)


@given(documents())
def test_labels_are_the_next_tokens_of_the_learn_spans(document: Document) -> None:
    labels = document.labels()
    assert len(labels) == len(document)
    learnt = {
        position
        for start, end in document.learn or ((0, len(document)),)
        for position in range(start, end)
    }
    for place, label in enumerate(labels):
        assert label == (document.ids[place + 1] if place + 1 in learnt else IGNORE)
    assert document.learnt() == sum(label != IGNORE for label in labels)


def test_a_document_without_tokens_has_nothing_to_learn() -> None:
    assert Document(()).learnt() == 0
    assert Document(()).labels() == []


@given(st.lists(documents(), min_size=1, max_size=12), st.integers(0, 3))
@settings(max_examples=50)
def test_rows_spell_their_documents(docs: list[Document], seed: int) -> None:
    rows = PackedRows(docs, plan_rows(docs, ROW, seed), ROW, pad_id=0)
    for number, members in enumerate(rows.rows):
        row = {name: tensor.tolist() for name, tensor in rows[number].items()}
        used = rows.tokens[number]
        assert row["input_ids"] == [t for i in members for t in docs[i].ids] + [0] * (ROW - used)
        assert row["labels"][:used] == [label for i in members for label in docs[i].labels()]
        assert set(row["labels"][used:]) <= {IGNORE}
        assert rows.supervised(number) == sum(label != IGNORE for label in row["labels"])
        starts = [i for i, position in enumerate(row["position_ids"]) if position == 0]
        changes = [0] + [i for i in range(1, ROW) if row["seq_idx"][i] != row["seq_idx"][i - 1]]
        assert starts == changes
        assert len(starts) == len(members) + (used < ROW)


def test_mask_is_causal_within_a_document_and_closed_between() -> None:
    mask = attention_mask(torch.tensor([[0, 0, 1, 1, 1]]))[0, 0]
    assert mask.int().tolist() == [
        [1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0],
        [0, 0, 1, 0, 0],
        [0, 0, 1, 1, 0],
        [0, 0, 1, 1, 1],
    ]


Forward = Callable[[torch.nn.Module, dict[str, torch.Tensor]], torch.Tensor]


def _packed_gap(name: str, forward: Forward) -> float:
    """Largest difference of any logit in a pack from that of its document alone."""
    docs = random_documents(LENGTHS)
    plain, packed = tiny_model(name), tiny_model(name)
    rows = plan_rows(docs, ROW, 0)
    assert any(len(row) > 2 for row in rows)
    gap = 0.0
    with torch.no_grad():
        logits = forward(packed, packed_batch(docs, ROW))
        for number, row in enumerate(rows):
            start = 0
            for i in row:
                alone = plain(input_ids=torch.tensor([docs[i].ids]), use_cache=False).logits[0]
                inside = logits[number, start : start + len(docs[i])]
                gap = max(gap, float((inside - alone).abs().max()))
                start += len(docs[i])
    return gap


def _isolated(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    isolate_convolutions(model)
    return _hidden_logits(model, batch)


def _hidden_logits(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    logits: torch.Tensor = model.lm_head(packed_hidden(model.model, batch))  # type: ignore
    return logits


def _plain_convolutions(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """Attention is isolated, convolutions are not told where documents end."""
    logits: torch.Tensor = model(
        input_ids=batch["input_ids"],
        attention_mask={"full_attention": attention_mask(batch["seq_idx"]), "conv": None},
        position_ids=batch["position_ids"],
        use_cache=False,
    ).logits
    return logits


def _plain_causal(model: torch.nn.Module, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    logits: torch.Tensor = model(input_ids=batch["input_ids"], use_cache=False).logits
    return logits


@pytest.mark.parametrize("name", VARIANTS)
def test_logits_in_a_pack_equal_those_of_the_document_alone(name: str) -> None:
    assert _packed_gap(name, _isolated) < 1e-4


@pytest.mark.parametrize("name", VARIANTS)
def test_control_a_plain_causal_mask_leaks(name: str) -> None:
    assert _packed_gap(name, _plain_causal) > 1e-2


@pytest.mark.parametrize("name", ["lfm2", "lfm2-biased"])
def test_control_plain_convolutions_leak(name: str) -> None:
    assert _packed_gap(name, _plain_convolutions) > 1e-2


def test_control_the_sliding_window_matters() -> None:
    """Documents are longer than the window, or the windowed variants would prove nothing."""
    assert max(LENGTHS) > SLIDING
    ids = torch.tensor([random_documents([30])[0].ids])
    with torch.no_grad():
        gap = tiny_model("mistral")(ids).logits - tiny_model("mistral-window")(ids).logits
    assert gap[:, :SLIDING].abs().max() < 1e-4
    assert gap[:, SLIDING:].abs().max() > 1e-2


@pytest.mark.parametrize("name", VARIANTS)
def test_loss_of_a_batch_is_the_sum_over_its_documents(name: str) -> None:
    docs = random_documents(LENGTHS)
    docs[2] = Document(docs[2].ids, ((3, 7), (20, 23)))
    model = tiny_model(name)
    fit = FitParams(steps=1, lr=1e-3)
    expected = 0.0
    with torch.no_grad():
        for doc in docs:
            logits = model(input_ids=torch.tensor([doc.ids]), use_cache=False).logits[0]
            labels = torch.tensor(doc.labels())
            expected += float(F.cross_entropy(logits, labels, reduction="sum"))
        found = float(PackedLM(model, fit).loss(packed_batch(docs, ROW)))
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("name", ["lfm2", "lfm2-biased"])
def test_isolated_convolutions_behave_as_before_without_seq_idx(name: str) -> None:
    plain, isolated = tiny_model(name), tiny_model(name)
    isolate_convolutions(isolated)
    isolate_convolutions(isolated)  # twice is as good as once
    ids = torch.tensor([doc.ids for doc in random_documents([12, 12])])
    with torch.no_grad():
        torch.testing.assert_close(isolated(ids).logits, plain(ids).logits)
        assert isolated.generate(ids, max_new_tokens=8, do_sample=False).equal(
            plain.generate(ids, max_new_tokens=8, do_sample=False)
        )
    assert plain.state_dict().keys() == isolated.state_dict().keys()


def test_a_copy_of_an_isolated_model_has_its_own_convolutions() -> None:
    model = tiny_model("lfm2")
    isolate_convolutions(model)
    twin = deepcopy(model)
    batch = packed_batch(random_documents(LENGTHS), ROW)
    with torch.no_grad():
        before = _hidden_logits(twin, batch)
        for convolution in short_convolutions(model):
            convolution.conv.weight.zero_()  # type: ignore[union-attr, operator]
        assert _hidden_logits(twin, batch).equal(before)
        assert not _hidden_logits(model, batch).equal(before)


def test_what_does_not_fit_is_left_out_and_told(caplog: pytest.LogCaptureFixture) -> None:
    documents = [Document(tuple(range(size))) for size in (5, 50, 8)]
    assert fitting(documents, 10) == [documents[0], documents[2]]
    assert "1 documents (33.3%) exceed 10 tokens" in caplog.text
    with pytest.raises(InputError, match="none of 1 documents fits 10 tokens"):
        fitting(documents[1:2], 10)
