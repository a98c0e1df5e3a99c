"""The networks there are: those inside the package, and those the user added. Weights are checked against their card before they are used."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import struct
import sys
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path, PurePosixPath

from .errors import MissingFile, ModelError, OutputError
from .io.private_temp import private_folder
from .io.replacing import put
from .model_card import ModelCard, read_card
from .onnx_inside import why_not_whole
from .weights import sha256_of, variant_problem

__all__ = ["DEFAULT_MODEL", "Model", "Unreadable", "add_model", "list_models", "load_model", "model_folders", "remove_model", "sha256_of",
           "unreadable_models"]

DEFAULT_MODEL = "glioma"
_EMBEDDED = Path(__file__).parent / "models"
_MOST_BYTES, _MOST_BYTES_OF_A_CARD = 10**9, 10**6   # of what a zip unpacks to


@dataclass(frozen=True)
class Model:
    """A card and the file of weights that it describes."""

    card: ModelCard
    weights: Path

    @property
    def name(self) -> str:
        return self.card.name

    @property
    def embedded(self) -> bool:
        return self.weights.parent == _EMBEDDED

    @property
    def files(self) -> tuple[str, ...]:
        """Names of everything that belongs to it: weights, variants and, last, the card."""
        return tuple(dict.fromkeys([self.weights.name, *(variant.file for variant in self.card.variants), self.weights.with_suffix(".json").name]))


@dataclass(frozen=True)
class Unreadable:
    """A card in the user's folder that this version cannot use, and why: of a newer version, damaged, or no card at all."""

    path: Path
    why: ModelError

    @property
    def name(self) -> str:
        return self.path.stem

    @property
    def fix(self) -> str:
        return f"Get the network again from its maker, or remove it: braintumorseg models remove {self.name}"

    @property
    def files(self) -> tuple[str, ...]:
        """Names of everything that seems to belong to it; like `Model.files`."""
        try:
            variants = [str(one["file"]) for one in json.loads(self.path.read_text(encoding="utf-8"))["variants"]]
        except (OSError, ValueError, TypeError, LookupError):
            variants = []
        named = (name for name in variants if Path(name).name == name and name.endswith(".onnx"))
        return tuple(dict.fromkeys([f"{self.name}.onnx", *named, self.path.name]))


def model_folders() -> tuple[Path, ...]:
    """Where networks are looked for: inside the package, then the user's folder (BRAINTUMORSEG_MODELS, or the system's place for data)."""
    return _EMBEDDED, _user_folder()


def list_models() -> list[Model]:
    """Every network there is, embedded ones first; weights are not read. Cards of the user's that cannot be read: see `unreadable_models`."""
    return [_model(card) for card in _cards(_EMBEDDED).values()] + [one for one in _added() if isinstance(one, Model)]


def unreadable_models() -> list[Unreadable]:
    """What in the user's folder looks like the card of a network and cannot be read."""
    return [one for one in _added() if isinstance(one, Unreadable)]


def load_model(name: str | Path = DEFAULT_MODEL) -> Model:
    """The network of this name (or of a path to an .onnx file with its .json beside it), its weights checked against the card.

    Raises ModelError when there is none of that name (and lists those there are), its card cannot be read, the hash does not match, or it
    needs a newer ONNX Runtime than is installed.
    """
    if str(name).endswith(".onnx"):
        weights = Path(name)
        if not weights.is_file():
            raise MissingFile(f"There is no network at {weights.name}.", "Check the path.")
        model = Model(read_card(weights.with_suffix(".json")), weights)
    else:
        model = _named(str(name))
    _check(model)
    _require_runtime(model)
    return model


def add_model(archive: Path) -> Model:
    """Install the network in a zip that holds NAME.onnx, the variants of its card, and NAME.json; refused whole when anything is wrong with it."""
    if not archive.is_file():
        raise MissingFile(f"There is no file {archive.name}.", "Check the path.")
    folder = _user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with private_folder("models", folder) as temporary:
            model = _unpack(archive, temporary)
            _require_usable(model, archive.name)
            for name in model.files:  # the card last: a network is there when its card is
                put(temporary / name, folder / name)
    except (OSError, OutputError) as error:
        why = error.__cause__ if isinstance(error, OutputError) else error
        raise OutputError(f"The network cannot be stored in {folder} ({getattr(why, 'strerror', None) or type(error).__name__}).",
                          "Set BRAINTUMORSEG_MODELS to a folder with room.") from None
    return Model(model.card, folder / model.weights.name)


