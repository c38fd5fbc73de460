"""Small files in each public format, in our own words, and what the importers make of them."""

import json
from dataclasses import dataclass

Files = dict[str, str]


def as_json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def as_lines(*values: object) -> str:
    return "".join(as_json(value) + "\n" for value in values)


ESCONV = {
    "emotion_type": "sadness",
    "problem_type": "lost pet",
    "situation": "My parrot flew away last week.",
    "survey_score": {
        "seeker": {"initial_emotion_intensity": "5", "final_emotion_intensity": "2"},
        "supporter": {},
    },
    "dialog": [
        {"text": "Hello there", "speaker": "usr"},
        {"text": "What is wrong?", "speaker": "sys", "strategy": "Question"},
        {"text": "My parrot flew away.", "speaker": "usr"},
        {"text": "That must hurt.", "speaker": "sys", "strategy": "Reflection of feelings"},
        {"text": "It helps to talk.", "speaker": "usr"},
    ],
}
FAILED = ESCONV | {
    "dialog": [
        {"speaker": "speaker", "annotation": {"feedback": "2"}, "content": "My parrot flew away\n"},
        {"speaker": "listener", "annotation": {"strategy": "Questions"}, "content": "so what"},
    ]
}
DAILY_TEXT = "It 's late . __eou__ I ' ll stay .\nAgain , please ! __eou__ No .\n"
LOCOMO_SAMPLE = {
    "sample_id": "conv-1",
    "conversation": {
        "speaker_a": "Ottil",
        "speaker_b": "Brune",
        "session_1_date_time": "1:56 pm on 8 May, 2023",
        "session_1": [
            {
                "speaker": "Ottil",
                "dia_id": "D1:1",
                "text": "I joined a pottery class yesterday, so fun!",
            },
            {"speaker": "Brune", "dia_id": "D1:2", "text": "Nice. I painted the old barn red."},
        ],
        "session_2_date_time": "9:00 am on 9 May, 2023",
    },
    "observation": {
        "session_1_observation": {
            "Ottil": [["Ottil joined a pottery class.", "D1:1"]],
            "Brune": [["Brune painted the barn red.", ["D1:2"]], ["Brune is kind.", "D1:1, D1:2"]],
        }
    },
}
REALTALK_CHAT = {
    "name": {"speaker_1": "Ottil", "speaker_2": "Brune"},
    "session_1": [
        {
            "clean_text": "I adopted a three legged goat",
            "speaker": "Ottil",
            "date_time": "29.12.2023, 22:42:04",
            "dia_id": "D1:1",
        },
        {"clean_text": "wow", "speaker": "Brune", "dia_id": "D1:2"},
    ],
    "session_1_date_time": "29.12.2023, 22:42:04",
    "events_session_1": {
        "agent_a": [{"sub-event": "Ottil adopted a goat with three legs.", "date": ""}],
        "agent_b": [],
    },
}
LONGMEMEVAL = {
    "question_id": "q7",
    "question": "What did I break?",
    "answer": "blue kettle",
    "haystack_session_ids": ["s1"],
    "haystack_dates": ["2023/05/20 (Sat) 02:21"],
    "haystack_sessions": [
        [
            {"role": "user", "content": "I broke my blue kettle.", "has_answer": True},
            {"role": "assistant", "content": "Sorry to hear that."},
        ]
    ],
}
FOCUS = {
    "data": [
        {
            "dialogID": "F1",
            "persona": ["I love windmills.", "I live in Delft."],
            "knowledge": ["A mill grinds."],
            "utterance": [
                {"dialogue1": ["What is this?", "A mill, as you love."]},
                {
                    "dialogue2": [
                        "What is this?",
                        "A mill, as you love.",
                        "I love windmills indeed.",
                        "It turns.",
                    ]
                },
            ],
        }
    ]
}
PERSONAL = {
    "dialog": ["那么 晚", "刚 到 家"],
    "profile": [{"tag": ["旅游"], "loc": "福建", "gender": "male"}, {"tag": [], "loc": ""}],
    "uid": [0, 1],
    "golden_response": "晚安 。",
}
POTTER = {
    "Session-1": {
        "Position": "Chapter1-2",
        "Speakers": ["Harry", "Ron"],
        "Scene": "On the train.",
        "Dialogue": ["Ron: Want a sandwich?", "Harry: Have a pasty."],
        "Positive-Response": "Harry: Go on.",
    }
}
QUOTES = (
    "quoteID,quoteText,quoteByteSpans,speaker,addressees\n"
    'Q0,Who is there?,"[[10, 30]]",Miss Vane,"[\'Mr. Orr\']"\n'
    'Q1,Only I.,"[[40, 50]]",Mr. Orr,"[\'Miss Vane\']"\n'
    'Q2,Late as ever.,"[[9000, 9020]]",Miss Vane,"[\'Mr. Orr\']"\n'
)
MTS = (
    "ID,section_header,section_text,dialogue\n"
    '0,ALLERGY,"Penicillin, walnuts.","Doctor: Any allergies?\n'
    "Patient: I am allergic to penicillin.\nDoctor: Foods?\nPatient: Walnuts, but\nonly raw ones.\n"
    'Guest_family: He sneezes."\n'
)
SPC = (
    "user 1 personas,user 2 personas,Best Generated Conversation\n"
    '"I keep bees.\nI am a baker.","I sail boats.",'
    '"User 1: Hi!\n* User 2: I love to sail boats.\nUser 1: Oh, I keep bees.\n[They laugh]"\n'
)
PERSONA_CHAT = (
    "1 your persona: i keep bees .\n2 hello , who are you ?\ti keep bees in town .\n"
    "1 your persona: i sail .\n2 hi !\thello !\n"
)
ED_ROWS = (
    "Dialog_ID,Type,Actor,Text,Label\n"
    "hit:7_conv:15,situation,none,My boat sank,sad\n"
    'hit:7_conv:15,utterance,speaker,"My boat sank, slowly",sad\n'
    "hit:7_conv:15,utterance,listener,Oh no,sympathizing\n"
)
ED_OFFICIAL = (
    "conv_id,utterance_idx,context,prompt,speaker_idx,utterance,selfeval,tags\n"
    'hit:7_conv:15,1,sad,My boat sank,3,"My boat sank_comma_ slowly,5|5|5_2|2|5,\n'
    "hit:7_conv:15,2,sad,My boat sank,4,Oh no,5|5|5_2|2|5\n"
)
SHAREGPT = {
    "id": "x1",
    "conversations": [
        {"from": "system", "value": "Be brief."},
        {"from": "human", "value": "Hi"},
        {"from": "gpt", "value": "Hello"},
    ],
}
OPENAI = {
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "image_url"}]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "assistant", "content": "Hello"},
    ]
}
BANK = {
    "Ottil": {
        "name": "Ottil",
        "history": {"2023-05-01": [{"query": "I ran.", "response": "Well done."}]},
    }
}
FORM = {
    "name": "BFI",
    "questions": {
        "1": {"origin_en": "Is calm.", "rewritten_en": "Are you calm?", "dimension": "Neuroticism"},
        "2": {"origin_en": "Sings.", "dimension": None},
    },
}


