"""`python -m braintumorseg`, and where the command `braintumorseg` begins: here nothing is imported yet, so Ctrl-C is heard from the start."""

import sys

__all__ = ["main"]


def main() -> int:
    """Run the command line. Exit 130 for an interrupt before the verb has its own hands on it, too."""
    try:
        from braintumorseg.cli import main as run

        return run()
    except KeyboardInterrupt:
        print("braintumorseg: The run was cancelled.", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
