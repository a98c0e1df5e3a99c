"""The networks there are: those inside the package, and those the user added. Weights are checked against their card before they are used."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from .errors import MissingFile, ModelError, OutputError
from .model_card import ModelCard, read_card
from .weights import sha256_of, variant_problem

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

    @property
    def files(self) -> tuple[str, ...]:
        """Names of everything that belongs to it: weights, variants and, last, the card."""
        return tuple(dict.fromkeys([self.weights.name, *(variant.file for variant in self.card.variants), self.weights.with_suffix(".json").name]))


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
    """Install the network in a zip that holds NAME.onnx, the variants of its card, and NAME.json; refused whole when anything is wrong with it."""
    if not archive.is_file():
        raise MissingFile(f"There is no file {archive.name}.", "Check the path.")
    folder = _user_folder()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary, zipfile.ZipFile(archive) as file:
            members = {Path(info.filename).name: info for info in file.infolist() if not info.is_dir()}
            cards = [name for name in members if name.endswith(".json")]
            if len(cards) != 1 or f"{Path(cards[0]).stem}.onnx" not in members or not all(name.endswith(".onnx") for name in members.keys() - cards):
                raise ModelError(f"{archive.name} does not hold just NAME.onnx, its variants and NAME.json.", "Zip the files that export wrote.")
            for name, info in members.items():
                with file.open(info) as source, (Path(temporary) / name).open("wb") as target:
                    shutil.copyfileobj(source, target)
            model = Model(read_card(Path(temporary) / cards[0]), Path(temporary) / f"{Path(cards[0]).stem}.onnx")
            _require_addable(model, archive.name, members)
            for name in model.files:  # the card last: a network is there when its card is
                (Path(temporary) / name).replace(folder / name)
    except zipfile.BadZipFile:
        raise ModelError(f"{archive.name} is not a zip file, or a damaged one.", "Download it again.") from None
    except OSError as error:
        raise OutputError(f"The network cannot be stored in {folder} ({error.strerror}).",
                          "Set BRAINTUMORSEG_MODELS to a folder with room.") from None
    return Model(model.card, folder / model.weights.name)


def _require_addable(model: Model, archive: str, members: Collection[str]) -> None:
    card = model.card
    if Path(card.name).name != card.name or card.name.startswith("."):
        raise ModelError(f"The network's name '{card.name}' cannot be a file name.", "Ask its maker for another.")
    if card.name in {one.card.name for one in list_models()}:
        raise ModelError(f"A network named {card.name} is there already.", f"Remove it first: braintumorseg models remove {card.name}")
    if model.weights.stem != card.name:
        raise ModelError(f"The files in {archive} are named {model.weights.stem}, and their card says {card.name}.",
                         "Zip the files that export wrote.")
    _check(model)
    for variant in card.variants:
        if problem := variant_problem(model.weights, variant):
            raise ModelError(f"{archive}: {problem}.", "Zip it again with every file that the card's variants name.")
    if unknown := set(members) - set(model.files):
        raise ModelError(f"{archive} holds {', '.join(sorted(unknown))}, which its card does not name.", "Zip the files that export wrote, only.")


def remove_model(name: str) -> None:
    """Delete a network that was added. Embedded ones stay."""
    known = {model.card.name: model for model in list_models()}
    if name not in known:
        raise ModelError(f"There is no network named {name}.", f"Those there are: {', '.join(known) or 'none'}.")
    if known[name].embedded:
        raise ModelError(f"{name} came with BrainTumorSeg and cannot be removed.")
    folder = known[name].weights.parent
    for file in reversed(known[name].files):  # the card first
        (folder / file).unlink(missing_ok=True)


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
