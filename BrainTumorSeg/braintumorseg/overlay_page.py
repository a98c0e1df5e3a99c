"""Grey pictures with outlined labels and lines of measurement, laid out on one dark page with orientation marks, a legend and a scale bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from .labels import ED, ET, NCR

__all__ = ["OUTLINES", "LegendEntry", "Line", "Panel", "draw_outlines", "draw_page", "draw_small", "save_page", "text_font"]

WIDEST_PX, TALLEST_PX = 1600, 1700  # about: the panels' rows are at most that high
LARGEST_SCALE = 3.0   # pixels a mm: more shows no more of a brain
FILL = 0.16
GAP, MARGIN = 6, 14   # pixels
SCALE_BAR_MM = 50
BACKGROUND, TEXT, FAINT = (14, 14, 16), (236, 236, 240), (150, 150, 158)
MARK = (240, 200, 90)
RULER = (255, 255, 255)
# A tumour's parts in every picture: vermillion, sky blue and yellow of Okabe and Ito's colours (https://jfly.uni-koeln.de/color), which people with
# deuteranopia or protanopia tell apart (33 and more in CIELAB; those that DICOM recommends, 5). On bright tissue the dark halo shows them.
OUTLINES = {NCR: (213, 94, 0), ED: (86, 180, 233), ET: (240, 228, 66)}
HALO = 0.15   # of the grey that is left beside an outline


@dataclass(frozen=True)
class Line:
    """A straight line on a panel and what is written beside its first end; the ends are (column, row) of the panel's grey, pixel centres at whole
    numbers."""

    ends: tuple[tuple[float, float], tuple[float, float]]
    text: str = ""


@dataclass(frozen=True, eq=False)
class Panel:
    """One slice as it is shown: rows run down, columns to the right.

    grey: (rows, columns) uint8. labels: (rows, columns) uint8 to outline, or None for the plain image. pixel_mm: (across, down).
    marks: anatomical letters at the left, right, top and bottom. lines: drawn on it, on a page.
    """

    title: str
    grey: np.ndarray
    labels: np.ndarray | None
    pixel_mm: tuple[float, float]
    marks: tuple[str, str, str, str]
    lines: tuple[Line, ...] = ()

    @property
    def size_mm(self) -> tuple[float, float]:
        """Width and height."""
        rows, columns = self.grey.shape
        return columns * self.pixel_mm[0], rows * self.pixel_mm[1]


@dataclass(frozen=True)
class LegendEntry:
    """A line of the legend, with the colour of its label if it has one."""

    text: str
    rgb: tuple[int, int, int] | None = None


def draw_page(rows: Sequence[Sequence[Panel]], title: str, legend: Sequence[LegendEntry],
              colours: dict[int, tuple[int, int, int]], fill: float = FILL):
    """A PIL image, at most 1600 pixels wide: `rows` of panels at one common scale, `title` above, `legend` and scale bar below.

    Args:
        rows: as many panels in each row.
        title: one line.
        legend: flows over as many lines as it needs.
        colours: label value -> RGB of its outline.
        fill: how much of its colour a label leaves on the image inside its outline, 0..1.
    """
    from PIL import Image, ImageDraw

    widths_mm = np.array([[panel.size_mm[0] for panel in row] for row in rows]).max(axis=0)   # (columns,)
    heights_mm = np.array([[panel.size_mm[1] for panel in row] for row in rows]).max(axis=1)  # (rows,)
    room = WIDEST_PX - 2 * MARGIN - GAP * (len(widths_mm) - 1)
    scale = min(LARGEST_SCALE, room / widths_mm.sum(), TALLEST_PX / heights_mm.sum())
    widths, heights = np.floor(widths_mm * scale).astype(int), np.floor(heights_mm * scale).astype(int)
    width = max(int(widths.sum()) + GAP * (len(widths) - 1) + 2 * MARGIN, 640)
    lines = _flow(legend, width - 2 * MARGIN - int(SCALE_BAR_MM * scale) - 90)
    top = MARGIN + 30
    bottom = top + int(heights.sum()) + GAP * len(heights)

    page = Image.new("RGB", (width, bottom + 30 * len(lines) + MARGIN), BACKGROUND)
    draw = ImageDraw.Draw(page)
    draw.text((MARGIN, MARGIN - 2), title, fill=TEXT, font=text_font(20))
    for row, y, height in zip(rows, top + _starts(heights), heights, strict=True):
        for panel, x, column in zip(row, MARGIN + _starts(widths), widths, strict=True):
            _draw_panel(page, draw, panel, (int(x), int(y), int(column), int(height)), scale, colours, fill)
    _draw_legend(draw, lines, bottom + 6)
    _draw_scale_bar(draw, (width - MARGIN, bottom + 10), scale)
    return page


def draw_small(rows: Sequence[Sequence[Panel]], colours: dict[int, tuple[int, int, int]], size: tuple[int, int]):
    """A PIL image of the pictures alone, as large as fits into `size` (width, height) in pixels: `rows` of as many panels each, side by side
    at one common scale, no letter on them. `colours` as in `draw_page`."""
    from PIL import Image

    widths_mm = np.array([[panel.size_mm[0] for panel in row] for row in rows]).max(axis=0)   # (columns,)
    heights_mm = np.array([[panel.size_mm[1] for panel in row] for row in rows]).max(axis=1)  # (rows,)
    scale = min(size[0] / widths_mm.sum(), size[1] / heights_mm.sum())
    right, down = (np.concatenate(([0], np.cumsum(sides))) * scale for sides in (widths_mm, heights_mm))
    image = Image.new("RGB", (max(1, int(right[-1])), max(1, int(down[-1]))))
    for row, y in zip(rows, down.astype(int), strict=False):
        for panel, x in zip(row, right.astype(int), strict=False):
            pixels = tuple(max(1, int(mm * scale)) for mm in panel.size_mm)
            image.paste(Image.fromarray(_picture(panel, pixels, colours, FILL)), (int(x), int(y)))
    return image


def save_page(page, path: Path) -> None:
    """Write a page as PNG; at zlib's level 3 in half the time of the usual 6, and no larger."""
    page.save(path, "PNG", compress_level=3)


