"""Work that is done in small pieces on the event loop, so that the window never stands still."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterator

from slicer.i18n import tr as _

from .process import Outcome

__all__ = ["event_loop", "failure_of", "pump"]


def event_loop(call: Callable[[], None]) -> None:
    """Call from the event loop, after what is waiting there."""
    import qt

    qt.QTimer.singleShot(0, call)


def pump(work: Iterator, later: Callable[[Callable], None], on_done: Callable[[], None], on_failed: Callable[[Exception], None], *,
         failures: tuple = (OSError,), stopped: Callable[[], bool] = lambda: False) -> None:
    """Run a generator to its end, one step at a time through `later`; exactly one of the two is called, unless `stopped()`.

    Exceptions of other types than `failures` are ours, not the user's: they go on to Slicer's error log.
    """
    def step() -> None:
        if stopped():
            work.close()
            return
        try:
            next(work)
        except StopIteration:
            on_done()
        except failures as error:
            on_failed(error)
        else:
            later(step)

    later(step)


def failure_of(error: Exception) -> Outcome:
    """A failure in the panel's own file work as an Outcome."""
    number = getattr(error, "errno", None)
    if number in (errno.ENOSPC, errno.EDQUOT):
        return Outcome(error_kind="DiskFull", what=_("The disk is full."),
                       fix=_("Free some space on the disk of the temporary folder, and try again."))
    if number in (errno.EACCES, errno.EPERM, errno.EROFS):
        return Outcome(error_kind="NoPermission", what=_("A file or folder may not be written by this user."),
                       fix=_("Choose a folder of your own, and try again."))
    if isinstance(error, OSError):
        reason = error.strerror or type(error).__name__
        return Outcome(error_kind="FileError", what=_("A file could not be read or written ({reason}).").format(reason=reason),
                       fix=_("Check that the disk is there, and try again."))
    return Outcome(error_kind=type(error).__name__, what=str(error), fix=_("Press Repair in the Engine section, and try again."))
