"""The first SIGTERM or SIGINT stops a training after its next checkpoint, a second one immediately."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from rich.console import Console

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Requests:
    """Whether this process was asked to stop."""

    def __init__(self) -> None:
        """Starts without a request."""
        self.stop = False


@contextlib.contextmanager
def on_signals(console: Console) -> Iterator[Requests]:
    """Records the first SIGTERM (pre-emption) or SIGINT (Ctrl-C) as a request; the second one ends the process."""
    requests = Requests()
    if threading.current_thread() is not threading.main_thread():
        # Python delivers signals to the main thread only; a training in another thread cannot be stopped by a signal.
        yield requests
        return

    def ask(number: int, frame: FrameType | None) -> None:
        requests.stop = True
        for each in _SIGNALS:
            # The default handler ends the process even inside a call that takes minutes.
            signal.signal(each, signal.SIG_DFL)
        message = f"{signal.Signals(number).name}: saves and stops after this chunk; a second signal stops at once"
        # From another thread: the signal may arrive inside a print, and the console is not reentrant.
        threading.Thread(target=console.print, args=(message,)).start()

    before = {number: signal.signal(number, ask) for number in _SIGNALS}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
