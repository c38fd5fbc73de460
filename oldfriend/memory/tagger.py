"""The second reader: a pretrained sentence encoder that marks what is worth remembering.

A small model from scratch knows few ways to say a thing. MiniLM has read more; fine-tuned to label
word pieces it finds facts in words that no training sentence used. It can only mark what stands in
the text, so it invents nothing.
"""

import copy
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from oldfriend.corpus.schema import NoteExample, read_rows
from oldfriend.errors import CheckpointError, MissingDataError
from oldfriend.files import atomic_folder
from oldfriend.lm.encoder import (
    LabelHead,
    LabelledDocument,
    TokenClassifier,
    load_minilm,
    word_pieces,
)
from oldfriend.lm.fit import Run, fit_model
from oldfriend.lm.lit import unwrap
from oldfriend.lm.model import read_meta, write_meta
from oldfriend.lm.packing import IGNORE
from oldfriend.lm.settings import FitParams, LoraParams
from oldfriend.lm.steady import settle_vector_math
from oldfriend.memory import notes
from oldfriend.memory.notes import Note, Slots
from oldfriend.memory.scores import note_scores
from oldfriend.memory.settings import TaggerParams
from oldfriend.memory.tags import notes_of, tags_of
from oldfriend.outcome import Outcome

WEIGHTS, SLOTS = "tagger.safetensors", "slots.json"
FROZEN = "model.bert.embeddings."
BATCH = 64
PAD = 0
ATTENTION = ["query", "key", "value"]  # what a person's own adapter changes, beside the labels


@dataclass(frozen=True)
class Tagger:
    """A token classifier over MiniLM and the slots whose values it marks."""

    network: Any  # TokenClassifier, or one in a PEFT wrapper
    slots: Slots

    @torch.inference_mode()
    def read(self, texts: Sequence[str]) -> list[list[tuple[Note, float]]]:
        """Notes of every text, each with the probability of its least certain piece."""
        rows = word_pieces().encode_batch(list(texts))
        order = sorted(range(len(rows)), key=lambda i: len(rows[i].ids))
        names, found = list(self.slots), dict[int, list[tuple[Note, float]]]()
        self.network.eval()
        classifier = unwrap(self.network)
        for start in range(0, len(order), BATCH):
            places = order[start : start + BATCH]
            longest = len(rows[places[-1]].ids)
            ids_BL = torch.full((len(places), longest), PAD)
            mask_BL = torch.zeros_like(ids_BL)
            for line, place in enumerate(places):
                ids_BL[line, : len(rows[place].ids)] = torch.tensor(rows[place].ids)
                mask_BL[line, : len(rows[place].ids)] = 1
            with torch.autocast("cpu", torch.bfloat16):
                hidden_BLD = classifier.model(ids_BL, mask_BL).last_hidden_state
                logits_BLT = classifier.lm_head(hidden_BLD).float()
            sure_BL, tags_BL = logits_BLT.softmax(-1).max(-1)
            for line, place in enumerate(places):
                spans = rows[place].offsets
                tags, sure = tags_BL[line].tolist(), sure_BL[line].tolist()
                size = len(spans)
                found[place] = notes_of(texts[place], tags[:size], sure[:size], spans, names)
        return [found[place] for place in range(len(texts))]


def train(params: TaggerParams, *, run: Run, data: Path, out: Path) -> Outcome:
    """Fine-tune on ``data/train.jsonl`` (NoteExamples); score ``data/test.jsonl``."""
    rows = list(read_rows(data / "train.jsonl", NoteExample))
    if not rows:
        raise MissingDataError(f"{data / 'train.jsonl'} has no examples to learn from")
    test = list(read_rows(data / "test.jsonl", NoteExample))
    val = list(read_rows(data / "val.jsonl", NoteExample))
    slots = notes.slot_types(rows)
    tagger = new(slots, run.seed)
    result = fit_model(
        tagger.network,
        lessons(tagger.slots, rows, run.seed),
        params.fit,
        run,
        pad_id=PAD,
        validation=lessons(tagger.slots, val, run.seed),
    )
    with atomic_folder(out) as folder:
        save(tagger, folder, {"params": params.model_dump(), "seed": run.seed})
    read = tagger.read([example.text for example in test])
    found = note_scores(test, [[note for note, _ in row] for row in read])
    speed = {"val_loss": result.val_loss, "tokens_per_s": result.tokens_per_s}
    return Outcome(metrics=found | speed)


