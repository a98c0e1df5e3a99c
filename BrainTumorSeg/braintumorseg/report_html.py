"""report.html: the report as one page for reading and printing."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from .diameters import HOLLOW, MEASURABLE_MM
from .diameters import MOST_LESIONS as MOST_MEASURED
from .html_page import Html, Number, join, page, section, table, tag, text
from .labels import REGIONS
from .measure import LABEL_VALUES, estimated
from .model_card import ModelCard
from .overlay_page import OUTLINES
from .study import TITLES

__all__ = ["write_report_html"]

# Smaller pieces and more of them are for programs: in report.json.
SMALLEST_LESION_ML = 0.05
MOST_LESIONS = 20
# Slices along the skull base, as most are planned, nod by less; from here on a number from straight slices may differ.
OBLIQUE_DEG = 20.0
_REGIONS = {"WT": "Whole tumour (WT)", "TC": "Tumour core (TC)", "ET": "Enhancing tumour (ET)"}
_SEVERITIES = {"warning": "Warning", "info": "Note"}


def write_report_html(report: Mapping, overlay: Path, path: Path, card: ModelCard, steps: Path | None = None) -> None:
    """Write one self-contained HTML file: nothing in it is loaded from elsewhere, and nothing in it runs.

    Args:
        report: from `build_report`.
        overlay: the PNG of `draw_overlay`; its bytes go into the file.
        path: the file to write.
        card: of the network that made the segmentation.
        steps: the PNG of `draw_steps`, where there is one.
    """
    title = "Brain tumour segmentation report"
    whole = page(title, join([
        tag("h1", title),
        tag("p", f"Made on {report['made_at'].replace('T', ' at ')}", "faint"),
        tag("p", report["research_use_only"], "use"),
        table("", (), list(map(list, report.get("patient", {}).items()))),
        _flags(report),
        _overlay(report, overlay),
        _volumes(report, card),
        _lesions(report),
        _provenance(report, card, steps),
        _network(card),
    ]))
    # A file name that is no valid Unicode must not cost the report.
    path.write_text(whole, encoding="utf-8", errors="backslashreplace")


def _flags(report: Mapping) -> Html:
    items = [tag("li", join([tag("strong", _SEVERITIES[flag["severity"]] + ":"), flag["text"]]),
                 f"flag {flag['severity']}") for flag in report["flags"]]
    listed = tag("ul", join(items), "flags") if items else tag("p", "No check of this result raised a flag.")
    return section("What to be careful about", listed)


def _overlay(report: Mapping, overlay: Path) -> Html:
    axes = report["enhancing_mm"]
    through = f"the largest lesion, the {axes['plane']} one where the diameters lie," if axes else "the largest lesion"
    what = (f"Three planes through {through} in each sequence, plain and with the outlines of the segmentation."
            if report["lesions"] else "Middle slices of each sequence; no tumour was found.")
    return _figure(overlay, f"{what} The volumes are in the tables below.", f"{what} Axial and coronal: the patient's right is on the left.")


def _figure(picture: Path, instead: str, caption: str) -> Html:
    png = picture.read_bytes()
    width, height = (int.from_bytes(png[at:at + 4], "big") for at in (16, 20))  # of the IHDR chunk, so that nothing jumps
    return Html(f'<figure><img width="{width}" height="{height}" alt="{escape(instead)}" '
                f'src="data:image/png;base64,{base64.b64encode(png).decode("ascii")}">'
                f"<figcaption>{escape(caption)}</figcaption></figure>")


def _volumes(report: Mapping, card: ModelCard) -> Html:
    volumes, by_value = report["volumes_ml"], {label.value: label for label in card.labels}
    regions = [[_marked(_REGIONS[name], name, report), " + ".join(label for label, value in LABEL_VALUES.items() if value in values),
                _ml(volumes["regions"][name]), *_sure(report, name)] for name, values in REGIONS.items()]
    labels = [[Html(f"{_swatch(OUTLINES[value])}{text(_marked(f'{by_value[value].name} ({name})', name, report))}"),
               _ml(volumes["labels"][name])] for name, value in LABEL_VALUES.items()]
    heads = ("Region", "Labels", "ml", *(("Expected Dice",) if report["expected_dice"] else ()))
    tables = join([table("Regions", heads, regions), table("Labels", ("Label", "ml"), labels)])
    return section("Volumes", Html(tag("div", tables, "tables") + _enhancing(report)))


def _marked(words: str, structure: str, report: Mapping) -> str:
    """`words` for a region or label, with what a reader of its number must know beside it."""
    return f"{words}, estimated without T1ce" if structure in estimated(report["missing"]) else words


def _sure(report: Mapping, region: str) -> list:
    """The cell with the region's expected Dice, where several looks gave one for some region."""
    expected = report["expected_dice"]
    return [Number(f"{expected[region]:.2f}") if region in expected else "not estimated"] if expected else []