def _draw_panel(page, draw, panel: Panel, box: tuple[int, int, int, int], scale: float, colours, fill: float) -> None:
    from PIL import Image

    x, y, width, height = box
    size = tuple(max(1, min(limit, round(mm * scale))) for mm, limit in zip(panel.size_mm, (width, height), strict=True))
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=(0, 0, 0))
    corner = x + (width - size[0]) // 2, y + (height - size[1]) // 2
    page.paste(Image.fromarray(_picture(panel, size, colours, fill)), corner)
    _draw_lines(draw, panel, corner, size)

    left, right, up, down = panel.marks
    font, middle_x, middle_y = text_font(15), x + width // 2, y + height // 2
    for text, at, anchor in ((left, (x + 5, middle_y), "lm"), (right, (x + width - 5, middle_y), "rm"),
                             (up, (middle_x, y + 4), "mt"), (down, (middle_x, y + height - 4), "mb")):
        draw.text(at, text, fill=MARK, font=font, anchor=anchor, stroke_width=1, stroke_fill=(0, 0, 0))
    draw.text((x + 6, y + 4), panel.title, fill=TEXT, font=text_font(15), stroke_width=1, stroke_fill=(0, 0, 0))


def _draw_lines(draw, panel: Panel, corner: tuple[int, int], size: tuple[int, int]) -> None:
    rows, columns = panel.grey.shape
    scale = size[0] / columns, size[1] / rows
    places = [[np.array(corner) + (np.array(end) + 0.5) * scale for end in line.ends] for line in panel.lines]
    for colour, width in (((0, 0, 0), 3), (RULER, 1)):   # no line's halo cuts another
        for ends in places:
            draw.line([tuple(end) for end in ends], fill=colour, width=width)
    for line, (first, last) in zip(panel.lines, places, strict=True):
        away = (first - last) / max(np.linalg.norm(first - last), 1e-6)
        half = np.array([text_font(13).getlength(line.text) / 2 + 2, 8])
        middle = first + away * (4 + np.abs(away) @ half)   # of the text, which ends short of the line
        middle = np.clip(middle, np.array(corner) + half, np.array(corner) + size - half)
        draw.text(tuple(middle), line.text, fill=RULER, font=text_font(13), anchor="mm", stroke_width=2, stroke_fill=(0, 0, 0))


