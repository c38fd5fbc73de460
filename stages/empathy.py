"""Stage `empathy`: what a person feels, whether they are in danger, how to answer, and a judge."""

from pathlib import Path

from oldfriend.tracking import stage_run

CURATED, SEEDS = Path("data/curated"), Path("data/seeds")
EXTERNAL, EMPATHY = Path("data/external"), Path("models/empathy")


def main() -> None:
    read = [CURATED / name for name in ("talk", "lives.jsonl", "precedents.jsonl")]
    with stage_run("empathy", data=read, models=[EMPATHY]) as run:
        from oldfriend.empathy import train

        run.outcome = train.train(
            run.params.empathy, run=run.fit("empathy"), curated=CURATED, seeds=SEEDS,
            external=EXTERNAL, out=EMPATHY,
        )  # fmt: skip


if __name__ == "__main__":
    main()
