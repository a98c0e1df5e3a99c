"""New names for patients, UIDs and days, all from one secret: the same question has the same answer, and none leads back without it."""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
import uuid
from datetime import date, timedelta
from pathlib import Path

from .errors import ConfigError, OutputError

__all__ = ["Pseudonyms", "load_secret", "save_secret"]

_DICOMS_OWN = "1.2.840.10008."   # UIDs of the standard itself: kinds of objects, compressions, coding schemes
_MOST_DAYS = 3650


class Pseudonyms:
    """`secret` is all that is needed to make them again, and to test a guess: keep it, or forget it, with care."""

    def __init__(self, secret: bytes):
        self._secret = secret

    def uid(self, uid: str) -> str:
        """A UID below 2.25 (PS3.5 B.2); one of the standard's own stays."""
        return uid if uid.startswith(_DICOMS_OWN) else f"2.25.{uuid.UUID(bytes=self._digest('uid', uid)[:16], version=4).int}"

    def patient(self, key: str) -> str:
        return f"ANON-{self._digest('patient', key).hex()[:10].upper()}"

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


def load_secret(path: Path | None) -> bytes:
    """The secret in a file; a new one when there is no file yet or none is named. Raises ConfigError for one that others can read."""
    if path is None or not path.exists():
        return secrets.token_bytes(32)
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise ConfigError(f"{path.name} lets whoever reads it find out who is who, and other users may.", f"Run: chmod 600 {path}")
    try:
        secret = bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError):
        secret = b""
    if len(secret) < 16:
        raise ConfigError(f"{path.name} is not a seed file: it must hold at least 32 hexadecimal digits.", "Name a file that does not exist yet.")
    return secret


def save_secret(path: Path, secret: bytes) -> None:
    """Write a secret for this user alone, unless the file is there. Raises OutputError."""
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(secret.hex() + "\n")
    except FileExistsError:
        return
    except OSError as error:
        raise OutputError(f"{path.name} cannot be written ({error.strerror}).", "Choose another place for the seed file.") from error
