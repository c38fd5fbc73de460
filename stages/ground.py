"""Stage `ground`: base model to `friend`, which answers from memories or says it was not told."""

from pathlib import Path

from oldfriend.tracking import stage_run

DATA, BASE, FRIEND = Path("data/curated/ground"), Path("models/base"), Path("models/friend")


def main() -> None:
    with stage_run("ground", data=[DATA, BASE], models=[FRIEND]) as run:
        from oldfriend.memory import ground

        run.outcome = ground.train(
            run.params.ground, run=run.fit("ground"), data=DATA, base=BASE, out=FRIEND
        )


if __name__ == "__main__":
    main()
