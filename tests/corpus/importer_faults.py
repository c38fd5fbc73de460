"""Malformed files in each public format, and what the error must say."""

from importer_cases import (
    DAILY_TEXT,
    ED_ROWS,
    ESCONV,
    FAILED,
    LONGMEMEVAL,
    MTS,
    PERSONAL,
    QUOTES,
    SPC,
    Files,
    as_json,
    as_lines,
)

MALFORMED: list[tuple[str, Files, str]] = [
    ("esconv", {"train.jsonl": as_lines(ESCONV) + "{oops\n"}, r"train\.jsonl:2: malformed JSON"),
    (
        "esconv",
        {"train.jsonl": as_lines({})},
        r"train\.jsonl:1, field 'dialog': missing; expected a list",
    ),
    (
        "esconv",
        {"train.jsonl": as_lines(ESCONV | {"dialog": [{"text": "x", "speaker": "me"}]})},
        r"field 'dialog\.0\.speaker': expected one of usr",
    ),
    (
        "esconv",
        {
            "train.jsonl": as_lines(
                ESCONV | {"survey_score": {"seeker": {"initial_emotion_intensity": "9"}}}
            )
        },
        r"initial_emotion_intensity': expected 1 to 5, found 9",
    ),
    ("esconv", {"FailedESConv.json": as_json([FAILED])[:-9]}, r"record 1: malformed JSON"),
    ("empathetic_dialogues", {"a.csv": "Dialog_ID,Type\n"}, r":1, field 'Actor': missing column"),
    ("empathetic_dialogues", {"a.csv": ED_ROWS + "x,y\n"}, r":5: expected 5 columns, found 2"),
    ("empathetic_dialogues", {"a.csv": ED_ROWS + 'a,b,c,"d,e\n'}, r":5: malformed CSV"),
    ("empathetic_dialogues", {"a.csv": ""}, r"empty; expected a header with Dialog_ID"),
    ("goemotions", {"train.tsv": "a\t3\n"}, r"train\.tsv:1: expected 3 columns"),
    ("goemotions", {"train.tsv": "a\t99\tx\n"}, r":1: expected a label from 0 to 27, found '99'"),
    (
        "dailydialog",
        {"dialogues_text_En.txt": DAILY_TEXT, "dialogues_emotion.txt": "0 4\n"},
        r"2 lines, but dialogues_emotion\.txt has 1",
    ),
    ("persona_chat", {"valid_self_x.txt": "hello\n"}, r":1: expected a line number"),
    ("persona_chat", {"valid_self_x.txt": "1 hello\n"}, r":1: expected two replies"),
    (
        "synthetic_persona_chat",
        {"Synthetic-Persona-Chat_x.csv": SPC.replace("User", "Robot")},
        r"field 'Best Generated Conversation': expected lines like 'User 1",
    ),
    ("msc_personas", {"msc_personas_all.json": '{"other": []}'}, r"field 'other': expected train"),
    ("focus", {"train.json": as_json({"data": [{"dialogID": 1}]})}, r"'data\.0\.persona': missing"),
    (
        "personal_dialog",
        {"train.jsonl": as_lines(PERSONAL | {"uid": [0, 5]})},
        r"field 'uid\.1': expected the number of one of 2 profiles",
    ),
    ("pchatbot", {"a.txt": "post\t1\t2\n"}, r"a\.txt:1: expected 6 columns"),
    (
        "harry_potter",
        {"a.json": as_json({"s": {"dialogue": ["no speaker"]}})},
        r"'s\.dialogue': expected lines like",
    ),
    ("rolebench", {"a.jsonl": as_lines({"role": 1, "question": "a", "generated": 3})}, "a list"),
    ("pdnc", {"N/quotation_info.csv": QUOTES.replace("['Mr. Orr']", "{[]: 1}")}, "list of names"),
    (
        "mts_dialog",
        {"MTS-Dialog-x.csv": MTS.replace("Doctor: Any", "Any")},
        r":2, field 'dialogue': expected lines like 'Doctor",
    ),
    (
        "locomo",
        {"locomo10.json": as_json([{"sample_id": "x", "conversation": {"speaker_a": "A"}}])},
        r"record 1: missing; expected a string",
    ),
    (
        "longmemeval",
        {"longmemeval_s.json": as_json([LONGMEMEVAL | {"haystack_dates": []}])},
        r"expected as many sessions as ids and dates",
    ),
    (
        "memorybank",
        {"memory_bank_en.json": as_json({"A": {"history": {"May": []}}})},
        r"'A\.history\.May': expected a date",
    ),
    ("incharacter", {"a.json": "[1]"}, r"expected an object, found \[1\]"),
    (
        "alpaca",
        {"a.json": as_json([{"instruction": "x"}])},
        r"a\.json:1, field 'output': record 1: missing",
    ),
    (
        "alpaca",
        {"a.json": '[{"instruction": "x"} {}]'},
        r"a\.json:1, field 'output': record 1: missing",
    ),
    ("alpaca", {"a.json": '[{"instruction":"x","output":"y"} {}]'}, r"expected '\]', found '{'"),
    ("alpaca", {"a.json": '[{"instruction":"x","output":"y"},]'}, r"record 2: malformed JSON"),
    ("alpaca", {"a.json": '[{"instruction":"x","output":"y"}] x'}, r"text after the end"),
    ("sharegpt", {"a.json": as_json([{"conversations": [{"from": "cat"}]}])}, "found 'cat'"),
    ("openai_chat", {"a.jsonl": as_lines({"messages": "no"})}, r"'messages': expected a list"),
    ("qa", {"a.jsonl": "[" * 100_000}, r"malformed JSON"),
    ("qa", {"a.jsonl": '{"question": "\\ud800", "answer": "x"}\n'}, r"surrogate"),
    ("schema_guided", {"a.jsonl": as_lines({"dialogue_id": "1", "turns": [["USER"]]})}, "pair"),
    ("text", {"a.txt": " \n\n"}, r"no conversations; text expects folder"),
]
