import re

from braintumorseg.html_page import Html, Number, page, table

HASH = "0123456789abcdef" * 4


def cells(html):
    """(class, text) of every cell."""
    return re.findall(r'<t[hd](?: scope="\w+")?(?: class="([^"]*)")?(?: colspan="\d+")?>(.*?)</t[hd]>', html)


def test_only_a_word_too_long_for_a_small_screen_may_be_broken_and_long_text_keeps_a_readable_column():
    link = Html(f'<a href="{HASH}">short</a>')
    found = cells(table("", (), [["SHA-256", HASH], ["Grid", "182 x 218 x 182 voxels of 1 x 1 x 1 mm"], ["ml", Number("3.0")], [HASH, link]]))
    assert [style for style, _ in found] == ["", "long unbroken", "", "long", "", "number", "long unbroken", ""]
    style = page("x", "")
    assert re.search(r"td, th \{ overflow-wrap: break-word; \}", style)
    assert re.search(r"\.unbroken \{ overflow-wrap: anywhere; \}", style)


def test_what_stands_below_a_row_has_the_whole_width_and_stays_with_it():
    html = table("", ("No.", "ml"), [[1, Number("3.0")], [2, Number("4.0")]], [Html("<p>first</p>"), "<second>"])
    bodies = re.findall(r"<tbody>(.*?)</tbody>", html, re.S)
    assert [re.findall(r"<t[hd][^>]*>", body) for body in bodies] == [['<th scope="row">', '<td class="number">', '<td colspan="2">']] * 2
    assert "<p>first</p>" in bodies[0] and "&lt;second&gt;" in bodies[1]
    assert re.findall(r"<table[^>]*>", html) == ['<table class="full">']


def test_a_table_longer_than_a_page_is_printed_from_where_it_stands_and_its_rows_are_whole():
    printed = page("x", "").partition("@media print")[2]
    kept = next(line for line in printed.splitlines() if "break-inside: avoid" in line).partition("{")[0].replace(" ", "").split(",")
    assert "tr" in kept and "table" not in kept


def test_no_rows_are_no_table():
    assert table("caption", ("a",), []) == ""
