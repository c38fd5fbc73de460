"""Stage `tagger`: MiniLM learns to mark what is worth remembering."""

from pathlib import Path

from oldfriend.tracking import stage_run

DATA, MODEL = Path("data/curated/summarizer"), Path("models/tagger")


def main() -> None:
    with stage_run("tagger", data=[DATA], models=[MODEL]) as run:
        from oldfriend.memory import tagger

        run.outcome = tagger.train(run.params.tagger, run=run.fit("tagger"), data=DATA, out=MODEL)


if __name__ == "__main__":
    main()
