"""MLflow and Prefect side by side in the browser, until Ctrl-C: python -m flows.ui, or make ui."""

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from flows import services
from flows.demo import HOME
from oldfriend.errors import OldFriendError

Port = Annotated[int, typer.Option(min=1, max=65535)]


@contextmanager
def pages(mlflow: int, prefect: int) -> Iterator[tuple[str, str]]:
    """Addresses of MLflow and Prefect on what this working copy knows, for the block's time."""
    env = services.environment(HOME.resolve(), prefect)
    store = f"sqlite:///{Path('mlflow.db').resolve()}"
    commands = services.mlflow_server(mlflow, store), services.prefect_server(prefect)
    with ExitStack() as up:
        for command, answers in commands:
            log = HOME / f"{command[0]}.log"
            up.enter_context(services.service(command, env=env, log=log, answers=answers))
        yield f"http://127.0.0.1:{mlflow}", f"http://127.0.0.1:{prefect}"


def main(mlflow: Port = 5000, prefect: Port = 4200) -> None:
    """Serve the runs of this working copy (MLflow) and the flows that ran them (Prefect)."""
    try:
        with pages(mlflow, prefect) as (runs, flows):
            print(f"MLflow   {runs}\nPrefect  {flows}")
            print(f"for flows in other terminals: export PREFECT_API_URL={flows}/api")
            threading.Event().wait()
    except OldFriendError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    typer.run(main)
