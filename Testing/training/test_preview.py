from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from braintumorseg.errors import InputError, MissingFile, OutputError
from braintumorseg_training import preview
from braintumorseg_training.cli import main
from braintumorseg_training.data import Patches, Split, load_cases
from braintumorseg_training.preview import draw_heads, draw_patches
from braintumorseg_training.unlabelled import UNLABELLED


def rows_of(monkeypatch):
    """What is given to draw_page, kept."""
    seen = []
    monkeypatch.setattr(preview, "draw_page", lambda rows, *rest: seen.extend(rows) or _draw(rows, *rest))
    return seen


_draw = preview.draw_page


def test_a_row_shows_the_patch_that_the_network_would_be_given(packed, tiny, tmp_path, monkeypatch):
    rows, config = rows_of(monkeypatch), replace(tiny, intensity=0.0, low_resolution=0.0, spatial=0.0, transplant=0.0, tumour_share=1.0)
    draw_patches(config, packed, Split(("case0", "case2"), ("case3",)), tmp_path / "sheet.png", count=8)
    assert Image.open(tmp_path / "sheet.png").size[0] >= 640
    patches = Patches(load_cases(packed, ("case0", "case2")), config, 0, 8)
    assert any(row[4].labels.any() for row in rows)
    for row, (image, labels) in zip(rows, patches, strict=False):
        area = (labels.numpy() > 0).sum((0, 1))
        at = int(area.argmax()) if area.any() else 8
        assert np.array_equal(row[4].labels, labels.numpy()[::-1, ::-1, at].T)
        for panel, sequence in zip(row[:4], image, strict=True):
            assert panel.grey.any() == sequence[:, :, at].any()
            assert panel.labels is None
            assert not ("taken away" in panel.title and sequence.any())
        assert row[4].title in ("case0", "case2")


def test_what_was_done_is_named_where_it_was_done(packed, tiny):
    config, told = replace(tiny, transplant=1.0, elastic=1.0, all_sequences_share=0.5), []
    patches = Patches(load_cases(packed), config, 0, 16)
    for number in range(16):
        notes = []
        looked = patches.look(number, lambda what, role="", notes=notes: notes.append((role, what)))
        assert all((a == b).all() for a, b in zip(looked, patches[number], strict=True))   # being told changes nothing
        told += notes
    assert {"t1", "t1ce", "t2", "flair", ""} == {role for role, _ in told}
    for what in ("case", "lesion of case", "turned", "times as large, bent", "flipped", "blurred", "gamma", "uneven coil", "noise", "taken away"):
        assert any(said.startswith(what) or said.endswith(what) for _, said in told), what


def test_made_up_heads_are_drawn_with_their_brain(label_maps, tiny_brain, tmp_path, monkeypatch):
    rows = rows_of(monkeypatch)
    draw_heads(replace(tiny_brain, empty_share=0.0), label_maps, None, tmp_path / "heads.png", count=2)
    assert Image.open(tmp_path / "heads.png").format == "PNG"
    for row in rows:
        assert [panel.labels is None for panel in row] == [True, False, False, False]
        assert all(panel.labels.any() and not panel.labels.all() for panel in row[1:])
    draw_heads(replace(tiny_brain, empty_share=1.0), label_maps, Split(("one",), ()), tmp_path / "heads.png", count=1)
    assert rows[-1][0].title == "image 0, no brain in it"


def test_another_seed_draws_others_and_the_same_one_the_same(packed, tiny, tmp_path):
    for name, seed in (("a", None), ("b", 7), ("c", 8)):
        draw_patches(tiny, packed, None, tmp_path / name, count=1, seed=seed)
    a, b, c = ((tmp_path / name).read_bytes() for name in "abc")
    assert a == b != c


def test_nothing_to_draw_and_no_place_to_draw_it_are_said(packed, tiny, tiny_brain, tmp_path, monkeypatch, capsys):
    with pytest.raises(MissingFile, match="no label maps"):
        draw_heads(tiny_brain, tmp_path, None, tmp_path / "x.png", count=1)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        draw_patches(tiny, packed, None, tmp_path / "file" / "x.png", count=1)
    monkeypatch.setattr(preview, "load_cases", lambda folder: [replace(case, cohort=UNLABELLED) for case in load_cases(folder)])
    with pytest.raises(InputError, match="no labelled case"):
        draw_patches(tiny, packed, None, tmp_path / "x.png", count=1)
    with pytest.raises(SystemExit) as stop:
        main(["preview", "--data", str(packed), "--count", "0", "--out", str(tmp_path / "x.png")])
    assert stop.value.code == 2
    assert not (tmp_path / "x.png").exists()