def _enhancing(report: Mapping) -> Html:
    if estimated(report["missing"]):
        return tag("p", "Without T1 after contrast (T1ce) nobody can see what enhances: the numbers marked here are estimates from the other "
                        "sequences, not to be read as enhancement, and no diameters are given.", "use")
    axes = report["enhancing_mm"]
    if not axes:
        return Html("")
    tilt = f", {axes['tilt_deg']:.0f}° oblique" if axes["tilt_deg"] >= OBLIQUE_DEG else ""
    image = f", image {axes['image']} of the {_title(report['reference'])} series" if axes["image"] is not None else ""
    cut = f", reformatted from {_title(report['reference'])}" if axes["slice"] is None else ""
    other = "" if axes["plane"] == "axial" else " Not axial: not comparable with axial measurements."
    hollow = " RANO does not measure across a cyst or the cavity of an operation: look what they lie across." if _across_gaps(axes) else ""
    largest = tag("p", f"Largest enhancing lesion on one {axes['plane']} slice: {_lengths(axes)} (longest diameter and the longest across it"
                       f"{_across_gaps(axes)}) at {axes['position']}{tilt}{image}{cut}{_why_not(axes)}.{hollow}{other}")
    return Html(largest + _measurable(report))


def _measurable(report: Mapping) -> Html:
    """The lesions whose products RANO adds up; '' where that is the largest alone, or none is measurable."""
    lesions = report["enhancing_lesions_mm"]
    if lesions in ([], [report["enhancing_mm"]]):
        return Html("")
    counted = lesions[:MOST_MEASURED]
    rows = [[number, *(Number(f"{one[axis]:.1f}") for axis in ("long", "short")), Number(f"{one['product_mm2']}"),
             one["position"] + (f", {one['side']}" if one["side"] else "") + _across_gaps(one)] for number, one in enumerate(counted, 1)]
    more = f" RANO counts {MOST_MEASURED} at most; {len(lesions) - MOST_MEASURED} more in report.json." if lesions[MOST_MEASURED:] else ""
    return Html(table("Measurable enhancing lesions (RANO), largest first", ("No.", "Long axis, mm", "Short axis, mm", "Product, mm²", "Place"), rows)
                + tag("p", f"Sum of their products: {report['sum_of_products_mm2']} mm².{more}"))


def _across_gaps(axes: Mapping) -> str:
    return ", across necrosis and gaps" if axes["filled"] < HOLLOW else ""


def _why_not(axes: Mapping) -> str:
    """', not measurable by RANO (...)', or '' where the lesion is."""
    if axes["measurable"]:
        return ""
    limit = axes["measurable_from_mm"]
    if axes["short"] < limit:
        thick = ", twice the distance of its slices" if limit > MEASURABLE_MM else ""
        return f", not measurable by RANO (below {limit:.3g} mm{thick})"
    return f", not measurable by RANO ({limit:.3g} mm are reached, but on one slice)"


def _lengths(axes: Mapping) -> str:
    """To a millimetre, and to a tenth below the limit of what is measurable, so that 9.6 is not shown as 10."""
    return " x ".join(f"{mm:.0f}" if mm >= axes["measurable_from_mm"] else f"{mm:.1f}" for mm in (axes["long"], axes["short"])) + " mm"


def _lesions(report: Mapping) -> Html:
    lesions = report["lesions"]
    if not lesions:
        return section("Lesions", tag("p", "No lesion was found."))
    with_side = lesions[0]["side"] is not None
    rows = [[number, *(_ml(lesion["regions_ml"][name]) for name in REGIONS), *([lesion["side"]] if with_side else []),
             ", ".join(str(round(mm)) for mm in lesion["centre_mm_ras"])]
            for number, lesion in enumerate(lesions[:MOST_LESIONS], 1) if number == 1 or lesion["ml"] >= SMALLEST_LESION_ML]
    more = len(lesions) - len(rows)
    return section("Lesions", join([
        table("Separate pieces of the whole tumour, largest first",
              ("No.", *(_marked(f"{name} ml", name, report) for name in REGIONS), *(["Side of the patient"] if with_side else []),
               "Centre in world coordinates (RAS), mm"), rows),
        tag("p", f"And {more} smaller, in report.json.", "faint") if more else Html("")]))


