"""Qt's QProcess behind the few calls that the rest needs; the only part of the process code that imports qt."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

__all__ = ["QtProcess", "not_when_quitting", "when_quitting"]

_CRASH_EXIT = 1  # QProcess::CrashExit


class QtProcess:
    """A child process whose events arrive on Qt's event loop.

    `on_stdout` and `on_stderr` get bytes as they come; `on_exit(code, reason)` is called once, last: with the exit code of a child
    that ended by itself, or with None and a reason ("crashed", "quit" when it ended with the application, or why it could not be started).
    """

    def __init__(self, on_stdout: Callable[[bytes], None], on_stderr: Callable[[bytes], None], on_exit: Callable[[int | None, str], None]):
        self._on_stdout, self._on_stderr, self._on_exit = on_stdout, on_stderr, on_exit
        self._process = None
        self._started = self._quitting = False
        self._timers: list = []

    def start(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        import qt

        self._process = process = qt.QProcess()
        process.setProgram(command[0])
        process.setArguments(list(command[1:]))
        process.setEnvironment([f"{name}={value}" for name, value in environment.items()])
        process.connect("started()", self._has_started)
        process.connect("readyReadStandardOutput()", self._read_stdout)
        process.connect("readyReadStandardError()", self._read_stderr)
        process.connect("finished(int,QProcess::ExitStatus)", self._finished)
        process.connect("errorOccurred(QProcess::ProcessError)", self._error)
        qt.QCoreApplication.instance().connect("aboutToQuit()", self.stop_now)
        process.start()

    def close_stdin(self) -> None:
        if self._process is not None:
            self._process.closeWriteChannel()

    def terminate(self) -> None:
        if self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Call later, from the event loop, unless the child has ended by then."""
        import qt

        timer = qt.QTimer()
        timer.setSingleShot(True)
        timer.connect("timeout()", lambda: self._process is not None and call())
        timer.start(int(seconds * 1000))
        self._timers.append(timer)

    def stop_now(self, grace_s: float = 3.0) -> None:
        """End the child before returning: for the moment when the application quits, after which no event arrives any more."""
        process = self._process
        if process is None:
            return
        self._quitting = True
        process.closeWriteChannel()
        if not process.waitForFinished(int(grace_s * 1000)):
            process.kill()
            process.waitForFinished(1000)
        if self._process is not None:  # not even then; no later event will tell
            self._end(None, "quit")

    def _has_started(self) -> None:
        self._started = True

    def _read_stdout(self) -> None:
        if self._process is not None:
            self._on_stdout(_bytes(self._process.readAllStandardOutput()))

    def _read_stderr(self) -> None:
        if self._process is not None:
            self._on_stderr(_bytes(self._process.readAllStandardError()))

    def _finished(self, *_) -> None:
        if self._process is None:
            return
        crashed = int(_number(self._process.exitStatus())) == _CRASH_EXIT
        if self._quitting:
            self._end(None, "quit")
        else:
            self._end(None if crashed else int(self._process.exitCode()), "crashed" if crashed else "")

    def _error(self, *_) -> None:
        if self._process is not None and not self._started:  # other errors are followed by finished()
            self._end(None, f"{self._process.errorString()}")

    def _end(self, code: int | None, reason: str) -> None:
        import qt

        self._read_stdout()  # what was still in the pipes
        self._read_stderr()
        process, self._process = self._process, None
        for timer in self._timers:
            timer.stop()
        qt.QCoreApplication.instance().disconnect("aboutToQuit()", self.stop_now)
        qt.QTimer.singleShot(0, lambda: process.deleteLater())  # not now, within its own signal; and PythonQt deletes what nobody refers to
        self._on_exit(code, reason)


def when_quitting(call: Callable[[], None]) -> None:
    """Call when the application quits: before the children that start later are stopped, for Qt keeps the order of connection."""
    import qt

    qt.QCoreApplication.instance().connect("aboutToQuit()", call)


def not_when_quitting(call: Callable[[], None]) -> None:
    import qt

    qt.QCoreApplication.instance().disconnect("aboutToQuit()", call)


def _bytes(array) -> bytes:
    """The bytes of a QByteArray; one that is empty has None for data."""
    return bytes(array.data() or b"")


def _number(enum) -> int:
    """An enum's number: PythonQt's enums are ints, others hold one."""
    return getattr(enum, "value", enum)
