"""What came of a cohort, over all its shards: cohort.csv for programs, cohort.html for people, a few lines for the terminal."""

from __future__ import annotations

import base64
import csv
import io
import os
import secrets
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

from .cohort_manifest import Record, manifests_in, read_records
from .errors import OutputError
from .html_page import Html, Number, join, page, section, table, tag, text
from .labels import REGIONS
from .measure import LABEL_VALUES
from .report import RESEARCH_USE_ONLY

__all__ = ["CSV_COLUMNS", "format_ended", "summarise", "write_summary"]

_STRUCTURES = tuple(dict.fromkeys((*REGIONS, *LABEL_VALUES)))   # WT, TC, ET, NCR, ED: ET is both
CSV_COLUMNS = ("number", "id", "state", *(f"{name.lower()}_ml" for name in _STRUCTURES), "flags", "seconds", "error")
_THUMBNAIL_PX, _QUALITY = 400, 80
_TALLEST = 0.53   # of its width: one plane, plain and outlined, where there are four sequences


def write_summary(folder: Path) -> list[Record]:
    """Write cohort.csv and cohort.html into a cohort's folder; the records by number. Raises MissingFile, ConfigError or OutputError."""
    while True:  # until no shard has added something meanwhile, so that the last to write has seen all
        seen = _sizes(folder)
        records = sorted(read_records(folder).values(), key=lambda record: (record.number, record.id))
        _replace(folder / "cohort.csv", _as_csv(records))
        _replace(folder / "cohort.html", page("Cohort", _as_html(records, folder)))
        if _sizes(folder) == seen:
            return records


def summarise(records: Sequence[Record]) -> dict:
    """Counts and failures for programs. No study is named here but by its number: this goes to terminals and logs."""
    failed = [record for record in records if record.state == "failed"]
    return {"format": "braintumorseg cohort 1", "studies": len(records),
            "done": sum(record.state == "done" for record in records), "failed": len(failed),
            "seconds": round(sum(record.seconds for record in records), 1),
            "failures": [{"number": record.number, "kind": record.kind, "reason": record.reason} for record in failed]}


def format_ended(record: Record, total: int) -> str:
    """A line for a study that has just ended."""
    if record.state == "failed":
        return f"Study {record.number} of {total}: failed. {record.reason}"
    warnings = sum(flag["severity"] == "warning" for flag in record.flags)
    return (f"Study {record.number} of {total}: " + "   ".join(f"{name} {record.ml[name]:.1f} ml" for name in REGIONS)
            + f"   {record.seconds:.1f} s" + (f"   {warnings} warning{'s' * (warnings > 1)}" if warnings else ""))


def _as_csv(records: Sequence[Record]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for record in records:
        writer.writerow([record.number, record.id, record.state, *(record.ml.get(name, "") for name in _STRUCTURES),
                         ";".join(flag["code"] for flag in record.flags if flag["severity"] == "warning"), record.seconds or "", record.reason])
    return out.getvalue()


def _as_html(records: Sequence[Record], folder: Path) -> Html:
    done = [record for record in records if record.state == "done"]
    rest = [record for record in records if record.state != "done"]
    counts = f"{len(done)} of {len(records)} studies are done" + (f", {len(rest)} {'is' if len(rest) == 1 else 'are'} not." if rest else ".")
    why = [[record.number, record.id, record.reason or "begun and not ended"] for record in rest]
    return join([
        tag("h1", "Brain tumour segmentation of a cohort"),
        tag("p", RESEARCH_USE_ONLY, "use"),
        tag("p", counts),
        section("Not done", table("", ("No.", "Study", "Why"), why)) if rest else "",
        section("Done", table("", ("No.", "Study", "", *(f"{name} ml" for name in REGIONS), "Warnings"), [_row(record, folder) for record in done]))
        if done else "",
    ])


def _row(record: Record, folder: Path) -> list[object]:
    """The overlay small, and a link to the study's own report."""
    warnings = [tag("p", flag["text"]) for flag in record.flags if flag["severity"] == "warning"]
    return [record.number, _link(record.id, text(record.id)), _link(record.id, _thumbnail(folder / record.id / "overlay.png")),
            *(Number(f"{record.ml[name]:.1f}") for name in REGIONS), join(warnings)]


def _link(name: str, inner: Html) -> Html:
    return Html(f'<a href="{quote(os.fsencode(name))}/report.html">{inner}</a>')


def _thumbnail(overlay: Path) -> Html:
    """The upper part of an overlay.png, its sequences plain and outlined, as an image within the page; '' where it is gone."""
    from PIL import Image

    try:
        with Image.open(overlay) as picture:
            upper = picture.convert("RGB").crop((0, 0, picture.width, min(picture.height, round(_TALLEST * picture.width))))
    except OSError:
        return Html("")
    upper.thumbnail((_THUMBNAIL_PX, 10 * _THUMBNAIL_PX), reducing_gap=2.0)
    out = io.BytesIO()
    upper.save(out, "JPEG", quality=_QUALITY)
    return Html(f'<img width="{upper.width}" height="{upper.height}" alt="overlay" '
                f'src="data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode("ascii")}">')


def _sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in manifests_in(folder)]


def _replace(path: Path, content: str) -> None:
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        partial.write_text(content, encoding="utf-8", errors="backslashreplace")
        os.replace(partial, path)
    except OSError as error:
        raise OutputError(f"{path.name} cannot be written ({error.strerror or type(error).__name__}).",
                          "Free some space, or make the folder yours to write; then 'braintumorseg cohort --summary DIR' writes it.") from error
    finally:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
