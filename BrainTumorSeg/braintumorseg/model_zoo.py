"""The networks there are: those inside the package, and those the user added. Weights are checked against their card before they are used."""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from .errors import MissingFile, ModelError, OutputError
from .model_card import ModelCard, read_card

__all__ = ["DEFAULT_MODEL", "Model", "add_model", "list_models", "load_model", "model_folders", "remove_model", "sha256_of"]

DEFAULT_MODEL = "glioma"
_EMBEDDED = Path(__file__).parent / "models"


@dataclass(frozen=True)
class Model:
    """A card and the file of weights that it describes."""

    card: ModelCard
    weights: Path

    @property
    def embedded(self) -> bool:
        return self.weights.parent == _EMBEDDED


def model_folders() -> tuple[Path, ...]:
    """Where networks are looked for: inside the package, then the user's folder (BRAINTUMORSEG_MODELS, or the system's place for data)."""
    return _EMBEDDED, _user_folder()


def list_models() -> list[Model]:
    """Every network there is, embedded ones first; weights are not read."""
    return [Model(read_card(card), card.with_suffix(".onnx")) for folder in model_folders() if folder.is_dir()
            for card in sorted(folder.glob("*.json"))]


def load_model(name: str | Path = DEFAULT_MODEL) -> Model:
    """The network of this name (or of a path to an .onnx file with its .json beside it), its weights checked against the card.

    Raises ModelError when there is none of that name (and lists those there are) or when the hash does not match.
    """
    if str(name).endswith(".onnx"):
        weights = Path(name)
        if not weights.is_file():
            raise MissingFile(f"There is no network at {weights.name}.", "Check the path.")
        model = Model(read_card(weights.with_suffix(".json")), weights)
    else:
        known = {model.card.name: model for model in list_models()}
        if name not in known:
            raise ModelError(f"There is no network named {name}.", f"Those there are: {', '.join(known) or 'none'}. Add one with "
                                                                   "'braintumorseg models add FILE.zip'.")
        model = known[name]
    _check(model)
    return model


def add_model(archive: Path) -> Model:
    """Install the network in a zip that holds NAME.onnx and NAME.json; refused whole when anything is wrong with it."""
    if not archive.is_file():
        raise MissingFile(f"There is no file {archive.name}.", "Check the path.")
    folder = _user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary, zipfile.ZipFile(archive) as file:
            members = {Path(info.filename).suffix: info for info in file.infolist() if not info.is_dir()}
            if set(members) != {".onnx", ".json"} or len([i for i in file.infolist() if not i.is_dir()]) != 2:
                raise ModelError(f"{archive.name} does not hold just NAME.onnx and NAME.json.", "Zip the two files that export wrote.")
            for suffix, info in members.items():
                with file.open(info) as source, (Path(temporary) / f"model{suffix}").open("wb") as target:
                    shutil.copyfileobj(source, target)
            card = read_card(Path(temporary) / "model.json")
            if Path(card.name).name != card.name or card.name.startswith("."):
                raise ModelError(f"The network's name '{card.name}' cannot be a file name.", "Ask its maker for another.")
            if card.name in {model.card.name for model in list_models()}:
                raise ModelError(f"A network named {card.name} is there already.", f"Remove it first: braintumorseg models remove {card.name}")
            _check(Model(card, Path(temporary) / "model.onnx"))
            for suffix in (".onnx", ".json"):  # the card last: a network is there when its card is
                (Path(temporary) / f"model{suffix}").replace(folder / f"{card.name}{suffix}")
    except zipfile.BadZipFile:
        raise ModelError(f"{archive.name} is not a zip file, or a damaged one.", "Download it again.") from None
    except OSError as error:
        raise OutputError(f"The network cannot be stored in {folder} ({error.strerror}).",
                          "Set BRAINTUMORSEG_MODELS to a folder with room.") from None
    return Model(card, folder / f"{card.name}.onnx")


def remove_model(name: str) -> None:
    """Delete a network that was added. Embedded ones stay."""
    known = {model.card.name: model for model in list_models()}
    if name not in known:
        raise ModelError(f"There is no network named {name}.", f"Those there are: {', '.join(known) or 'none'}.")
    if known[name].embedded:
        raise ModelError(f"{name} came with BrainTumorSeg and cannot be removed.")
    known[name].weights.with_suffix(".json").unlink()
    known[name].weights.unlink(missing_ok=True)


def sha256_of(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check(model: Model) -> None:
    try:
        found = sha256_of(model.weights)
    except OSError:
        raise ModelError(f"The weights of {model.card.name} are missing: {model.weights.name}.", _again(model)) from None
    if found != model.card.sha256:
        raise ModelError(f"The weights of {model.card.name} are not those its card describes (SHA-256 {found[:12]}... instead of "
                         f"{model.card.sha256[:12]}...): damaged or exchanged.", _again(model))


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
