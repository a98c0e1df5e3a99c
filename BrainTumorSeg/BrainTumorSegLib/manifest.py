"""The file that says which packages an installation consists of: written last, so what it names is complete."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

__all__ = ["Manifest", "requirements_hash"]

_NAME = "engine.json"


@dataclass(frozen=True)
class Manifest:
    """`packages`: folder name; `requirements`: hash; `runtime`: a name of RUNTIMES; `entries`: what the folder held, sorted."""

    packages: str
    requirements: str
    runtime: str
    entries: tuple[str, ...]

    @classmethod
    def read(cls, folder: Path) -> Manifest | None:
        """None when there is none, or not one of ours."""
        try:
            values = json.loads((folder / _NAME).read_text(encoding="utf-8"))
            return cls(str(values["packages"]), str(values["requirements"]), str(values["runtime"]), tuple(values["entries"]))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, folder: Path) -> None:
        """All or nothing."""
        from braintumorseg.io.replacing import put

        partial = folder / f"{_NAME}.partial"
        with partial.open("w", encoding="utf-8") as stream:
            json.dump(asdict(self), stream)
            stream.flush()
            os.fsync(stream.fileno())
        put(partial, folder / _NAME)

    @staticmethod
    def remove(folder: Path) -> None:
        (folder / _NAME).unlink(missing_ok=True)

    def is_whole(self, folder: Path) -> bool:
        """Whether everything that was installed is still there, by name: one listing, no file is opened."""
        try:
            return set(self.entries) <= set(os.listdir(folder / self.packages))
        except OSError:
            return False


def requirements_hash(requirements: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(sorted(requirements)).encode()).hexdigest()
