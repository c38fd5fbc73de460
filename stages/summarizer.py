"""Stage `summarizer`: the LoRA that writes memory records, and one per user on top."""

from pathlib import Path

from oldfriend.tracking import stage_run

DATA, USERS, MODELS = Path("data/curated/summarizer"), Path("data/curated/users"), Path("models")
BASE, FRIEND, TAGS = MODELS / "base", MODELS / "friend", MODELS / "tagger"
GENERIC, OWN = MODELS / "summarizer", MODELS / "users"


def main() -> None:
    with stage_run("summarizer", data=[DATA, USERS, FRIEND, TAGS], models=[GENERIC]) as run:
        from oldfriend.memory import extract, personal

        params, fit = run.params.summarizer, run.fit("summarizer")
        run.outcome = extract.train(
            params, run=fit, data=DATA, friend=FRIEND, base=BASE, out=GENERIC, second=TAGS
        ) + personal.train(
            params, run=fit, data=DATA, users=USERS, base=FRIEND, generic=GENERIC, out=OWN
        )


if __name__ == "__main__":
    main()
