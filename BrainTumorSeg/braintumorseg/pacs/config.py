"""Which archives there are and how to reach them: a TOML file, so that no password is ever typed where others can read it.

    [hospital]                       # the name for the command line
    kind = "dimse"                   # classic DICOM network
    ae_title = "ORTHANC"             # theirs
    host = "pacs.example.org"
    port = 104
    our_ae = "BRAINTUMORSEG"         # ours, as registered there
    retrieve = "move"                # or "get" (default)
    store_port = 11113               # where we listen during a C-MOVE
    sends_from = ["10.0.0.0/24"]     # its other addresses or names, where it sends from one that host is not
    [hospital.tls]                   # leave out for an open connection
    ca = "hospital-ca.pem"           # paths are relative to this file
    certificate = "ours.pem"
    key = "ours.key"

    [research]
    kind = "dicomweb"
    url = "https://dicom.example.org/dicom-web"
    user = "reader"
    password = "..."                 # or token = "...", or token_command = ["pass", "show", "pacs"]
    ca = "hospital-ca.pem"
"""

from __future__ import annotations

import os
import re
import tomllib
from dataclasses import MISSING, dataclass, fields
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import urlsplit

from ..errors import ConfigError, MissingFile

__all__ = ["DimseSettings", "Tls", "WebSettings", "default_config", "is_token", "load_settings"]

_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})


@dataclass(frozen=True)
class Tls:
    """An encrypted connection of the DICOM network: both sides show certificates that `ca` signed."""

    ca: Path
    certificate: Path | None = None
    key: Path | None = None
    server_name: str = ""        # in the archive's certificate, where it is not the host's name

    def __post_init__(self):
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("tls needs certificate and key together, or neither of them.")


@dataclass(frozen=True)
class DimseSettings:
    """An archive of the classic DICOM network (PS3.8). `timeout_s` bounds every single wait, not the whole transfer."""

    name: str
    ae_title: str
    host: str
    port: int
    our_ae: str = "BRAINTUMORSEG"
    retrieve: str = "get"
    store_port: int = 0
    listen: str = ""             # address of ours that the archive sends to; '' is every one (loopback alone for a loopback host)
    sends_from: tuple[str, ...] = ()   # names, addresses or networks that it sends from in a C-MOVE, beside `host`
    timeout_s: float = 30.0
    tls: Tls | None = None

    def __post_init__(self):
        for key in ("ae_title", "our_ae"):
            if not 1 <= len(getattr(self, key).strip()) <= 16:
                raise ConfigError(f"{key} must have 1 to 16 characters.")
        if self.retrieve not in ("get", "move"):
            raise ConfigError(f"retrieve must be get or move, not {self.retrieve}.")
        if (self.retrieve == "move") != bool(self.store_port):
            raise ConfigError("store_port is the port where we listen for a C-MOVE: it goes with retrieve = \"move\", and only with it.")
        if self.sends_from and self.retrieve != "move":
            raise ConfigError('sends_from goes with retrieve = "move": with "get" the archive sends on our own connection.')
        if self.tls and self.retrieve == "move" and not self.tls.certificate:
            raise ConfigError("With tls and retrieve = \"move\" the archive connects to us: tls needs certificate and key.")
        _check_numbers(self.timeout_s, self.port, *([self.store_port] if self.store_port else []))


@dataclass(frozen=True, repr=False)
class WebSettings:
    """An archive that speaks DICOMweb (PS3.18). Not shown by `repr`: it may hold a password."""

    name: str
    url: str
    user: str = ""
    password: str = ""
    token: str = ""
    token_command: tuple[str, ...] = ()   # prints the token; run without a shell
    ca: Path | None = None
    certificate: Path | None = None       # ours, where the archive asks for one
    key: Path | None = None
    timeout_s: float = 30.0

    def __post_init__(self):
        parts = urlsplit(self.url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ConfigError("url must begin with https:// (or http:// on this machine).")
        if parts.username or parts.password:
            raise ConfigError("url must not hold a password: use user and password.")
        if bool(self.user) != bool(self.password):
            raise ConfigError("user and password go together.")
        if sum(map(bool, (self.user, self.token, self.token_command))) > 1:
            raise ConfigError("Give one of user with password, token, and token_command.")
        if self.token and not is_token(self.token):
            raise ConfigError("token must be printable ASCII without spaces.")
        if self.holds_secret and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise ConfigError("A password over http:// could be read on the way: the url must begin with https://.")
        if parts.scheme == "http" and (self.ca or self.certificate):
            raise ConfigError("ca and certificate are for https://, and the url begins with http://.")
        if (self.certificate is None) != (self.key is None):
            raise ConfigError("certificate and key go together.")
        _check_numbers(self.timeout_s)

    @property
    def holds_secret(self) -> bool:
        return bool(self.password or self.token or self.token_command)


def is_token(text: str) -> bool:
    """Whether `text` can stand in the header of a request."""
    return bool(re.fullmatch("[!-~]+", text))


def default_config() -> Path:
    """BRAINTUMORSEG_PACS, or pacs.toml in the user's folder for settings."""
    named = os.environ.get("BRAINTUMORSEG_PACS")
    home = Path(os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config")
    return Path(named) if named else home / "braintumorseg" / "pacs.toml"


def load_settings(path: Path | None = None) -> dict[str, DimseSettings | WebSettings]:
    """Name -> settings of every archive in the file at `path` (default: `default_config`).

    Raises MissingFile, or ConfigError for anything that is wrong in it: only the user may change it, and with a secret in it read it.
    """
    path = path or default_config()
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise MissingFile(f"There is no settings file {path}.", "Write one (the README shows how), or name it with --config.") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name} cannot be read ({error.__class__.__name__}).", "Check its permissions; it must be text in UTF-8.") from error
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path.name} is not valid TOML: {error}.") from error
    settings = {}
    for name, table in tables.items():
        try:
            settings[name] = _archive(name, table, path.absolute().parent)
        except ConfigError as error:
            raise ConfigError(f"{path.name}, [{name}]: {error.what}", error.fix or "Correct the file.") from None
    _refuse_open_secrets(path, settings)
    return settings


