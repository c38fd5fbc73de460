"""MLflow and Prefect side by side in the browser, until Ctrl-C: python -m flows.ui, or make ui."""

import sys
import threading
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer

from flows import services
from flows.demo import HOME
from oldfriend.errors import OldFriendError

Port = Annotated[int, typer.Option(min=1, max=65535)]


def main(mlflow: Port = 5000, prefect: Port = 4200) -> None:
    """Serve the runs of this working copy (MLflow) and the flows that ran them (Prefect)."""
    env = services.environment(HOME.resolve(), prefect)
    store = f"sqlite:///{Path('mlflow.db').resolve()}"
    commands = services.mlflow_server(mlflow, store), services.prefect_server(prefect)
    try:
        with ExitStack() as up:
            for command, answers in commands:
                log = HOME / f"{command[0]}.log"
                up.enter_context(services.service(command, env=env, log=log, answers=answers))
            print(f"MLflow   http://127.0.0.1:{mlflow}\nPrefect  http://127.0.0.1:{prefect}")
            print(f"for flows in other terminals: export PREFECT_API_URL={env['PREFECT_API_URL']}")
            threading.Event().wait()
    except OldFriendError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    typer.run(main)
