"""Makes and exports the networks that braintumorseg runs: prepare, split, fit, export, validate."""

import os

# When the process of a run that keeps the others' store has ended, torch prints a stack of C++ under our one line. It reads this when it is loaded.
os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
