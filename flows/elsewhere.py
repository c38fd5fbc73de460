"""Stages as flow runs of their own, on whichever worker is free; the caller keeps the order."""

import threading
import time
from uuid import UUID

import httpx
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.deployments import run_deployment
from prefect.states import Cancelling

from oldfriend.pipeline.graph import Stage
from oldfriend.pipeline.runner import Log, StageFailed

CPU, GPU = "pipeline/pipeline", "pipeline/pipeline-gpu"
POLL = 2.0  # seconds
PATIENCE = 300.0  # seconds without an answer from the server, which may be restarting
LOST_WORKERS = 3  # times that a stage moves to another worker because its own died


class Elsewhere:
    """Runs stages through the deployments `pipeline` (cpu) and `pipeline-gpu` on ``branch``."""

    def __init__(self, branch: str) -> None:
        self.branch = branch
        self._running: set[UUID] = set()
        self._stopped = threading.Event()

    def repro(self, stage: Stage, log: Log, *, force: bool = False) -> str:
        """Bring ``stage`` up to date on another machine; the name of the state it ended in.

        Raises StageFailed with what the other machine said, or when workers keep dying.
        """
        for attempt in range(1 + LOST_WORKERS):
            state = self._once(stage, log, force)
            if state.is_completed():
                return str(state.name)
            if not state.is_crashed() or self._stopped.is_set():
                raise StageFailed(f"{stage.name}: {state.message or state.name}", final=True)
            log(f"{stage.name}: worker lost ({state.message}), attempt {attempt + 1}")
        raise StageFailed(f"{stage.name} lost {1 + LOST_WORKERS} workers; look at their machines")

    def stop(self) -> None:
        """Cancel every run that is still going."""
        self._stopped.set()
        with get_client(sync_client=True) as client:
            for run in list(self._running):
                client.set_flow_run_state(run, Cancelling())

    def _once(self, stage: Stage, log: Log, force: bool) -> State:
        options = {"stages": [stage.name], "force": force, "branch": self.branch}
        name = GPU if stage.gpus else CPU
        run = run_deployment(name, parameters=options | {"spread": False}, timeout=0)
        assert isinstance(run, FlowRun)  # not a coroutine: nothing here is async
        log(f"{stage.name}: flow run '{run.name}' of {name}")
        self._running.add(run.id)
        try:
            return self._end_of(run.id)
        finally:
            self._running.discard(run.id)

    def _end_of(self, run: UUID) -> State:
        heard = time.monotonic()
        with get_client(sync_client=True) as client:
            while not self._stopped.wait(POLL):
                try:
                    state = client.read_flow_run(run).state
                except httpx.TransportError:
                    if time.monotonic() - heard > PATIENCE:
                        raise
                    continue
                heard = time.monotonic()
                if state and state.is_final():
                    return state
        raise StageFailed("the pipeline is stopping", final=True)
