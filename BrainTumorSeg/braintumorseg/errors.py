"""Everything that can go wrong, as one tree. Each error says what, why and how to fix it.

BrainTumorSegError
├── InputError              what the user gave cannot be used (exit 1)
│   ├── MissingFile         a path that is not there
│   ├── NotAnImage          a file that no reader understands, or a damaged one
│   ├── BadImage            an image that cannot be an MR volume (4-D, NaN, constant, singular affine, a label map)
│   ├── GridMismatch        volumes that must share one grid and do not
│   ├── UnclearRoles        which file is which sequence is not certain, or said twice
│   ├── UnknownLabels       label values outside the declared convention
│   └── ConfigError         a settings file that is contradictory, incomplete, or open to others though it holds a secret
├── ModelError              a network or its card is unknown, damaged or contradictory
├── OutputError             the result cannot be written (folder exists, disk full, no permission)
├── PacsError               an archive cannot be reached, refuses, or answers with a failure
│   ├── ConnectionLost      the connection broke or never came about; the same again may work
│   └── PartialRetrieve     fewer images came than the archive says it has
├── ResourceError           not enough memory, or no runtime installed
│   └── OutOfMemory         one forward pass did not fit; a smaller tile may
├── StudiesFailed           of many studies some could not be segmented; the others are done
└── Cancelled               the user stopped the run (exit 130)

Only the CLI, the web app and the Slicer widget catch them.
"""

__all__ = [
    "BadImage",
    "BrainTumorSegError",
    "Cancelled",
    "ConfigError",
    "ConnectionLost",
    "GridMismatch",
    "InputError",
    "MissingFile",
    "ModelError",
    "NotAnImage",
    "OutOfMemory",
    "OutputError",
    "PacsError",
    "PartialRetrieve",
    "ResourceError",
    "StudiesFailed",
    "UnclearRoles",
    "UnknownLabels",
]


class BrainTumorSegError(Exception):
    """Base of all our errors: `what` went wrong and why, and the `fix` (an imperative sentence, may be empty)."""

    def __init__(self, what: str, fix: str = ""):
        super().__init__(what, fix)
        self.what = what
        self.fix = fix

    @property
    def kind(self) -> str:
        """The class name, stable: part of the child protocol."""
        return type(self).__name__

    def __str__(self) -> str:
        return " ".join(f"{self.what} {self.fix}".split())  # one line, always


class InputError(BrainTumorSegError):
    pass


class MissingFile(InputError):
    pass


class NotAnImage(InputError):
    pass


class BadImage(InputError):
    pass


class GridMismatch(InputError):
    pass


class UnclearRoles(InputError):
    pass


class UnknownLabels(InputError):
    pass


class ConfigError(InputError):
    pass


class ModelError(BrainTumorSegError):
    pass


class OutputError(BrainTumorSegError):
    pass


class PacsError(BrainTumorSegError):
    pass


class ConnectionLost(PacsError):
    pass


class PartialRetrieve(PacsError):
    pass


class ResourceError(BrainTumorSegError):
    pass


class OutOfMemory(ResourceError):
    pass


class StudiesFailed(BrainTumorSegError):
    pass


class Cancelled(BrainTumorSegError):
    pass