def _picture(panel: Panel, size: tuple[int, int], colours: dict[int, tuple[int, int, int]], fill: float) -> np.ndarray:
    """(rows, columns, RGB) of `size` (columns, rows): the panel's image, and its labels where it has some."""
    from PIL import Image

    image = np.asarray(Image.fromarray(panel.grey).resize(size, Image.Resampling.BICUBIC))
    image = np.repeat(image[:, :, None], 3, axis=2)
    if panel.labels is None:
        return image
    return draw_outlines(image, np.asarray(Image.fromarray(panel.labels).resize(size, Image.Resampling.NEAREST)), colours, fill)


def draw_outlines(image: np.ndarray, labels: np.ndarray, colours: dict[int, tuple[int, int, int]], fill: float = FILL) -> np.ndarray:
    """`image` (rows, columns, 3) with each label filled by a share of its colour and its rim, one pixel wide and inside it, in full colour; what
    is just outside all of them is darkened."""
    out = image.astype(np.float32)
    every = np.isin(labels, list(colours))
    out[_grown(every) & ~every] *= HALO
    for value, rgb in colours.items():
        inside = labels == value
        out[inside] += fill * (np.array(rgb, np.float32) - out[inside])
        out[inside & _grown(~inside, beyond=True)] = rgb
    return out.round().astype(np.uint8)


def _grown(mask: np.ndarray, beyond: bool = False) -> np.ndarray:
    """`mask` (rows, columns) and the pixels beside it; `beyond` the edge of the picture it is taken to go on, or not."""
    padded = np.pad(mask, 1, constant_values=beyond)
    return mask | padded[:-2, 1:-1] | padded[2:, 1:-1] | padded[1:-1, :-2] | padded[1:-1, 2:]


def _flow(legend: Sequence[LegendEntry], width: int) -> list[list[LegendEntry]]:
    lines, room = [[]], width
    for entry in legend:
        needed = _entry_width(entry)
        if needed > room and lines[-1]:
            lines.append([])
            room = width
        lines[-1].append(entry)
        room -= needed
    return lines


def _entry_width(entry: LegendEntry) -> int:
    return int(text_font(18).getlength(entry.text)) + (26 if entry.rgb else 0) + 28


def _draw_legend(draw, lines: list[list[LegendEntry]], y: int) -> None:
    for line in lines:
        x = MARGIN
        for entry in line:
            if entry.rgb:
                draw.rectangle((x, y + 3, x + 17, y + 19), fill=entry.rgb)
            draw.text((x + (26 if entry.rgb else 0), y + 11), entry.text, fill=TEXT, font=text_font(18), anchor="lm")
            x += _entry_width(entry)
        y += 30


def _draw_scale_bar(draw, right_top: tuple[int, int], scale: float) -> None:
    right, y = right_top
    left = right - round(SCALE_BAR_MM * scale)
    draw.line((left, y + 7, right, y + 7), fill=TEXT, width=2)
    for x in (left, right):
        draw.line((x, y + 2, x, y + 12), fill=TEXT, width=2)
    draw.text((left - 8, y + 7), f"{SCALE_BAR_MM // 10} cm", fill=FAINT, font=text_font(16), anchor="rm")


def _starts(sizes: np.ndarray) -> np.ndarray:
    """Where each of a run of boxes of these sizes begins, with a gap between them."""
    return np.cumsum(sizes + GAP) - sizes - GAP


@lru_cache
def text_font(size: int):
    from PIL import ImageFont

    return ImageFont.load_default(size=size)
