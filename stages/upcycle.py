"""Stage `upcycle`: MoEs of `friend` by experts and router start; the best is trained on."""

from pathlib import Path

from oldfriend.tracking import stage_run

DATA, EXTERNAL, FRIEND = Path("data/curated"), Path("data/external"), Path("models/friend")
MOE = Path("models/moe")


def main() -> None:
    with stage_run("upcycle", data=[DATA, FRIEND], models=[MOE]) as run:
        from oldfriend.moe.upcycling import stage

        run.outcome = stage.train(
            run.params.upcycle, run=run.fit("upcycle"), friend=FRIEND, data=DATA, out=MOE,
            external=EXTERNAL,
        )  # fmt: skip


if __name__ == "__main__":
    main()
