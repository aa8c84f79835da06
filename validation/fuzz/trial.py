"""One hostile input: it is accepted, or refused in one line, and nothing else happens.

What else could happen is watched: another exception, a warning, a hang, a file changed outside of the input's own
directory, a program started (what the code in the inputs would do), a connection made, a class looked up for a pickle.
"""

import contextlib
import io
import logging
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib.figure  # noqa: F401  -- makes directories of its own at its first import

from raptor_jax import cli
from raptor_jax.commands import exit_status
from raptor_jax.errors import UserError

SECONDS = 300
"""What takes longer than this is called a hang: much, because the machine may be busy with other things."""

LONGEST_LINE = 1000
"""Characters of a refusal; what is longer is no line that a person reads."""

_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.chmod")
_NEVER = (
    *("os.system", "os.exec", "os.posix_spawn", "os.fork", "os.forkpty", "subprocess.Popen"),
    *("socket.connect", "pickle.find_class"),
)


class Hang(BaseException):
    """The time is up. Not an Exception, so that no reader takes it for a damaged file."""


class _Watch:
    """Python's audit hook, which cannot be taken off again; it looks while `place` is set."""

    def __init__(self) -> None:
        self.place: str | None = None
        self.seen: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if self.place is None:
            return
        if event in _NEVER:
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event in _CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING):
            paths = arguments[:2] if event in ("os.rename", "os.link", "os.symlink") else arguments[:1]
            self.seen += [f"{event} {path!r}" for path in paths if not self._inside(path)]

    def _inside(self, path: Any) -> bool:
        if isinstance(path, int):
            return True  # a descriptor: it was seen when it was opened
        real = os.path.realpath(os.fsdecode(path))
        return real in (os.devnull, self.place) or real.startswith(f"{self.place}{os.sep}")


class _Log(logging.Handler):
    """What any library says beside the result; garbage collection may say it while the next input is read."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append(record.getMessage())


_watch: _Watch | None = None
_log = _Log()


@contextlib.contextmanager
def _watched(place: Path) -> Iterator[None]:
    global _watch
    _watch = _watch or _Watch()
    _watch.place, _watch.seen = os.path.realpath(place), []
    # A command imports what it needs, and Python would keep what it compiled of that beside the sources.
    before, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        yield
    finally:
        _watch.place = None
        sys.dont_write_bytecode = before
    assert not _watch.seen, f"reading had side effects: {_watch.seen}"


@contextlib.contextmanager
def _limited() -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise Hang(f"not read after {SECONDS} s")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def refusal(read: Callable[[], Any], place: Path) -> str | None:
    """Returns the line with which `read` refuses what lies in the directory `place`; None if it accepts it."""
    logging.getLogger().addHandler(_log)
    _log.said.clear()
    line = None
    with warnings.catch_warnings(record=True) as shown, _limited(), _watched(place):
        warnings.simplefilter("always")
        try:
            read()
        except UserError as error:
            line = str(error)
            _require_line(line)
    assert not shown, f"a warning beside the result: {shown[0].message}"
    assert not _log.said, f"a log beside the result: {_log.said[0]}"
    return line


def attempt(read: Callable[[], Any], place: Path) -> bool:
    """Returns whether `read` accepts what lies in the directory `place`; anything but a refusal in one line raises."""
    return refusal(read, place) is None


def command(arguments: Sequence[str]) -> None:
    """Runs a command as from a shell; raises UserError with its line if it ends with the status of wrong input."""
    # Encoded as a terminal's streams are: text that cannot be written must fail here too.
    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    error = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    environment = dict(os.environ)
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
            try:
                status: Any = cli.main(arguments)
            except SystemExit as leave:  # --help
                status = leave.code
    finally:
        os.environ.clear()
        os.environ.update(environment)
    out.flush()
    error.flush()
    said = error.buffer.getvalue().decode()  # type: ignore[attr-defined]
    if status == exit_status.USAGE:
        raise UserError(said.removesuffix("\n").removeprefix("error: "))
    assert status in (exit_status.PASSED, exit_status.NOT_PASSED), status
    assert not said, said


def _require_line(message: str) -> None:
    assert message, "a refusal without words"
    assert message.isprintable(), f"a refusal that is not one line of printable text: {message[:500]!r}"
    assert len(message) <= LONGEST_LINE, f"a refusal of {len(message)} characters: {message[:500]!r}"
