"""What a runtime's own error means: a library that cannot be loaded, memory that does not suffice, or a network that cannot be run."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .errors import ModelError, OutOfMemory, ResourceError

__all__ = ["is_out_of_memory", "load_failure", "one_line", "pass_failure"]

# As ONNX Runtime, CUDA, cuBLAS, cuDNN, OpenVINO and C++ say it. "memory" alone is no sign: an illegal memory access is a fault, not a want.
_OF_MEMORY = re.compile(r"out[ _]of[ _]memory|not enough (\w+ )?memory|bad[ _]alloc|alloc\w*[ _]failed|"
                        r"(failed to|could not|cannot|unable to) allocate|available memory of \d+ is smaller", re.IGNORECASE)
_OF_CUDA = re.compile(r"\bCU(DA|BLAS|DNN)\w* (failure|error) [^;]*")


def is_out_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or _OF_MEMORY.search(str(error)) is not None


def load_failure(name: str, package: str, error: Exception) -> ResourceError:
    """Why the runtime `name`, of a package that is installed, cannot be imported."""
    if "DLL load failed" in str(error):   # mostly for want of a new enough C++ library, which Python itself brings only in part
        return ResourceError(f"{name} is installed and its libraries cannot be loaded ({one_line(error)}).",
                             "Install Microsoft's newest Visual C++ redistributable (https://aka.ms/vs/17/release/vc_redist.x64.exe) and try again.")
    return ResourceError(f"{name} cannot be loaded ({one_line(error) or type(error).__name__}).",
                         f"Install it again: pip install --force-reinstall {package}")


def one_line(error: Exception, most: int = 200) -> str:
    """The error's text on one line of `most` characters; of CUDA's, which goes on with the computer's name and the source, what happened."""
    found = _OF_CUDA.search(str(error))
    return " ".join((found[0] if found else str(error)).split())[:most]


def pass_failure(error: Exception, shape: Sequence[int]) -> OutOfMemory | ModelError:
    """Why a pass over (I, J, K) voxels failed."""
    if is_out_of_memory(error):
        return OutOfMemory(f"A pass over {' x '.join(map(str, shape))} voxels does not fit into memory.", "Close other programs.")
    return ModelError(f"The network could not be run: {one_line(error, 300)}", "Get the network again from its maker.")