def _unpack(archive: Path, folder: Path) -> Model:
    """The network in a zip, whose files then lie in `folder`: first the card, and then what it names if that is all there is."""
    try:
        with zipfile.ZipFile(archive) as file:
            members = {Path(info.filename).name: info for info in file.infolist() if not info.is_dir() and not _left_by_system(info.filename)}
            cards = [name for name in members if name.endswith(".json")]
            if len(cards) != 1 or f"{Path(cards[0]).stem}.onnx" not in members or not all(name.endswith(".onnx") for name in members.keys() - cards):
                raise ModelError(f"{archive.name} does not hold just NAME.onnx, its variants and NAME.json.", "Zip the files that export wrote.")
            if members[cards[0]].file_size > _MOST_BYTES_OF_A_CARD:
                raise ModelError(f"{cards[0]} in {archive.name} is too large to be the card of a network.", "Zip the files that export wrote.")
            _extract(file, members[cards[0]], folder / cards[0])
            model = _model(folder / cards[0])
            _require_addable(model, archive.name, members)
            for name in members.keys() - cards:
                _extract(file, members[name], folder / name)
            return model
    except _damage():
        pass
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):   # bzip2 raises it without a number; a place before the file's start is invalid
            raise
    raise ModelError(f"{archive.name} is not a zip file, or a damaged or encrypted one.", "Download it again, or zip its files without a password.")


def _extract(file: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> None:
    """No more than `member.file_size` bytes, whatever is in the zip."""
    with file.open(member) as source, path.open("wb") as target:
        shutil.copyfileobj(source, target)


def _left_by_system(member: str) -> bool:
    """Finder and Explorer put files of their own into folders, and Finder into zips, too."""
    from .cohort_list import SYSTEM_NAMES

    path = PurePosixPath(member)
    return path.name.startswith(".") or not SYSTEM_NAMES.isdisjoint(part.lower() for part in path.parts)


def _damage() -> tuple[type[Exception], ...]:
    """What zipfile raises when bytes are damaged, a password is needed or a way to compress is unknown."""
    found = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, ValueError, LookupError, OverflowError, struct.error)
    with suppress(ImportError):   # the Python of some Slicer lacks it
        from lzma import LZMAError

        found += (LZMAError,)
    return found


def _require_addable(model: Model, archive: str, members: Mapping[str, zipfile.ZipInfo]) -> None:
    """Before anything but the card is unpacked."""
    card = model.card
    if set(card.name) & set('/\\:*?"<>|') or card.name.startswith(".") or card.name.endswith("."):
        raise ModelError(f"The network's name '{card.name}' cannot be a file name.", "Ask its maker for another.")
    if card.name in _cards(_EMBEDDED):
        raise ModelError(f"A network named {card.name} comes with BrainTumorSeg and is not replaced.",
                         "Have it exported under another name (braintumorseg-train export --name OTHER).")
    if card.name in {one.name for one in _added()}:
        raise ModelError(f"A network named {card.name} is there already.", f"Remove it first: braintumorseg models remove {card.name}")
    if model.weights.stem != card.name:
        raise ModelError(f"The files in {archive} are named {model.weights.stem}, and their card says {card.name}.",
                         "Zip the files that export wrote.")
    for other in _added():
        if shared := {name.casefold() for name in model.files} & {name.casefold() for name in other.files}:
            raise ModelError(f"{archive} holds {', '.join(sorted(shared))}, and a file of that name belongs to the network {other.name}.",
                             f"Remove that network first (braintumorseg models remove {other.name}), or ask the maker for another file name.")
    if unknown := set(members) - set(model.files):
        raise ModelError(f"{archive} holds {', '.join(sorted(unknown))}, which its card does not name.", "Zip the files that export wrote, only.")
    if (total := sum(info.file_size for info in members.values())) > _MOST_BYTES:
        raise ModelError(f"{archive} unpacks to {total / 1e9:.1f} GB, and a network may have {_MOST_BYTES / 1e9:.0f} GB.",
                         "Get the network again from its maker.")


