"""Stage `summarizer`: the LoRA that writes memory records, and one per user on top."""

from pathlib import Path

from oldfriend.tracking import stage_run

DATA, USERS = Path("data/curated/summarizer"), Path("data/curated/users")
BASE, FRIEND = Path("models/base"), Path("models/friend")
GENERIC, MINE = Path("models/summarizer"), Path("models/users")


def main() -> None:
    with stage_run("summarizer", data=[DATA, USERS, FRIEND], models=[GENERIC]) as run:
        from oldfriend.memory import extract, personal

        params, fit = run.params.summarizer, run.fit("summarizer")
        made = extract.train(params, run=fit, data=DATA, friend=FRIEND, base=BASE, out=GENERIC)
        run.outcome = made + personal.train(
            params, run=fit, data=DATA, users=USERS, base=FRIEND, generic=GENERIC, out=MINE
        )


if __name__ == "__main__":
    main()
