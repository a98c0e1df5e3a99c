"""Label values, tumour regions, and the conventions in which other people's files write them.

Inside the engine: 1 NCR (necrotic core), 2 ED (oedema), 3 ET (enhancing tumour), as BraTS has written them since 2023
(Baid 2021, arXiv 2107.02314, with ET moved from 4 to 3).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from .errors import UnknownLabels

if TYPE_CHECKING:  # the command line reads the tables below, and its --help does not wait for numpy
    import numpy as np

__all__ = ["CONVENTIONS", "ED", "ET", "NCR", "REGIONS", "from_convention", "from_table", "region_mask"]

NCR, ED, ET = 1, 2, 3

# Whole tumour, tumour core, enhancing tumour: each inside the one before.
REGIONS = MappingProxyType({"WT": (NCR, ED, ET), "TC": (NCR, ET), "ET": (ET,)})

# Value in the file -> value inside. BraTS 2017-2022 wrote ET as 4; from 2024 on 4 is the resection cavity, which belongs to no region
# (de Verdier 2024, arXiv 2405.18368) and is background here; the Medical Segmentation Decathlon (Antonelli 2022) numbers from the outside in.
# The same values mean different things, so the convention is always declared, never guessed from the voxels.
CONVENTIONS = MappingProxyType({
    "brats2021": MappingProxyType({0: 0, 1: NCR, 2: ED, 4: ET}),
    "brats2023": MappingProxyType({0: 0, 1: NCR, 2: ED, 3: ET}),
    "brats2024": MappingProxyType({0: 0, 1: NCR, 2: ED, 3: ET, 4: 0}),
    "msd": MappingProxyType({0: 0, 1: ED, 2: NCR, 3: ET}),
})


def region_mask(labels: np.ndarray, region: str) -> np.ndarray:
    """(I, J, K) bool: the voxels of `labels` (our convention) that belong to region WT, TC or ET."""
    import numpy as np

    return np.isin(labels, REGIONS[region])


def from_convention(labels: np.ndarray, convention: str, name: str = "The label map") -> np.ndarray:
    """uint8 labels (I, J, K) in our convention from voxels written in `convention` (a key of CONVENTIONS).

    Raises UnknownLabels when a value is not in that convention, and names the conventions in which it is.
    """
    return from_table(labels, CONVENTIONS[convention], convention, name)


def from_table(labels: np.ndarray, table: Mapping[int, int], called: str, name: str = "The label map") -> np.ndarray:
    """As `from_convention`, by a table of its own (value in the file -> value inside), for which messages say `called`."""
    import numpy as np

    if labels.dtype.kind not in "biuf":
        raise UnknownLabels(f"{name} holds colours or complex numbers, not one label a voxel.", "Give a label map, not an image.")
    values = np.unique(labels)
    strangers = [v for v in values.tolist() if v not in table]
    if fractions := [v for v in strangers if not float(v).is_integer()]:
        raise UnknownLabels(f"{name} holds values that are not whole numbers ({_some(fractions, repr)}), as labels are.",
                            "Give the label map, saved as whole numbers; if it was resampled, then by nearest neighbour.")
    if strangers:
        fitting = [key for key, other in CONVENTIONS.items() if all(v in other for v in values.tolist())]
        choose = " or ".join(fitting) + (", whichever its makers say" if len(fitting) > 1 else "")
        raise UnknownLabels(
            f"{name} holds the values {_some(strangers, '{:g}'.format)}, which {called} does not know ({', '.join(str(v) for v in table)}).",
            f"Declare --labels {choose}." if fitting else "Give a label map, not an image.")
    lookup = np.zeros(max(table) + 1, np.uint8)
    for value, label in table.items():
        lookup[value] = label
    return lookup[np.asarray(labels).astype(np.int64)]


def _some(values: Sequence[float], shown: Callable[[float], str]) -> str:
    return ", ".join(map(shown, values[:5])) + (" ..." if len(values) > 5 else "")
