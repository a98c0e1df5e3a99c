"""New names for patients, UIDs and days, all from one secret: the same question has the same answer, and none leads back without it."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import time
import uuid
from datetime import date, timedelta
from pathlib import Path

from .errors import ConfigError, OutputError

__all__ = ["Pseudonyms", "secret_from"]

_DICOMS_OWN = "1.2.840.10008."   # UIDs of the standard itself: kinds of objects, compressions, coding schemes
_MOST_DAYS = 3650
_LOOKS, _PAUSE_S = 20, 0.05   # at a seed file that another run has made and not yet filled


class Pseudonyms:
    """`secret` is all that is needed to make them again, and to test a guess: keep it, or forget it, with care."""

    def __init__(self, secret: bytes):
        self._secret = secret

    def uid(self, uid: str) -> str:
        """A UID below 2.25 (PS3.5 B.2); one of the standard's own stays."""
        return uid if uid.startswith(_DICOMS_OWN) else f"2.25.{uuid.UUID(bytes=self._digest('uid', uid)[:16], version=4).int}"

    def patient(self, key: str) -> str:
        return f"ANON-{self._digest('patient', key).hex()[:10].upper()}"

    def device(self, serial: str) -> str:
        """One number for one device, whoever lay in it."""
        return f"ANON-{self._digest('device', serial).hex()[:10].upper()}"

    def days(self, key: str) -> int:
        """By how many days the patient's dates go back, 1..3650."""
        return 1 + int.from_bytes(self._digest("days", key)[:8], "big") % _MOST_DAYS

    def shifted(self, value: str, key: str) -> str:
        """A date, or a date with time, so many days earlier; '' when it is none. The time of day and a time zone stay."""
        match = re.fullmatch(r"(\d{4})(\d{2})(\d{2})((?:\d{2}){0,3}(?:\.\d{1,6})?(?:[+-]\d{4})?)", value.strip())
        try:
            day = date(*map(int, match.groups()[:3])) - timedelta(days=self.days(key)) if match else None
        except (ValueError, OverflowError):
            day = None
        return f"{day:%Y%m%d}{match[4]}" if day and day.year >= 1000 else ""

    def _digest(self, what: str, text: str) -> bytes:
        return hmac.new(self._secret, f"{what}\0{text}".encode(), hashlib.sha256).digest()


def secret_from(path: Path | None) -> bytes:
    """The secret in a file; a new one when there is no file yet, written there for this user alone, or when none is named.

    Raises ConfigError for a file that holds none, cannot be read or can be read by others, OutputError when a new one cannot be written.
    """
    if path is None:
        return secrets.token_bytes(32)
    return _read(path) if os.path.lexists(path) else _write_new(path)


def _read(path: Path) -> bytes:
    try:
        for _ in range(_LOOKS):
            if content := path.read_bytes():
                break
            time.sleep(_PAUSE_S)
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise ConfigError(f"The seed file {path.name} is a link to a file that is not there.", "Name the file itself, there or not yet.") from None
    except OSError as error:
        raise ConfigError(f"The seed file {path.name} cannot be read ({error.strerror}).",
                          "Let this user read it, or name a file that does not exist yet.") from error
    if os.name == "posix" and mode & 0o077:
        raise ConfigError(f"{path.name} lets whoever reads it find out who is who, and other users may.", f"Run: chmod 600 {path}")
    try:
        secret = bytes.fromhex(content.decode("ascii").strip())
    except ValueError:
        secret = b""
    if len(secret) < 16:
        raise ConfigError(f"{path.name} is not a seed file: it must hold at least 32 hexadecimal digits.", "Name a file that does not exist yet.")
    return secret


def _write_new(path: Path) -> bytes:
    secret = secrets.token_bytes(32)
    made = False
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            made = True
            file.write(secret.hex() + "\n")
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:   # another run was faster: both must use what is there
        return _read(path)
    except OSError as error:
        if made:
            path.unlink(missing_ok=True)
        raise OutputError(f"{path.name} cannot be written ({error.strerror}).", "Choose another place for the seed file.") from error
    return secret