@dataclass(frozen=True)
class Case:
    """Files in one format, and what the first conversation must be."""

    name: str
    files: Files
    talk: str
    count: int = 1
    split: str | None = None
    situation: str | None = None
    values: tuple[str, ...] = ()


CASES = [
    Case(
        "esconv",
        {"train.jsonl": as_lines(ESCONV), "valid.jsonl": as_lines(ESCONV, ESCONV)},
        "u: Hello there / f: What is wrong? / u: My parrot flew away. / f: That must hurt. / "
        "u: It helps to talk.",
        count=3,
        split="train",
        situation="My parrot flew away last week.",
    ),
    Case(
        "esconv",
        {"FailedESConv.json": as_json([FAILED])},
        "u: My parrot flew away / f: so what",
        situation="My parrot flew away last week.",
    ),
    Case(
        "empathetic_dialogues",
        {"annotated/sad.csv": ED_ROWS},
        "u: My boat sank, slowly / f: Oh no",
        split="train",
        situation="My boat sank",
    ),
    Case(
        "empathetic_dialogues",
        {"valid.csv": ED_OFFICIAL},
        'u: "My boat sank, slowly / f: Oh no',
        split="val",
        situation="My boat sank",
    ),
    Case("goemotions", {"dev.tsv": "What a day!\t27,17\tabc\n"}, "u: What a day!", split="val"),
    Case(
        "dailydialog",
        {
            "dialogues_text_En.txt": DAILY_TEXT,
            "dialogues_emotion.txt": "0 4\n0 0\n",
            "dialogues_topic.txt": "1\n10\n",
        },
        "u: It's late. / f: I'll stay.",
        count=2,
        split="train",
        situation="ordinary life",
    ),
    Case(
        "persona_chat",
        {"valid_self_original_no_cands.txt": PERSONA_CHAT},
        "f: hello, who are you? / u: i keep bees in town.",
        count=2,
        split="val",
        situation="i keep bees.",
        values=("i keep bees in town",),
    ),
    Case(
        "synthetic_persona_chat",
        {"Synthetic-Persona-Chat_test.csv": SPC},
        "u: Hi! / f: I love to sail boats. / u: Oh, I keep bees.",
        count=2,
        split="test",
        situation="I keep bees.\nI am a baker.",
        values=("I keep bees",),
    ),
    Case(
        "msc_personas",
        {
            "msc_personas_all.json": as_json(
                {"valid": [{"Speaker 1": ["I knit."], "Speaker 2": []}]}
            )
        },
        "u: I knit.",
        split="val",
        values=("I knit",),
    ),
    Case(
        "focus",
        {"valid_focus.json": as_json(FOCUS)},
        "u: What is this? / f: A mill, as you love. / u: I love windmills indeed. / f: It turns.",
        split="val",
        situation="I love windmills.\nI live in Delft.",
        values=("I love windmills indeed",),
    ),
    Case(
        "personal_dialog",
        {"dev_random.jsonl": as_lines(PERSONAL)},
        "u: 那么晚 / f: 刚到家 / f: 晚安。",
        split="val",
        situation="gender: male\nplace: 福建\ntags: 旅游",
    ),
    Case(
        "pchatbot",
        {"sample.txt": "好 天气\t17\t607\t是 的 。\t2\t608\n\t1\t0\n"},
        "u: 好天气 / f: 是的。",
    ),
    Case(
        "harry_potter",
        {"en_test_set.json": as_json(POTTER)},
        "u: Want a sandwich? / f: Have a pasty. / f: Go on.",
        split="test",
        situation="On the train.",
    ),
    Case(
        "rolebench",
        {
            "rolebench-eng/general/test.jsonl": as_lines(
                {"role": "Captain Moss", "question": "Who are you?", "generated": ["Arr.", "Hm."]}
            )
        },
        "u: Who are you? / f: Arr.",
        split="test",
        situation="Captain Moss",
    ),
    Case(
        "pdnc",
        {"Orr/quotation_info.csv": QUOTES},
        "f: Who is there? / u: Only I.",
        count=3,
        situation="Miss Vane in Orr",
    ),
    Case(
        "mts_dialog",
        {"MTS-Dialog-ValidationSet.csv": MTS},
        "f: Any allergies? / u: I am allergic to penicillin. / f: Foods? / "
        "u: Walnuts, but\nonly raw ones. / u: He sneezes.",
        split="val",
        values=("I am allergic to penicillin", "Walnuts"),
    ),
    Case(
        "locomo",
        {"locomo10.json": as_json([LOCOMO_SAMPLE])},
        "u: I joined a pottery class yesterday, so fun! / f: Nice. I painted the old barn red.",
        count=2,
        values=("I joined a pottery class yesterday",),
    ),
    Case(
        "realtalk",
        {"Chat_1_Ottil_Brune.json": as_json(REALTALK_CHAT)},
        "u: I adopted a three legged goat / f: wow",
        count=2,
        values=("I adopted a three legged goat",),
    ),
    Case(
        "longmemeval",
        {"longmemeval_s.json": as_json([LONGMEMEVAL])},
        "u: I broke my blue kettle. / f: Sorry to hear that.",
        split="test",
        values=("I broke my blue kettle",),
    ),
    Case("memorybank", {"memory_bank_en.json": as_json(BANK)}, "u: I ran. / f: Well done."),
    Case(
        "incharacter",
        {"questionnaires/BFI.json": as_json(FORM), "characters_labels.json": "{}"},
        "u: Are you calm?",
        count=2,
        situation="BFI: Neuroticism",
    ),
    Case(
        "alpaca",
        {
            "alpaca.json": as_json(
                [{"instruction": "Add.", "input": "1, 2", "output": "3"}, {"instruction": "x"}][:1]
            )
        },
        "u: Add.\n\n1, 2 / f: 3",
    ),
    Case(
        "sharegpt",
        {"chats.json": as_json([SHAREGPT])},
        "u: Hi / f: Hello",
        situation="Be brief.",
    ),
    Case(
        "openai_chat", {"chats.jsonl": as_lines(OPENAI)}, "u: Hi / f: Hello", situation="Be brief."
    ),
    Case("qa", {"a.jsonl": as_lines({"question": "Why?", "answer": "So."})}, "u: Why? / f: So."),
    Case(
        "gsm8k",
        {"train.jsonl": as_lines({"question": "1+1?", "answer": "1+1=<<1+1=2>>2\n#### 2"})},
        "u: 1+1? / f: 1+1=2\nThe answer is 2.",
        split="train",
    ),
    Case(
        "medquad",
        {"medquad.jsonl": as_lines({"question": "What is gout ?", "answer": "Sore joints."})},
        "u: What is gout ? / f: Sore joints.",
    ),
    Case(
        "schema_guided",
        {
            "dev.jsonl": as_lines(
                {"dialogue_id": "1", "turns": [["USER", "Hi"], ["SYSTEM", "Yes?"]]}
            )
        },
        "u: Hi / f: Yes?",
        split="val",
    ),
    Case(
        "schema_guided",
        {
            "train/dialogues_001.json": as_json(
                [{"dialogue_id": "1", "turns": [{"speaker": "USER", "utterance": "Hi"}]}]
            )
        },
        "u: Hi",
        split="train",
    ),
    Case("text", {"a.txt": "One.\n\nTwo.\n", "README.md": "not this"}, "f: One.\n\nTwo."),
    Case("fiction", {"novel.txt": "It rained."}, "f: It rained."),
    Case("legal", {"Title_01.txt": "Sec. 1\r\nBe fair.\r\n"}, "f: Sec. 1\nBe fair."),
    Case("reviews", {"pos/a.txt": "a fine film , really ."}, "f: a fine film, really."),
    Case("code", {"a.py": "def f():\n    return 1\n"}, "f: def f():\n    return 1"),
]
