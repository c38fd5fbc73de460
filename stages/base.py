"""Stage `base`: the dense base model."""

from pathlib import Path

from oldfriend.tracking import stage_run

DATA, MODEL = Path("data/curated/talk"), Path("models/base")


def main() -> None:
    with stage_run("base", data=[DATA], models=[MODEL]) as run:
        from oldfriend.lm import base

        run.outcome = base.train(run.params.base, run=run.fit("base"), data=DATA, out=MODEL)


if __name__ == "__main__":
    main()
