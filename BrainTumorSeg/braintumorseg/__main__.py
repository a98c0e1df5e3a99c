"""`python -m braintumorseg`."""

import sys

if __name__ == "__main__":
    from braintumorseg.cli import main

    sys.exit(main())
