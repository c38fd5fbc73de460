"""Who gets a word unasked, now; the words go to a command of yours that delivers them."""

import json
import shlex
import subprocess
from pathlib import Path

from prefect import flow, get_run_logger


@flow
def care(memory: str = "memory", deliver: str = "") -> None:
    """Decide for everyone in a folder of memories and hand each word to ``deliver``.

    ``deliver`` is a command (a mailer, a bot) that reads {"user", "text", "reason"} as JSON from
    its standard input. Without one nothing is written down as sent. Names and words stay on this
    machine: Prefect is told their number.
    """
    from oldfriend.empathy.care import run_care

    words = run_care(Path(memory), dry_run=not deliver)
    for word in words if deliver else ():
        message = {"user": word.user, "text": word.text, "reason": word.reason}
        subprocess.run(shlex.split(deliver), input=json.dumps(message), text=True, check=True)
    get_run_logger().info("%d people %s", len(words), "got a word" if deliver else "would get one")