def new(slots: Slots, seed: int) -> Tagger:
    """A tagger that has not learnt to mark anything yet."""
    settle_vector_math()
    return Tagger(TokenClassifier(load_minilm(), 1 + 2 * len(slots), seed), slots)


def lessons(slots: Slots, examples: Sequence[NoteExample], seed: int) -> list[LabelledDocument]:
    """Shuffled documents with a label for every word piece."""
    rows = random.Random(f"tags-{seed}").sample(list(examples), len(examples))
    encoded = word_pieces().encode_batch([row.text for row in rows])
    names = list(slots)
    documents = []
    for row, pieces in zip(rows, encoded, strict=True):
        tags = tags_of(row.facts, pieces.offsets, names)
        marks = zip(tags, pieces.offsets, strict=True)
        labels = tuple(tag if end > start else IGNORE for tag, (start, end) in marks)
        documents.append(LabelledDocument(tuple(pieces.ids), tags=labels))
    return documents


def with_slots(tagger: Tagger, slots: Slots) -> Tagger:
    """A copy that knows ``slots`` too; what is new starts from labels of zero weight."""
    network: TokenClassifier = copy.deepcopy(unwrap(tagger.network))
    known = [name for name in tagger.slots if name in slots]
    head = LabelHead(network.lm_head.in_features, 1 + 2 * len(slots))
    torch.nn.init.zeros_(head.weight)
    torch.nn.init.constant_(head.bias, float(network.lm_head.bias.detach().min()))
    old, place = list(tagger.slots), {name: i for i, name in enumerate(slots)}
    with torch.no_grad():
        for into, out_of in [(0, 0)] + [
            (1 + 2 * place[name] + part, 1 + 2 * old.index(name) + part)
            for name in known
            for part in (0, 1)
        ]:
            head.weight[into] = network.lm_head.weight[out_of]
            head.bias[into] = network.lm_head.bias[out_of]
    network.lm_head = head
    return Tagger(network, slots)


def personal(
    tagger: Tagger,
    slots: Slots,
    examples: Sequence[NoteExample],
    fit: FitParams,
    adapter: LoraParams,
    run: Run,
) -> Tagger:
    """A LoRA and labels of one person's own, learnt from ``examples``; leaves ``tagger`` alone."""
    own = with_slots(tagger, slots)
    torch.manual_seed(run.seed)
    config = LoraConfig(
        r=adapter.rank,
        lora_alpha=adapter.alpha,
        target_modules=ATTENTION,
        modules_to_save=["lm_head"],
    )
    network = get_peft_model(own.network, config)
    fit_model(network, lessons(slots, examples, run.seed), fit, run, pad_id=PAD)
    return Tagger(network, slots)


def save(tagger: Tagger, folder: Path, meta: dict[str, Any]) -> None:
    """Write a tagger into ``folder``: all that differs from MiniLM, or a person's adapter."""
    folder.mkdir(exist_ok=True)
    notes.save_slots(tagger.slots, folder / SLOTS)
    write_meta(folder, meta)
    if isinstance(tagger.network, PeftModel):
        tagger.network.save_pretrained(folder)
        return
    weights = tagger.network.state_dict()
    kept = {n: w.contiguous() for n, w in weights.items() if not n.startswith(FROZEN)}
    save_file(kept, folder / WEIGHTS)


def load(folder: Path, own: Path | None = None) -> Tagger:
    """The tagger in ``folder``, with a person's ``own`` adapter where there is one.

    Raises MissingDataError if there is none and CheckpointError if its weights do not fit.
    """
    if not (folder / WEIGHTS).is_file():
        raise MissingDataError(f"no tagger in {folder}; run the stage that makes it: dvc repro")
    read_meta(folder)
    tagger = new(notes.load_slots(folder / SLOTS), seed=0)
    try:
        odd = tagger.network.load_state_dict(load_file(folder / WEIGHTS), strict=False)
        lacking = [name for name in odd.missing_keys if not name.startswith(FROZEN)]
        if lacking or odd.unexpected_keys:
            raise ValueError(f"{[*lacking, *odd.unexpected_keys][0]} has no partner")
        if own is None or not (own / "adapter_config.json").is_file():
            return tagger
        personal_slots = notes.load_slots(own / SLOTS)
        network = with_slots(tagger, personal_slots).network
        return Tagger(PeftModel.from_pretrained(network, str(own)), personal_slots)
    except Exception as error:  # torch, peft and safetensors raise many kinds
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise CheckpointError(f"{own or folder} is not a tagger of ours: {reason}") from None
