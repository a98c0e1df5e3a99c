"""What came of a cohort, over all its shards: cohort.csv for programs, cohort.html for people, a few lines for the terminal."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from .cohort_manifest import Record, manifests_in, read_records
from .cohort_workers import THUMBNAIL
from .errors import OutputError
from .html_page import Html, Number, join, page, section, table, tag, text
from .io.replacing import replacing
from .labels import REGIONS
from .measure import LABEL_VALUES
from .progress import Update
from .report import RESEARCH_USE_ONLY

__all__ = ["CSV_COLUMNS", "format_ended", "summarise", "write_summary"]

_STRUCTURES = tuple(dict.fromkeys((*REGIONS, *LABEL_VALUES)))   # WT, TC, ET, NCR, ED: ET is both
CSV_COLUMNS = ("number", "id", "state", *(f"{name.lower()}_ml" for name in _STRUCTURES), "flags", "seconds", "error", "estimated",
               "long_mm", "short_mm", "measurable", "measurable_lesions", "sum_of_products_mm2", "lesions", "expected_dice_wt", "missing",
               "reference", "reference_spacing_mm", "model", "model_version", "engine_version")
_FROM_REPORT = CSV_COLUMNS[CSV_COLUMNS.index("long_mm"):]
_BEGINS_FORMULA = ("=", "+", "-", "@", "\t", "\r")   # of a cell that a spreadsheet computes (OWASP, CSV injection)
_OVERLAY_PX, _QUALITY = (400, 500), 80   # of an overlay in the place of a thumbnail, width and height at most
_MOST_EMBEDDED = 500   # pictures, some 40 kB each; a page with more would be too large for browsers and for the memory of whoever writes it
_TELL_EVERY_S = 0.5


@dataclass(frozen=True)
class _Result:
    """What is told of a study that is done beside its record: its picture ('' where it is gone) and what its report has for the table."""

    picture: Html
    facts: Mapping[str, object]


def write_summary(folder: Path, listener: Callable[[Update], None] = lambda update: None) -> list[Record]:
    """Write cohort.csv and cohort.html into a cohort's folder; the records by number. Raises MissingFile, ConfigError or OutputError.

    Where a shard has added something meanwhile, once more, so that the last to write has seen all; that is quick, for the pictures are
    at hand. No more often: a shard that is still at work writes them at its end. `listener` is told how far it is if it takes a while.

    Of up to 500 studies the page holds the pictures and can be sent alone; of more it shows those in the studies' folders.
    """
    results: dict[tuple[str, float], _Result] = {}
    for _ in range(2):
        seen = _sizes(folder)
        records = sorted(read_records(folder).values(), key=lambda record: (record.number, record.id))
        _get_results(records, folder, results, listener)
        _replace(folder / "cohort.csv", _as_csv(records, results))
        _replace(folder / "cohort.html", page("Cohort", _as_html(records, results), beside=_beside(records)))
        if _sizes(folder) == seen:
            break
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
    return (f"Study {record.number} of {total}: " + "   ".join(f"{name} {_ml(record, name, ' ml')}" for name in REGIONS)
            + f"   {record.seconds:.1f} s" + (f"   {warnings} warning{'s' * (warnings > 1)}" if warnings else ""))


def _as_csv(records: Sequence[Record], results: Mapping[tuple[str, float], _Result]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for record in records:
        facts = results[_key(record)].facts if record.state == "done" else {}
        writer.writerow(map(_harmless, [
            record.number, record.id, record.state, *(record.ml.get(name, "") for name in _STRUCTURES),
            ";".join(flag["code"] for flag in record.flags if flag["severity"] == "warning"), record.seconds or "", record.reason,
            ";".join(record.estimated), *(facts.get(name, "") for name in _FROM_REPORT)]))
    return out.getvalue()


def _harmless(cell: object) -> object:
    """A text that a spreadsheet would take for a formula with a ' before it, and in one line; numbers as they are."""
    if not isinstance(cell, str):
        return cell
    return ("'" * cell.startswith(_BEGINS_FORMULA) + cell).replace("\r", " ")   # `csv` does not quote a lone carriage return


def _facts(folder: Path) -> dict[str, object]:
    """The columns that only a study's report.json has; fewer of an earlier version's, none where it is gone or damaged."""
    try:
        report = json.loads((folder / "report.json").read_bytes())
        axes, spacing = report["enhancing_mm"] or {}, report["sequences"][report["reference"]].get("spacing_mm", ())
        told = {"long_mm": axes.get("long"), "short_mm": axes.get("short"), "measurable": {True: "yes", False: "no"}.get(axes.get("measurable")),
                "measurable_lesions": len(report["enhancing_lesions_mm"]) if "enhancing_lesions_mm" in report else None,
                "sum_of_products_mm2": report.get("sum_of_products_mm2"), "lesions": len(report["lesions"]),
                "expected_dice_wt": report.get("expected_dice", {}).get("WT"), "missing": ";".join(report["missing"]),
                "reference": report["reference"], "reference_spacing_mm": ";".join(map(str, spacing)),
                "model": report["model"]["name"], "model_version": report["model"]["version"],
                "engine_version": report.get("software", {}).get("braintumorseg")}
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return {}
    return {name: value for name, value in told.items() if value is not None}


