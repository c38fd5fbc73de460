"""A conversation without an end that a test may kill: prints ``said N`` for every turn whose reply
came back.

python talk_worker.py FOLDER FIRST
"""

import sys
from pathlib import Path

from friend_fakes import START, Table


def line(number: int) -> str:
    """What is said in turn ``number``."""
    return f"My cat is called Miro{number}." if number % 2 else f"I moved to City{number}."


if __name__ == "__main__":
    with Table(Path(sys.argv[1]), START) as table:
        number = int(sys.argv[2])
        while True:
            table.say(line(number))
            print("said", number, flush=True)
            number += 1
            if number % 10 == 0:
                table.friend.end("ada")
