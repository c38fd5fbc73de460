"""``oldfriend ui``: MLflow's page on the local store."""

import os
import subprocess
import sys

from oldfriend.tracking import DEFAULT_STORE


def serve(port: int) -> int:
    """Run the MLflow page on loopback until Ctrl-C; return its exit code."""
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    store = os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_STORE)
    options = ["--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", store, *options]
    print(f"MLflow: http://127.0.0.1:{port}", file=sys.stderr)
    try:
        return subprocess.run(command, env=os.environ | quiet, check=False).returncode
    except KeyboardInterrupt:
        return 0
