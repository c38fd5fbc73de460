"""Stage `evaluate`: the assembled friend on lives it never saw, whole and without each part."""

from pathlib import Path

from oldfriend.tracking import stage_run

SEEDS, MODELS = Path("data/seeds"), Path("models")
FRIEND, EMPATHY = Path("models/friend"), Path("models/empathy")


def main() -> None:
    with stage_run("evaluate", data=[FRIEND, EMPATHY]) as run:
        from oldfriend.bench.evaluate.run import evaluate

        run.outcome = evaluate(
            run.params.evaluate, seed=run.params.seed, seeds=SEEDS, models=MODELS
        )


if __name__ == "__main__":
    main()
