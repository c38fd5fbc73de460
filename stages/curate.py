"""Stage `curate`: simulated lives and public datasets to task sets."""

from pathlib import Path

from oldfriend.tracking import stage_run


def main() -> None:
    with stage_run("curate", data=[Path("data/seeds")]) as run:
        from oldfriend.corpus.curate import curate

        run.outcome.metrics |= curate(
            run.params.curate,
            seeds=Path("data/seeds"),
            external=Path("data/external"),
            out=Path("data/curated"),
            seed=run.params.seed,
        )
        run.artifact(Path("data/curated/card.html"))


if __name__ == "__main__":
    main()
