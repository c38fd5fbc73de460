"""Stage `persona`: character cards to adapters that speak and stand as they say."""

from pathlib import Path

from oldfriend.tracking import stage_run

SEEDS, DATA, EXTERNAL = Path("data/seeds"), Path("data/curated"), Path("data/external")
FRIEND, PERSONAS = Path("models/friend"), Path("models/personas")


def main() -> None:
    made: list[Path] = []
    with stage_run("persona", data=[SEEDS, DATA, FRIEND], models=made) as run:
        from oldfriend.persona import train

        params, fit = run.params.persona, run.fit("persona")
        run.outcome = train.train(
            params, run=fit, seeds=SEEDS, data=DATA, friend=FRIEND, out=PERSONAS,
            inventories=EXTERNAL / "incharacter" / "questionnaires",
        )  # fmt: skip
        made += [PERSONAS / name for name in params.names]


if __name__ == "__main__":
    main()
