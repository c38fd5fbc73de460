"""Stage `ground`: base model to `friend`, which answers from memories or says it was not told."""

from pathlib import Path

from oldfriend.tracking import stage_run

DATA, NOTES = Path("data/curated/ground"), Path("data/curated/summarizer")
BASE, FRIEND = Path("models/base"), Path("models/friend")


def main() -> None:
    with stage_run("ground", data=[DATA, NOTES, BASE], models=[FRIEND]) as run:
        from oldfriend.memory import ground

        params, fit = run.params.ground, run.fit("ground")
        run.outcome = ground.train(
            params, run=fit, data=DATA, readings=NOTES, base=BASE, out=FRIEND
        )


if __name__ == "__main__":
    main()
