"""A run that is asked to stop finishes what it does; asked again, it stops at once."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from rich.console import Console


class Requests:
    """Whether this process was asked to stop."""

    def __init__(self) -> None:
        """Nobody asked yet."""
        self.stop = False


@contextlib.contextmanager
def on_signals(console: Console) -> Iterator[Requests]:
    """Takes the first SIGTERM (pre-emption) or SIGINT (Ctrl-C) as a request; the second one ends the process."""
    requests = Requests()
    if threading.current_thread() is not threading.main_thread():
        # Python delivers signals to the main thread alone; whoever runs a training elsewhere stops it otherwise.
        yield requests
        return

    def ask(number: int, frame: FrameType | None) -> None:
        requests.stop = True
        for each in before:
            # The system's own: it ends the process even inside a call that takes minutes.
            signal.signal(each, signal.SIG_DFL)
        said = f"{signal.Signals(number).name}: stops after this chunk and saves; again to stop at once"
        # The signal may have come in the midst of a print, and a print within a print of the same thread is an error.
        threading.Thread(target=console.print, args=(said,)).start()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