def _require_usable(model: Model, archive: str) -> None:
    from .trial import try_out

    _check(model)
    _require_runtime(model)
    for variant in model.card.variants:
        if problem := variant_problem(model.weights, variant):
            raise ModelError(f"{archive}: {problem}.", "Zip it again with every file that the card's variants name.")
    try_out(model.weights, model.card)


def remove_model(name: str) -> None:
    """Delete a network that was added, also one whose card cannot be read. Embedded ones stay, and so do files that another network names too."""
    known = {one.name: one for one in [*list_models(), *unreadable_models()]}
    if name not in known:
        raise ModelError(f"There is no network named {name}.", f"Those there are: {', '.join(known) or 'none'}.")
    found = known[name]
    if isinstance(found, Model) and found.embedded:
        raise ModelError(f"{name} came with BrainTumorSeg and cannot be removed.")
    of_others = {file for other in _added() if other.files[-1] != found.files[-1] for file in other.files}
    for file in reversed(found.files):  # the card first
        if file not in of_others:
            (_user_folder() / file).unlink(missing_ok=True)


def _added() -> list[Model | Unreadable]:
    """What there is in the user's folder."""
    found = []
    for path in _cards(_user_folder()).values():
        try:
            found.append(_model(path))
        except ModelError as error:
            found.append(Unreadable(path, error))
    return found


def _named(name: str) -> Model:
    """The network of that name, its own card first: what else lies in the folders does not matter to it."""
    known = {model.name: model for model in list_models()}
    if name not in known:
        for one in unreadable_models():
            if one.name == name:
                raise ModelError(one.why.what, one.fix)
        if not _EMBEDDED.is_dir():
            raise ModelError("The networks of BrainTumorSeg are not beside its code: it was imported from a zip, or is incomplete.",
                             "Install it with pip, which unpacks it.")
        raise ModelError(f"There is no network named {name}.", f"Those there are: {', '.join(known) or 'none'}. Add one with "
                                                               "'braintumorseg models add FILE.zip'.")
    return known[name]


def _cards(folder: Path) -> dict[str, Path]:
    """File name without .json -> card, sorted."""
    return {path.stem: path for path in sorted(folder.glob("*.json")) if not path.is_dir()} if folder.is_dir() else {}


def _model(card: Path) -> Model:
    return Model(read_card(card), card.with_suffix(".onnx"))


def _check(model: Model) -> None:
    try:
        found = sha256_of(model.weights)
    except OSError:
        raise ModelError(f"The weights of {model.card.name} are missing: {model.weights.name}.", _again(model)) from None
    if found != model.card.sha256:
        raise ModelError(f"The weights of {model.card.name} are not those its card describes (SHA-256 {found[:12]}... instead of "
                         f"{model.card.sha256[:12]}...): damaged or exchanged.", _again(model))
    if problem := why_not_whole(model.weights):
        raise ModelError(f"The file {model.weights.name} of {model.card.name} {problem}.", "Have it exported again, as one file.")


def _require_runtime(model: Model) -> None:
    """Compared where ONNX Runtime is installed; OpenVINO alone needs none."""
    for package in ("onnxruntime", "onnxruntime-gpu"):
        try:
            there = version(package)
        except PackageNotFoundError:
            continue
        if _number(there) < _number(model.card.minimum_onnxruntime):
            raise ModelError(f"The network {model.card.name} needs ONNX Runtime {model.card.minimum_onnxruntime} or newer, and {there} is installed.",
                             f"Run: python -m pip install --upgrade {package}")


def _number(version: str) -> list[int]:
    """For comparing: 1.23 is 1.23.0."""
    digits = [int(part) for part in re.match(r"[\d.]*", version)[0].split(".") if part]
    return [*digits, 0, 0, 0][:max(3, len(digits))]


def _again(model: Model) -> str:
    return "Install BrainTumorSeg again." if model.embedded else "Get the network again from its maker."


def _user_folder() -> Path:
    if given := os.environ.get("BRAINTUMORSEG_MODELS"):
        return Path(given)
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home()))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Application Support"
    else:
        base = Path(os.environ.get("XDG_DATA_HOME", Path.home() / ".local" / "share"))
    return base / "braintumorseg" / "models"
