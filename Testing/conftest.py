"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The folder of real cases; tests that need it skip where it is absent."""
    folder = Path(os.environ.get("BRAINTUMORSEG_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
    if not (folder / "cases").is_dir():
        pytest.skip(f"real data is absent: {folder}/cases (set BRAINTUMORSEG_DATA)")
    return folder
