"""Importers of public datasets: each reads one format family and yields conversations.

``load("esconv", Path("data/external/esconv"))`` streams the conversations of a file or folder.
Malformed input is an InputError that names file, line and field; because the rest of the stream
never comes, write through ``write_rows``, which leaves no partial file.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

from oldfriend.corpus.importers import (
    characters,
    chat,
    emotion_labels,
    empathetic,
    esconv,
    locomo,
    memory_tests,
    mts_dialog,
    persona_chat,
    personal,
    text,
)
from oldfriend.corpus.importers.source import Importer, Source
from oldfriend.corpus.schema import Conversation
from oldfriend.errors import InputError

__all__ = ["IMPORTERS", "Importer", "load"]

Load = Callable[[Path], Iterator[Conversation]]

_TABLE: tuple[tuple[Source, str, Load], ...] = (
    (esconv.SOURCE, "ESConv JSON or JSON Lines; FailedESConv.json", esconv.load),
    (empathetic.SOURCE, "CSV, official or one file per emotion", empathetic.load),
    (emotion_labels.GOEMOTIONS, "TSV: text, labels, id", emotion_labels.load_goemotions),
    (
        emotion_labels.DAILYDIALOG,
        "text with __eou__ beside emotion and topic files, or XDailyDialog TSV",
        emotion_labels.load_dailydialog,
    ),
    (persona_chat.PERSONA_CHAT, "ConvAI2 numbered text", persona_chat.load_persona_chat),
    (persona_chat.SYNTHETIC, "CSV: two personas, conversation", persona_chat.load_synthetic),
    (persona_chat.MSC, "JSON: split -> pairs of personas", persona_chat.load_msc),
    (personal.FOCUS, "JSON: data[dialogID, persona, utterance]", personal.load_focus),
    (
        personal.PERSONAL_DIALOG,
        "JSON Lines: dialog, profile, uid, golden_response",
        personal.load_personal_dialog,
    ),
    (personal.PCHATBOT, "TSV: post, user, time, reply, user, time", personal.load_pchatbot),
    (
        characters.HARRY_POTTER,
        "JSON: session -> speakers, scene, dialogue",
        characters.load_harry_potter,
    ),
    (characters.ROLEBENCH, "JSON Lines: role, question, generated", characters.load_rolebench),
    (characters.PDNC, "CSV of attributed quotations, a folder per novel", characters.load_pdnc),
    (mts_dialog.SOURCE, "CSV: section_header, section_text, dialogue", mts_dialog.load),
    (locomo.LOCOMO, "JSON: conversation, observation", locomo.load_locomo),
    (locomo.REALTALK, "JSON per chat: name, session_N, events_session_N", locomo.load_realtalk),
    (
        memory_tests.LONGMEMEVAL,
        "JSON: haystack_sessions, ids, dates, answer",
        memory_tests.load_longmemeval,
    ),
    (memory_tests.MEMORYBANK, "JSON: name -> history by day", memory_tests.load_memorybank),
    (memory_tests.INCHARACTER, "JSON per questionnaire", memory_tests.load_incharacter),
    (chat.ALPACA, "JSON or JSON Lines: instruction, input, output", chat.load_alpaca),
    (chat.SHAREGPT, "JSON or JSON Lines: conversations[from, value]", chat.load_sharegpt),
    (chat.OPENAI, "JSON Lines: messages[role, content]", chat.load_openai),
    (chat.QA, "JSON or JSON Lines: question, answer", chat.load_qa),
    (chat.GSM8K, "JSON Lines: question, answer", chat.load_gsm8k),
    (chat.MEDQUAD, "JSON Lines: question, answer", chat.load_medquad),
    (chat.SGD, "JSON or JSON Lines: dialogue_id, turns", chat.load_schema_guided),
    (text.TEXT, "folder of .txt, .md, .rst, .py; its name is the domain", text.load_text),
    (text.FICTION, "folder of .txt novels", text.load_fiction),
    (text.LEGAL, "folder of .txt titles", text.load_legal),
    (text.REVIEWS, "folder of .txt reviews", text.load_reviews),
    (text.CODE, "folder of .py files", text.load_code),
)

IMPORTERS: dict[str, Importer] = {
    source.name: Importer(source.name, source.licence, reads, read)
    for source, reads, read in _TABLE
}


def load(name: str, path: Path) -> Iterator[Conversation]:
    """Stream the conversations at ``path`` with the importer ``name``."""
    if name not in IMPORTERS:
        raise InputError(f"unknown importer '{name}'; there are {', '.join(IMPORTERS)}")
    return _at_least_one(IMPORTERS[name], path)


def _at_least_one(importer: Importer, path: Path) -> Iterator[Conversation]:
    found = False
    for conversation in importer.load(path):
        found = True
        yield conversation
    if not found:
        raise InputError(f"no conversations; {importer.name} expects {importer.reads}", path=path)