def _as_html(records: Sequence[Record], results: Mapping[tuple[str, float], _Result]) -> Html:
    done = [record for record in records if record.state == "done"]
    rest = [record for record in records if record.state != "done"]
    counts = f"{len(done)} of {len(records)} studies are done" + (f", {len(rest)} {'is' if len(rest) == 1 else 'are'} not." if rest else ".")
    why = [[record.number, record.id, record.reason or "begun and not ended"] for record in rest]
    return join([
        tag("h1", "Brain tumour segmentation of a cohort"),
        tag("p", RESEARCH_USE_ONLY, "use"),
        tag("p", counts),
        section("Not done", table("", ("No.", "Study", "Why"), why)) if rest else "",
        section("Done", table("", ("No.", "Study", *(f"{name} ml" for name in REGIONS)), list(map(_row, done)),
                              [_below(record, results[_key(record)].picture) for record in done])) if done else "",
    ])


def _row(record: Record) -> list[object]:
    return [record.number, _link(record.id, text(record.id)), *(Number(_ml(record, name)) for name in REGIONS)]


def _ml(record: Record, name: str, unit: str = "") -> str:
    return f"{record.ml[name]:.1f}{unit}" + " (estimated)" * (name in record.estimated)


def _below(record: Record, picture: Html) -> Html:
    """The picture with a link to the study's own report, and the warnings."""
    warnings = [tag("p", flag["text"], "flag") for flag in record.flags if flag["severity"] == "warning"]
    return tag("div", join([_link(record.id, picture) if picture else "", tag("div", join(warnings)) if warnings else ""]), "beside")


def _link(name: str, inner: Html) -> Html:
    return Html(f'<a href="{_address(name, "report.html")}">{inner}</a>')


def _address(name: str, file: str) -> str:
    """Of a file of the study `name`, seen from the page."""
    return f"{quote(os.fsencode(name))}/{file}"


def _beside(records: Sequence[Record]) -> bool:
    """Whether there are so many pictures that they stay in the studies' folders."""
    return sum(record.state == "done" for record in records) > _MOST_EMBEDDED


def _get_results(records: Sequence[Record], folder: Path, results: dict[tuple[str, float], _Result], listener: Callable[[Update], None]) -> None:
    """Add to `results` those of the studies that are done and have none there."""
    done = [record for record in records if record.state == "done"]
    lacking = [record for record in done if _key(record) not in results]
    beside = _beside(records)
    began = told = time.monotonic()
    for number, record in enumerate(lacking):
        picture = _picture_beside(folder, record.id) if beside else _picture(folder / record.id)
        results[_key(record)] = _Result(picture, _facts(folder / record.id))
        if (now := time.monotonic()) - told > _TELL_EVERY_S:
            told, share = now, (number + 1) / len(lacking)
            listener(Update("summary", share, (now - began) * (1 - share) / share))


def _key(record: Record) -> tuple[str, float]:
    """A study that is done again has another picture."""
    return record.id, record.at


def _picture(folder: Path) -> Html:
    """A study's thumbnail as an image within the page, of an earlier version's results the whole overlay.png small; '' where both are gone."""
    from PIL import Image

    for name, kind in ((THUMBNAIL, "JPEG"), ("overlay.png", "PNG")):
        try:
            jpeg = (folder / name).read_bytes()
            with Image.open(io.BytesIO(jpeg), formats=[kind]) as picture:
                shown = picture.convert("RGB")
        except (OSError, ValueError, SyntaxError):   # gone or damaged
            continue
        if kind == "PNG":
            shown.thumbnail(_OVERLAY_PX, reducing_gap=2.0)
            shown.save(out := io.BytesIO(), "JPEG", quality=_QUALITY)
            jpeg = out.getvalue()
        return _image(shown.size, jpeg)
    return Html("")


def _picture_beside(folder: Path, study: str) -> Html:
    """The same in the study's folder in the cohort's `folder`, for browsers to read when it comes into view; here it is not read."""
    name = next((name for name in (THUMBNAIL, "overlay.png") if (folder / study / name).is_file()), None)
    return Html(f'<img loading="lazy" style="max-width: min({_OVERLAY_PX[0]}px, 100%)" alt="The tumour\'s outlines" '
                f'src="{_address(study, name)}">') if name else Html("")


def _image(size: tuple[int, int], jpeg: bytes) -> Html:
    return Html(f'<img width="{size[0]}" height="{size[1]}" alt="The tumour\'s outlines" '
                f'src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode("ascii")}">')


def _sizes(folder: Path) -> list[int]:
    return [path.stat().st_size for path in manifests_in(folder)]


def _replace(path: Path, content: str) -> None:
    try:
        with replacing(path) as partial:
            partial.write_text(content, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise OutputError(f"{path.name} cannot be written ({error.strerror or type(error).__name__}).",
                          "Free some space, or make the folder yours to write; then 'braintumorseg cohort --summary DIR' writes it.") from error
