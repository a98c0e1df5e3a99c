"""A child process that a test plays itself."""

__all__ = ["FakeProcess"]


class FakeProcess:
    """`make_process=FakeProcess`; the last one made is `FakeProcess.last`. Times in `after` do not pass: `let_pass(seconds)`."""

    last = None

    def __init__(self, on_stdout, on_stderr, on_exit):
        self.say, self.complain, self.end = on_stdout, on_stderr, on_exit
        self.calls, self._later, self.command, self.environment = [], [], None, None
        FakeProcess.last = self

    def start(self, command, environment):
        self.calls.append("start")
        self.command, self.environment = command, environment

    def close_stdin(self):
        self.calls.append("close_stdin")

    def terminate(self):
        self.calls.append("terminate")

    def kill(self):
        self.calls.append("kill")

    def after(self, seconds, call):
        self._later.append((seconds, call))

    def let_pass(self, seconds):
        due = [call for when, call in self._later if when <= seconds]
        self._later = [(when - seconds, call) for when, call in self._later if when > seconds]
        for call in due:
            call()