def _archive(name: str, table: object, folder: Path) -> DimseSettings | WebSettings:
    if not isinstance(table, dict):
        raise ConfigError("every archive is a table of its own.")
    table = dict(table)
    kind = table.pop("kind", None)
    if kind == "dimse":
        if "tls" in table:
            table["tls"] = _fill(Tls, _as_table(table["tls"], "tls"), folder)
        return _fill(DimseSettings, {"name": name, **table}, folder)
    if kind == "dicomweb":
        return _fill(WebSettings, {"name": name, **table}, folder)
    raise ConfigError('kind must be "dimse" or "dicomweb".')


def _as_table(value: object, key: str) -> dict:
    if not isinstance(value, dict):
        raise ConfigError(f"{key} must be a table.")
    return value


def _fill(kind: type, table: dict, folder: Path):
    """A `kind` from a table whose keys and types are its fields'."""
    known = {one.name: one for one in fields(kind)}
    for key in table:
        if key not in known:
            near = get_close_matches(key, known, 1)
            raise ConfigError(f"{key} is not a setting here" + (f"; {near[0]} is." if near else "."))
    missing = [key for key, one in known.items() if one.default is MISSING and key not in table]
    if missing:
        raise ConfigError(f"{' and '.join(missing)} must be given.")
    return kind(**{key: _typed(key, value, known[key].type, folder) for key, value in table.items()})


def _typed(key: str, value: object, wanted: str, folder: Path) -> object:
    if wanted.startswith("Path"):
        if not isinstance(value, str):
            raise ConfigError(f"{key} must be a path.")
        path = folder / Path(value).expanduser()
        if not path.is_file():
            raise ConfigError(f"{key} names a file that is not there: {value}.")
        return path
    if wanted.startswith("tuple"):
        if not (isinstance(value, list) and value and all(isinstance(word, str) for word in value)):
            raise ConfigError(f"{key} must be a list of words.")
        return tuple(value)
    kinds = {"str": str, "int": int, "float": (int, float)}
    if wanted in kinds and (not isinstance(value, kinds[wanted]) or isinstance(value, bool)):
        raise ConfigError(f"{key} must be a {'number' if wanted != 'str' else 'text'}.")
    return value


def _check_numbers(timeout_s: float, *ports: int) -> None:
    if not 0 < timeout_s <= 3600:
        raise ConfigError("timeout_s must be between 0 and 3600 seconds.")
    if any(not 0 < port < 65536 for port in ports):
        raise ConfigError("A port is a number from 1 to 65535.")


def _refuse_open_secrets(path: Path, settings: dict[str, DimseSettings | WebSettings]) -> None:
    """Raises ConfigError when another user may read a secret, or replace the file that decides where images and secrets are sent."""
    if os.name != "posix":
        return
    files = []
    for one in settings.values():
        if isinstance(one, WebSettings):
            files += [(path, "a password or token")] if one.holds_secret else []
            files += [(one.key, "a private key")] if one.key else []
        elif one.tls and one.tls.key:
            files += [(one.tls.key, "a private key")]
    for file, what in files:
        if file.stat().st_mode & 0o077:
            raise ConfigError(f"{file.name} holds {what} and other users may read or change it.", f"Run: chmod 600 {file}")
    if path.stat().st_mode & 0o022:
        raise ConfigError(f"{path.name} says where patients' images go, and other users may change it.", f"Run: chmod go-w {path}")
