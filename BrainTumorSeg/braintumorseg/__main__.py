"""`python -m braintumorseg`, and where the command `braintumorseg` begins: here nothing is imported yet, so Ctrl-C is heard from the start."""

import signal
import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line. Exit 130 for an interrupt before the verb has its own hands on it, too."""
    heard = []
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:   # in the background it is ignored, and stays so
        signal.signal(signal.SIGINT, lambda *_: heard.append(True) or signal.default_int_handler(*_))
    try:
        from braintumorseg.cli import main as run

        return run()
    except (KeyboardInterrupt, ImportError) as error:   # numpy makes an ImportError of an interrupt while it is loaded
        if not (heard or isinstance(error, KeyboardInterrupt)):
            raise
        print("braintumorseg: The run was cancelled.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
