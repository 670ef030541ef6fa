"""`kms-terminal` that dies by SIGKILL at a boundary of its visit, named as `terminal.relay.BOUNDARIES` names them.

Run as `python -m tests.functional.dying_terminal BOUNDARY ARGUMENTS...`; the first boundary of that name is meant.
"""

import functools
import os
import signal
import sys
from unittest.mock import patch

from terminal.app import main
from terminal.relay import Relay


def _die_at(boundary: str, reached: str) -> None:
    if reached == boundary:
        os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    # What `kms-terminal` builds its visits with: the same relay, watched.
    with patch("terminal.app.Relay", functools.partial(Relay, observer=functools.partial(_die_at, sys.argv[1]))):
        main(sys.argv[2:])
