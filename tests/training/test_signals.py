"""Signals that ask a run to stop."""

import io
import os
import signal
import threading

from rich.console import Console

from raptor_jax.training import signals


class Terminal(io.RawIOBase):
    """A terminal on which Ctrl-C is pressed while the first line is being written."""

    def __init__(self):
        self.shown = b""

    def writable(self):
        return True

    def write(self, text):
        if not self.shown:
            os.kill(os.getpid(), signal.SIGINT)
        self.shown += bytes(text)
        return len(text)


def test_signal_during_a_print_is_a_request():
    terminal = Terminal()
    console = Console(file=io.TextIOWrapper(io.BufferedWriter(terminal)))
    with signals.on_signals(console) as requests:
        console.print("step 128")
        assert requests.stop
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join(timeout=10)
    assert terminal.shown.decode().splitlines()[0] == "step 128"
    assert "SIGINT: saves and stops after this chunk" in terminal.shown.decode()


def test_previous_handlers_are_restored():
    before = signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)
    with signals.on_signals(Console(quiet=True)):
        assert signal.getsignal(signal.SIGTERM) is not before[0]
    assert (signal.getsignal(signal.SIGTERM), signal.getsignal(signal.SIGINT)) == before
