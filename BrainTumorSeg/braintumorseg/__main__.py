"""`python -m braintumorseg`. BRAINTUMORSEG_PATH names folders of packages that come before all others.

Slicer's launcher of Python puts Slicer's own packages before PYTHONPATH, and some of them are too old for the engine.
"""

import os
import sys

if __name__ == "__main__":
    sys.path[:0] = [folder for folder in os.environ.get("BRAINTUMORSEG_PATH", "").split(os.pathsep) if folder]

    from braintumorseg.cli import main

    sys.exit(main())
