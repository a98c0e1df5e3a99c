"""A page of HTML from Python: all text is escaped unless it is HTML already, and the page loads nothing from elsewhere."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from html import escape

__all__ = ["Html", "Number", "join", "page", "section", "table", "tag", "text"]

_STYLE = """
:root { color-scheme: light dark; --page: #fff; --ink: #1b1d22; --faint: #5c626e; --line: #d9dce3; --warn: #fff4d6;
  --warn-line: #d99a00; --note: #eef3fb; --note-line: #4a7bc8; --bar: #7fa3d8; }
@media (prefers-color-scheme: dark) { :root { --page: #16181d; --ink: #e9ebf0; --faint: #a2a9b6; --line: #363b46;
  --warn: #3a2f12; --note: #1d2838; --bar: #4f76b3; } }
* { box-sizing: border-box; }
body { font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: var(--ink);
  background: var(--page); max-width: 68rem; margin: 0 auto; padding: 1.5rem; }
h1 { font-size: 1.6rem; margin: 0 0 .5rem; }
h2 { font-size: 1.15rem; margin: 2rem 0 .5rem; }
h3 { font-size: 1rem; margin: 1.2rem 0 .3rem; }
p { margin: .4rem 0; }
.faint { color: var(--faint); }
.use, .flag { border-left: 5px solid var(--warn-line); background: var(--warn); padding: .5rem .8rem; margin: .5rem 0; }
.flag.info { border-color: var(--note-line); background: var(--note); }
ul.flags { list-style: none; padding: 0; }
figure { margin: 1rem 0; }
img { display: block; max-width: 100%; height: auto; background: #0e0e10; }
figcaption { color: var(--faint); font-size: .9rem; margin-top: .3rem; }
.tables { display: flex; flex-wrap: wrap; gap: 0 4rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; margin: .4rem 0 1rem; }
caption { text-align: left; font-weight: 600; padding-bottom: .2rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem 1.2rem .25rem 0; border-bottom: 1px solid var(--line); }
td, th { overflow-wrap: break-word; }
.long { min-width: 8rem; }
.unbroken { overflow-wrap: anywhere; }
tbody th { font-weight: 400; }
.full { width: 100%; }
.full tbody { break-inside: avoid; }
.above > * { border-bottom: 0; break-after: avoid; }
.beside { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; align-items: flex-start; }
.beside > div { flex: 1 1 16rem; }
.beside .flag { margin-top: 0; }
.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.swatch { display: inline-block; width: .8em; height: .8em; border: 1px solid var(--faint); margin-right: .5em; }
.bar { display: block; width: 14rem; height: .8em; margin-top: .4em; }
.bar rect { fill: var(--bar); }
.swatch, .bar { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
@media (max-width: 30rem) { body { padding: 1rem; } th, td { padding-right: .6rem; } .number { white-space: normal; } }
@page { size: A4; margin: 14mm; }
@media print {
  :root { font-size: 11px; color-scheme: light; --page: #fff; --ink: #000; --faint: #444; --line: #bbb; --warn: #fff;
    --note: #fff; }
  body { font-size: 1rem; padding: 0; max-width: none; }
  figure, tr, .flag { break-inside: avoid; }
  thead { display: table-header-group; break-after: avoid; }
  .wide { overflow: visible; }
  h2, h3, caption { break-after: avoid; }
  img { max-height: 165mm; width: auto; }
}
"""


class Html(str):
    """Text that is HTML already and is not escaped again."""


# Of a cell with more text no column gets so narrow that it holds a word a line; a hash or an id that is longer may be broken anywhere, or
# it would make its table wider than any small screen.
_LONG = 24


class Number(Html):
    """A table cell that is set flush right."""


def text(value: object) -> Html:
    return value if isinstance(value, Html) else Html(escape(str(value)))


def join(parts: Iterable[object]) -> Html:
    return Html("\n".join(text(part) for part in parts))


def tag(name: str, inner: object, style: str = "") -> Html:
    """<name class="style">inner</name>"""
    attribute = f' class="{escape(style)}"' if style else ""
    return Html(f"<{name}{attribute}>{text(inner)}</{name}>")


def section(title: str, inner: object) -> Html:
    return Html(f"<section>\n{tag('h2', title)}\n{text(inner)}\n</section>")


def table(caption: str, heads: Sequence[str], rows: Sequence[Sequence[object]], below: Sequence[object] = ()) -> Html:
    """A table with `heads` above its columns (none for a list of facts); a row's first cell is its header. '' without rows.

    below: for each row what stands under it over the whole width; the table is then as wide as the page.
    """
    if not rows:
        return Html("")
    top = tag("caption", caption) if caption else ""
    if heads:
        cells = (f'<th scope="col"{_right(cell)}>{text(head)}</th>' for head, cell in zip(heads, rows[0], strict=True))
        top += f"<thead><tr>{''.join(cells)}</tr></thead>"
    lines = [f'<th scope="row"{_style(first)}>{text(first)}</th>{"".join(f"<td{_style(cell)}>{text(cell)}</td>" for cell in rest)}'
             for first, *rest in rows]
    if below:
        bodies = (f'<tbody>\n<tr class="above">{line}</tr>\n<tr><td colspan="{len(rows[0])}">{text(under)}</td></tr>\n</tbody>'
                  for line, under in zip(lines, below, strict=True))
        return Html(f'<div class="wide"><table class="full">{top}{join(map(Html, bodies))}</table></div>')
    whole = join(Html(f"<tr>{line}</tr>") for line in lines)
    return Html(f'<div class="wide"><table>{top}<tbody>\n{whole}\n</tbody></table></div>')


def page(title: str, body: object, *, beside: bool = False) -> str:
    """The whole document. Its policy makes browsers refuse scripts and outside content, whatever a name might smuggle in.

    With `beside` pictures may lie in the folders beside the page (browsers differ in what 'self' is on a disk); without, it holds them all.
    """
    pictures = "data: 'self' file:" if beside else "data:"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src {pictures}; style-src 'unsafe-inline'">
<title>{escape(title)}</title>
<style>{_STYLE}</style>
</head>
<body>
<main>
{text(body)}
</main>
</body>
</html>
"""


def _right(cell: object) -> str:
    return ' class="number"' if isinstance(cell, Number) else ""


def _style(cell: object) -> str:
    if isinstance(cell, Number):
        return _right(cell)
    words = (re.sub("<[^>]*>", " ", cell) if isinstance(cell, Html) else str(cell)).split()
    if max(map(len, words), default=0) > _LONG:
        return ' class="long unbroken"'
    return ' class="long"' if sum(map(len, words)) > _LONG else ""