def _provenance(report: Mapping, card: ModelCard, steps: Path | None) -> Html:
    model = report["model"]
    facts = [["Network", f"{model['name']} {model['version']}"],
             ["SHA-256", model["sha256"]],
             ["Licence", card.licence or "not stated"],
             ["Computed with", join(filter(None, (report["provider"], report["precision"], report["provider_note"])))],
             ["Forward passes", report["passes"]],
             ["Looks", _looks(report)],
             ["Result on the grid of", _title(report["reference"])],
             ["Missing sequences", ", ".join(map(_title, report["missing"])) or "none"],
             ["Brain", _brain(report["brain"])],
             ["Software", ", ".join(f"{name} {number}" for name, number in report["software"].items()) or "not stated"]]
    images = [[_title(role), what["grid"], what["recognised"], report["alignment"].get(role, "reference")]
              for role, what in report["sequences"].items()]
    return section("How it came about", join([
        table("", (), facts),
        table("Images", ("Sequence", "Grid", "Recognised by", "Alignment"), images),
        table("Not used", ("What", "Why"), [[one["what"], one["why"]] for one in report["left_out"]]),
        _figure(steps, "The brain's outline on each sequence, as scanned and as aligned; the table above says how far each was moved.",
                "The brain's outline as it lies in the reference, on every sequence: where it fits, the sequence lies right.") if steps else Html(""),
        _times(report["seconds"])]))


def _looks(report: Mapping) -> str:
    looks = report["looks"]
    return f"{looks}, each but the first without one sequence, averaged; where they disagree the expected Dice falls" if looks > 1 else "1"


def _brain(brain: Mapping | None) -> str:
    if not brain:
        return "the images show it alone"
    apart = ", ".join(f"{_title(role)} {dice:.2f}" for role, dice in brain["agreement"].items())
    return f"{brain['ml']:.0f} ml, {brain['found']}" + (f" (overlap of each with all, Dice: {apart})" if apart else "")


def _times(seconds: Mapping[str, float]) -> Html:
    longest = max([*seconds.values(), 1e-6])
    bars = [[step, Number(f"{took:.1f}"),
             Html(f'<svg class="bar" aria-hidden="true"><rect width="{100 * took / longest:.1f}%" height="100%"/></svg>')]
            for step, took in seconds.items()]
    return table(f"Time: {sum(seconds.values()):.1f} s in all", ("Step", "s", "Share"), bars)


def _network(card: ModelCard) -> Html:
    data = [[one.get("name", ""), one.get("cases", ""), one.get("licence", ""), one.get("citation", "")]
            for one in card.training_data]
    heads = ["Name", "Cases", "Licence", "Citation"]
    kept = [at for at in range(len(heads)) if at == 0 or any(row[at] for row in data)]
    return section(f"The network: {card.name} {card.version}", join([
        table("", (), [["Task", card.task], ["Intended use", card.intended_use or "not stated"]]),
        tag("h3", "Limits"),
        tag("ul", join(tag("li", limit) for limit in card.limits)) if card.limits else tag("p", "Not stated."),
        tag("h3", "Training data"),
        table("", [heads[at] for at in kept], [[row[at] for at in kept] for row in data]) or tag("p", "Not stated."),
        tag("h3", "Measured quality"),
        _metrics(card.metrics) or tag("p", "Not stated.")]))


def _metrics(metrics: Mapping[str, object]) -> Html:
    """What the card says of its network's quality: facts first, then a table for each mapping, however deep it is."""
    facts = [[_words(key), _plain(value)] for key, value in metrics.items() if not isinstance(value, Mapping)]
    return Html("".join([table("", (), facts), *(_scores(_words(key), value) for key, value in metrics.items()
                                                 if isinstance(value, Mapping))]))


def _scores(caption: str, values: Mapping) -> Html:
    rows = list(_innermost(values, ()))
    columns = list(dict.fromkeys(column for _, leaf in rows for column in leaf))
    return table(caption, ("", *map(_words, columns)),
                 [[" ".join(place), *(_cell(leaf.get(column, "")) for column in columns)] for place, leaf in rows])


def _innermost(values: Mapping, place: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Mapping]]:
    """(names on the way, {name: value}) of every level that holds values: one row of a table each."""
    flat = {key: value for key, value in values.items() if not isinstance(value, Mapping)}
    if flat:
        yield place, flat
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _innermost(value, (*place, str(key)))


def _cell(value: object) -> str:
    return Number(_plain(value)) if isinstance(value, int | float) else _plain(value)


def _plain(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_plain, value))
    return "" if value is None else str(value)


def _words(key: object) -> str:
    words = str(key).replace("_", " ")
    return words[:1].upper() + words[1:]


def _title(role: str) -> str:
    return TITLES.get(role, role)


def _ml(ml: float) -> Number:
    return Number(f"{ml:.1f}" if ml >= 1 or not ml else f"{ml:.2f}")


def _swatch(rgb: Sequence[int]) -> Html:
    return Html(f'<span class="swatch" style="background: rgb({", ".join(str(int(part)) for part in rgb)})"></span>')
