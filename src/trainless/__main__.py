"""``python -m trainless`` and the command ``trainless``: from its first line on, Ctrl-C ends it in a sentence."""

from __future__ import annotations

import atexit
import os
import signal
import sys
import threading
import time
from types import FrameType
from typing import Any

__all__ = ["main"]

_TWICE_SECONDS = 5.0  # a second Ctrl-C after more than that is a new one, such as for the next stage of a fit
_AGAIN_SECONDS = 0.05  # after which a callback is over


def main() -> None:
    """Run the command line; Ctrl-C exits with 130, and a second one ends at once what the first is still ending."""
    interrupts = _Interrupts()
    signal.signal(signal.SIGINT, interrupts)
    sys.unraisablehook = interrupts.raise_again
    try:
        from trainless.cli import main as run

        run()
    except KeyboardInterrupt:  # where no command was there yet to say more
        print("trainless: interrupted. Run the same command again.", file=sys.stderr)
        sys.exit(130)
    finally:
        # While the interpreter ends, an exception of Python's could only be shown as a traceback.
        atexit.register(signal.signal, signal.SIGINT, signal.SIG_DFL)


class _Interrupts:
    """Raises `KeyboardInterrupt`, and ends the process where it is told twice in a few seconds.

    What is stored is stored whole, so that nothing of it is lost; worker processes end with their parent.
    """

    def __init__(self) -> None:
        self._last = -_TWICE_SECONDS

    def __call__(self, number: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if now - self._last < _TWICE_SECONDS:
            shown = "\x1b[?25h" if sys.stderr.isatty() else ""  # a progress bar hides the cursor
            text = f"{shown}trainless: interrupted twice, ended at once. What was stored is kept: run it again.\n"
            os.write(sys.stderr.fileno(), text.encode())
            os._exit(130)
        self._last = now
        raise KeyboardInterrupt

    def raise_again(self, unraisable: Any) -> None:
        """Interrupt once more where a callback let nothing through; show all else as Python does."""
        if not issubclass(unraisable.exc_type, KeyboardInterrupt):
            sys.__unraisablehook__(unraisable)
            return
        self._last = -_TWICE_SECONDS
        main_thread = threading.main_thread().ident
        threading.Timer(_AGAIN_SECONDS, signal.pthread_kill, [main_thread, signal.SIGINT]).start()


if __name__ == "__main__":
    main()
