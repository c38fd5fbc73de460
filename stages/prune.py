"""Stage `prune`: the upcycled MoE cut to a budget, each layer as it earns, and healed."""

from pathlib import Path

from oldfriend.tracking import stage_run

DATA, EXTERNAL = Path("data/curated"), Path("data/external")
MOE, PRUNED = Path("models/moe"), Path("models/pruned")


def main() -> None:
    with stage_run("prune", data=[DATA, MOE], models=[PRUNED]) as run:
        from oldfriend.moe.pruning import prune

        run.outcome = prune.prune(
            run.params.prune, run=run.fit("prune"), model=MOE, data=DATA, out=PRUNED,
            external=EXTERNAL,
        )  # fmt: skip


if __name__ == "__main__":
    main()
