"""report.json keeps its keys and report.html is a closed, readable page whatever the names in it hold."""

import itertools
import json
from dataclasses import replace
from datetime import datetime
from html.parser import HTMLParser

import numpy as np
import pytest
from pydicom import Dataset

from braintumorseg.io.dicom import read_stack, scan_dicom
from braintumorseg.labels import ED, ET, NCR
from braintumorseg.measure import measure
from braintumorseg.model_card import Label, ModelCard
from braintumorseg.overlay import draw_overlay
from braintumorseg.quality import Flag, check
from braintumorseg.report import build_report
from braintumorseg.report_html import write_report_html
from braintumorseg.segmentation import Provenance, Segmentation
from braintumorseg.study import ROLES, Study
from braintumorseg.volume import Volume
from dicom_toys import enhanced, save, slices_of_volume, toy_volume

TABLE = (Label(NCR, "Necrosis", ("6574001", "SCT", "Necrosis"), (216, 191, 216)),
         Label(ED, "Edema", ("79654002", "SCT", "Edema"), (140, 224, 228)),
         Label(ET, "Enhancing", ("C113842", "NCIt", "Enhancing Lesion"), (128, 174, 128)))
CARD = ModelCard(
    name="glioma", version="1", task="Glioma", sha256="a" * 64, roles=ROLES, may_be_missing=ROLES, spacing_mm=(1.0, 1.0, 1.0),
    size_multiple=16, bytes_per_voxel=100.0, brain_only=True, regions=("WT", "TC", "ET"), labels=TABLE, licence="MIT",
    intended_use="Research.", limits=("Adults only.",),
    training_data=({"name": "A study", "licence": "CC BY 4.0", "cases": 19, "citation": "Someone 2021"},),
    metrics={"definition": "Dice", "split": "5 cases", "N": 5,
             "dice": {"WT": {"mean": 0.8765, "worst": 0.7, "worst_case": "case 3"}, "ET": {"mean": 0.61, "worst": None}},
             "dice_by_sequences": {"flair": {"WT": 0.8}}})
NASTY = "file name is <script>alert('Größe')</script> & \"腫瘍\""


class Page(HTMLParser):
    """What a reader without eyes gets: every tag with its attributes, and the text."""

    def __init__(self, source: str):
        super().__init__()
        self.tags, self.words, self.open = [], [], []
        self.feed(source)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.words.append(data)

    def of(self, name: str) -> list[dict]:
        return [attributes for tag, attributes in self.tags if tag == name]


def made(tumour: bool = True, why: str = "file name is t1ce"):
    voxels = np.zeros((30, 30, 30), np.int16)
    voxels[3:-3, 3:-3, 3:-3] = np.random.default_rng(0).integers(50, 150, (24, 24, 24))
    study = Study({"t1ce": Volume(voxels, np.diag([-1.0, -1, 1, 1])), "flair": Volume(voxels, np.diag([-1.0, -1, 1, 1]))})
    labels = np.zeros((30, 30, 30), np.uint8)
    if tumour:
        labels[10:20, 10:20, 10:20], labels[5, 5, 5:8] = ED, ET
    provenance = Provenance(
        "glioma", "1", "a" * 64, "CPUExecutionProvider", "no CUDA device was found", passes=1, reference="t1ce",
        missing=study.missing, roles={"t1ce": why, "flair": "said with --flair"}, alignment={"flair": "same grid"},
        seconds={"read": 0.5, "predict": np.float64(3.25)}, software={"numpy": "2.0"})
    return study, Segmentation(study.reference.with_voxels(labels), TABLE, provenance)


def written(folder, study, segmentation, card=CARD, report=None) -> tuple[str, Page]:
    folder.mkdir(exist_ok=True)
    draw_overlay(study, segmentation, folder / "overlay.png")
    report = report or build_report(study, segmentation, measure(segmentation), check(study, segmentation))
    write_report_html(report, folder / "overlay.png", folder / "report.html", card)
    source = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(source)
    assert page.open == []
    return source, page


def test_the_axes_of_the_enhancing_tumour_are_told_and_that_nothing_enhances():
    study, segmentation = made()
    labels = np.zeros(segmentation.labels.shape, np.uint8)
    labels[2:6, 3:5, 4] = ET
    spacing = segmentation.labels.spacing_mm
    told = build_report(study, replace(segmentation, labels=segmentation.labels.with_voxels(labels)), measure(segmentation), ())["enhancing_mm"]
    assert (told["plane"], told["tilt_deg"], told["slice"], told["image"]) == ("axial", 0.0, 4, None)
    assert (told["position"], told["centre_mm_ras"]) == ("S +4 mm", [-3.5, -3.5, 4.0])
    assert told["long"] == pytest.approx(np.hypot(4 * spacing[0], spacing[1]), abs=0.1)
    assert told["product_mm2"] == round(told["long"] * told["short"])
    assert (told["measurable"], told["measurable_from_mm"], told["slices"], told["filled"]) == (False, 10.0, 1, 1.0)
    for axis in ("long", "short"):
        ends = np.array(told[f"{axis}_ends_mm_ras"])
        assert np.linalg.norm(ends[1] - ends[0]) == pytest.approx(told[axis], abs=0.15)
        assert (ends >= [-5.5, -4.5, 4]).all() and (ends <= [-1.5, -2.5, 4]).all()          # I and J grow to the left and back
    none = replace(segmentation, labels=segmentation.labels.with_voxels(np.zeros_like(labels)))
    assert build_report(study, none, measure(none), ())["enhancing_mm"] is None


def enhancing(volume: Volume, box: tuple[slice, slice, slice], role: str = "t1ce", **of_study) -> tuple[Study, Segmentation]:
    """A study of one sequence, and ET in a box of its voxels."""
    study = Study({role: volume}, **of_study)
    labels = np.zeros(volume.shape, np.uint8)
    labels[box] = ET
    made_by = Provenance("glioma", "1", "a" * 64, "CPU", reference=role, missing=study.missing)
    return study, Segmentation(volume.with_voxels(labels), TABLE, made_by)


def noise(shape, affine) -> Volume:
    return Volume(np.random.default_rng(0).integers(50, 150, shape).astype(np.int16), affine)


def test_without_t1ce_there_are_no_diameters_and_every_number_that_rests_on_it_is_marked_as_an_estimate(tmp_path):
    study, segmentation = enhancing(noise((30, 30, 30), np.eye(4)), (slice(5, 25), slice(5, 20), slice(8, 18)), "flair")
    report = build_report(study, segmentation, measure(segmentation), check(study, segmentation))
    assert (report["enhancing_mm"], report["enhancing_lesions_mm"], report["sum_of_products_mm2"]) == (None, [], None)
    assert set(report["estimated_without_t1ce"]) == {"TC", "ET", "NCR"}
    _, page = written(tmp_path / "without", study, segmentation)
    for words in ("Whole tumour (WT) NCR", "Tumour core (TC), estimated without T1ce NCR", "Enhancing tumour (ET), estimated without T1ce ET 3.0",
                  "Enhancing (ET), estimated without T1ce 3.0", "Necrosis (NCR), estimated without T1ce", "Edema (ED) 0.0",
                  "ET ml, estimated without T1ce", "not to be read as enhancement, and no diameters are given"):
        assert words in page.text, words
    assert "Largest enhancing lesion" not in page.text
    _, page = written(tmp_path / "with", *enhancing(noise((30, 30, 30), np.eye(4)), (slice(5, 25), slice(5, 20), slice(8, 18))))
    assert "estimate" not in page.text
    assert "Largest enhancing lesion" in page.text


def test_the_plane_of_the_diameters_and_its_place_are_told(tmp_path):
    box = slice(4, 24), slice(4, 16), slice(5, 15)               # 20 x 12 x 10 voxels along I, J, K: 22.2 mm across I and K
    sagittal = np.array([[0, 0, 1.0, -30], [-1, 0, 0, 40], [0, -1, 0, 60], [0, 0, 0, 1]])   # I to the back, J down, K to the right
    study, segmentation = enhancing(noise((30, 30, 30), sagittal), box)
    _, page = written(tmp_path / "sagittal", study, segmentation)
    assert "on one axial slice: 22 x" in page.text              # 20 x 10 mm, not the 23 mm of the 20 x 12 as stored
    assert "at S +56 mm, reformatted from T1ce" in page.text    # of equal slices that of the lowest J, 4 mm below 60
    assert "Not axial" not in page.text
    assert build_report(study, segmentation, measure(segmentation), ())["enhancing_mm"]["slice"] is None
    coronal = np.array([[-1.0, 0, 0, 15], [0, 0, 5, -50], [0, -1, 0, 20], [0, 0, 0, 1]])    # thick slices, K to the front
    _, page = written(tmp_path / "coronal", *enhancing(noise((30, 30, 30), coronal), box))
    assert "on one coronal slice: 23 x" in page.text
    assert "at A -25 mm. Not axial: not comparable with axial measurements." in page.text
    nodding = np.eye(4)
    nodding[1:3, 1:3] = [[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]]
    _, page = written(tmp_path / "nodding", *enhancing(noise((30, 30, 30), nodding), box))
    assert "29° oblique" in page.text


def test_a_lesion_just_below_ten_mm_is_not_shown_as_ten_and_is_not_measurable(tmp_path):
    box = slice(5, 15), slice(5, 15), slice(8, 10)               # of 10 pixels: 13.45 along and across its diagonal
    _, page = written(tmp_path / "small", *enhancing(noise((30, 30, 30), np.diag([0.715, 0.715, 1, 1])), box))
    assert "9.6 x 9.6 mm" in page.text
    assert "not measurable by RANO (below 10 mm)" in page.text
    _, page = written(tmp_path / "large", *enhancing(noise((30, 30, 30), np.diag([0.75, 0.75, 1, 1])), box))
    assert "10 x 10 mm" in page.text
    assert "not measurable" not in page.text


def test_the_page_says_which_of_ranos_conditions_a_lesion_lacks(tmp_path):
    _, page = written(tmp_path / "one", *enhancing(noise((30, 30, 30), np.eye(4)), (slice(5, 20), slice(5, 20), slice(8, 9))))
    assert "not measurable by RANO (10 mm are reached, but on one slice)" in page.text
    _, page = written(tmp_path / "thick", *enhancing(noise((30, 30, 30), np.diag([0.8, 0.8, 5.6, 1])), (slice(5, 15), slice(5, 15), slice(8, 10))))
    assert "10.8 x 10.8 mm" in page.text
    assert "not measurable by RANO (below 11.2 mm, twice the distance of its slices)" in page.text


def test_every_measurable_lesion_is_listed_with_the_sum_that_ranos_follow_up_compares(tmp_path):
    study, segmentation = enhancing(noise((90, 60, 12), np.eye(4)), np.s_[2:26, 2:26, 3:6])
    labels = segmentation.labels.voxels.copy()
    for number in range(5):
        labels[30 + 11 * number:40 + 11 * number, 2:12 + number, 3:6] = ET
    labels[2:8, 40:46, 3:6] = ET                                 # too small
    several = replace(segmentation, labels=segmentation.labels.with_voxels(labels))
    report = build_report(study, several, measure(several), ())
    products = [one["product_mm2"] for one in report["enhancing_lesions_mm"]]
    assert len(products) == 6
    assert products == sorted(products, reverse=True)
    assert report["enhancing_lesions_mm"][0] == report["enhancing_mm"]
    assert report["sum_of_products_mm2"] == sum(products[:5])
    _, page = written(tmp_path / "several", study, several)
    assert "Measurable enhancing lesions (RANO), largest first No. Long axis, mm Short axis, mm Product, mm² Place 1 33." in page.text
    assert f"Sum of their products: {sum(products[:5])} mm². RANO counts 5 at most; 1 more in report.json." in page.text
    _, page = written(tmp_path / "one", study, segmentation)
    assert "Sum of their products" not in page.text
    assert build_report(study, segmentation, measure(segmentation), ())["sum_of_products_mm2"] == products[0]


def test_diameters_across_what_does_not_enhance_say_so(tmp_path):
    study, segmentation = enhancing(noise((60, 60, 12), np.eye(4)), np.s_[5:45, 5:45, 3:6])
    labels = segmentation.labels.voxels.copy()
    labels[8:42, 8:42] = 0
    _, page = written(tmp_path / "shell", study, replace(segmentation, labels=segmentation.labels.with_voxels(labels)))
    assert "the longest across it, across necrosis and gaps) at S +3 mm" in page.text
    assert "RANO does not measure across a cyst" in page.text
    _, page = written(tmp_path / "full", study, segmentation)
    assert "gaps" not in page.text


def in_bratsspace(tumour_at: slice) -> tuple[Study, Segmentation]:
    """A brain 140 mm wide whose every world x is negative, as in BraTS' files, with oedema over some of its columns; I grows to the left."""
    index = np.stack(np.indices((80, 90, 40)), axis=-1) - (40, 45, 20)
    inside = ((index / (35, 42, 18)) ** 2).sum(axis=-1) <= 1
    voxels = np.where(inside, np.random.default_rng(0).integers(50, 150, inside.shape), 0).astype(np.int16)
    affine = np.diag([-2.0, -2, 2, 1])
    affine[:3, 3] = (-38, 120, 10)
    study, segmentation = enhancing(Volume(voxels, affine), np.s_[tumour_at, 40:50, 18:22])
    return study, segmentation


@pytest.mark.parametrize("columns, side", [(slice(12, 30), "right"), (slice(50, 68), "left"), (slice(30, 50), "at the midline")])
def test_the_side_of_a_tumour_is_that_of_the_patient_wherever_the_origin_of_the_file_is(tmp_path, columns, side):
    study, segmentation = in_bratsspace(columns)
    report = build_report(study, segmentation, measure(segmentation), ())
    assert report["lesions"][0]["centre_mm_ras"][0] < 0
    assert report["lesions"][0]["side"] == report["enhancing_mm"]["side"] == side
    _, page = written(tmp_path, study, segmentation)
    x, y, z = (round(mm) for mm in report["lesions"][0]["centre_mm_ras"])
    assert f"{side} {x}, {y}, {z}" in page.text
    assert f"L {abs(x)}" not in page.text


def test_where_the_file_does_not_say_how_the_patient_lay_no_side_is_told():
    study, segmentation = in_bratsspace(slice(12, 30))
    assumed = {role: Volume(volume.voxels, volume.affine, assumed=True) for role, volume in study.volumes.items()}
    report = build_report(replace(study, volumes=assumed), segmentation, measure(segmentation), ())
    assert {lesion["side"] for lesion in report["lesions"]} == {report["enhancing_mm"]["side"]} == {None}


def test_where_the_brain_in_view_has_no_middle_no_side_is_told(tmp_path):
    study, segmentation = made()
    report = build_report(study, segmentation, measure(segmentation), ())
    assert {lesion["side"] for lesion in report["lesions"]} == {report["enhancing_mm"]["side"]} == {None}
    _, page = written(tmp_path, study, segmentation)
    assert "Side" not in page.text


def test_the_report_says_when_it_was_made(tmp_path):
    before = datetime.now().astimezone().replace(microsecond=0)
    study, segmentation = made()
    report = build_report(study, segmentation, measure(segmentation), ())
    when = datetime.fromisoformat(report["made_at"])
    assert when.utcoffset() is not None
    assert before <= when <= datetime.now().astimezone()
    _, page = written(tmp_path, study, segmentation, report=report)
    assert f"Made on {report['made_at'].replace('T', ' at ')}" in page.text


def from_top(volume: Volume) -> list:
    """The slices of a volume as a scanner numbers them that begins at the top."""
    slices = slices_of_volume(volume)
    for k, one in enumerate(slices):
        one.InstanceNumber = volume.shape[2] - k
    return slices


@pytest.mark.parametrize("datasets, of_scan, k, image", [
    (from_top(toy_volume()), {}, 2, 6),
    (from_top(toy_volume())[:4] + from_top(toy_volume())[5:], {"fill_gaps": True}, 6, 2),
    (from_top(toy_volume())[:4] + from_top(toy_volume())[5:], {"fill_gaps": True}, 4, None),   # made up from its neighbours
    (enhanced([toy_volume()]), {}, 2, 3),
], ids=["single images", "behind a gap", "in a gap", "multi-frame"])
def test_the_number_under_which_a_viewer_shows_the_slice_is_told(tmp_path, datasets, of_scan, k, image):
    if isinstance(datasets, list):
        for one in datasets:
            one.StudyInstanceUID, one.SeriesInstanceUID, one.FrameOfReferenceUID = "1.2.3", "1.2.3.4", "1.2.3.5"
    save(datasets, tmp_path / "dicom")
    stack, = scan_dicom([tmp_path / "dicom"], **of_scan).stacks
    study, segmentation = enhancing(read_stack(stack), (slice(2, 5), slice(2, 4), k), stacks={"t1ce": stack})
    axes = build_report(study, segmentation, measure(segmentation), ())["enhancing_mm"]
    assert (axes["plane"], axes["slice"], axes["image"]) == ("axial", k, image)
    _, page = written(tmp_path / "page", study, segmentation)
    assert (f"S {round(11 + 2.5 * k):+d} mm, image {image} of the T1ce series" in page.text) == (image is not None)
    for file in (tmp_path / "dicom").iterdir():
        file.write_bytes(b"")
    gone = build_report(study, segmentation, measure(segmentation), ())["enhancing_mm"]
    assert gone == axes | {"image": image if isinstance(datasets, Dataset) else None}    # a frame's number needs no file


def test_warnings_come_first_whoever_adds_the_last():
    study, segmentation = made()
    flags = Flag("a", "info", "A note."), Flag("b", "warning", "A warning."), Flag("c", "info", "Another note.")
    assert [flag["code"] for flag in build_report(study, segmentation, measure(segmentation), flags)["flags"]] == ["b", "a", "c"]


def test_the_report_survives_json_and_keeps_its_keys():
    study, segmentation = made()
    report = build_report(study, segmentation, measure(segmentation), check(study, segmentation))
    again = json.loads(json.dumps(report, allow_nan=False))
    assert again == report
    assert set(report) == {"format", "made_at", "research_use_only", "volumes_ml", "lesions", "estimated_without_t1ce", "enhancing_mm",
                           "enhancing_lesions_mm", "sum_of_products_mm2", "flags", "sequences", "left_out", "missing",
                           "reference", "alignment", "brain", "model", "provider", "provider_note", "precision",
                           "weights", "passes", "looks", "expected_dice", "signs", "seconds", "software"}
    assert report["format"] == "braintumorseg report 1"
    assert report["volumes_ml"] == {"labels": {"NCR": 0.0, "ED": 1.0, "ET": 0.003},
                                    "regions": {"WT": 1.003, "TC": 0.003, "ET": 0.003}}
    assert report["lesions"][1] == {"ml": 0.003, "regions_ml": {"WT": 0.003, "TC": 0.003, "ET": 0.003},
                                    "centre_mm_ras": [-5.0, -5.0, 6.0], "side": None}
    assert report["missing"] == ["t1", "t2"]
    assert report["estimated_without_t1ce"] == []
    assert report["sequences"]["flair"] == {"grid": "30 x 30 x 30 voxels of 1.00 x 1.00 x 1.00 mm, LPS", "spacing_mm": [1.0, 1.0, 1.0],
                                            "recognised": "said with --flair"}
    assert report["model"]["name"] == "glioma"
    assert report["model"]["sha256"] == "a" * 64
    assert {flag["severity"] for flag in report["flags"]} <= {"warning", "info"}
    assert "research use only" in report["research_use_only"]


def test_the_page_says_how_sure_several_looks_were(tmp_path):
    study, segmentation = made()
    sure = replace(segmentation.provenance, looks=3, expected_dice={"WT": 0.9312, "TC": np.float64(0.5)})
    _, page = written(tmp_path, study, replace(segmentation, provenance=sure))
    assert "Looks 3, each but the first without one sequence" in page.text
    assert "Region Labels ml Expected Dice" in page.text
    assert "Whole tumour (WT) NCR + ED + ET 1.0 0.93" in page.text
    assert "Tumour core (TC) NCR + ET 0.00 0.50" in page.text
    whole = replace(segmentation.provenance, looks=3, expected_dice={"WT": 0.9312})
    _, page = written(tmp_path, study, replace(segmentation, provenance=whole))
    assert "Whole tumour (WT) NCR + ED + ET 1.0 0.93" in page.text
    assert "Tumour core (TC) NCR + ET 0.00 not estimated" in page.text
    assert "Enhancing tumour (ET) ET 0.00 not estimated" in page.text
    _, page = written(tmp_path, study, segmentation)
    assert "Looks 1" in page.text
    assert "Expected Dice" not in page.text


def test_the_page_says_what_a_reader_must_know(tmp_path):
    _, page = written(tmp_path, *made())
    for words in ("For research use only", "Whole tumour (WT) NCR + ED + ET 1.0", "Edema (ED) 1.0", "T1 is missing",
                  "CPUExecutionProvider float32 no CUDA device was found", "a" * 64, "same grid", "Time: 3.8 s in all", "CC BY 4.0",
                  "Someone 2021", "19", "WT 0.876 0.700 case 3", "Adults only.", "5 cases", "-14, -14, 14", "And 1 smaller"):
        assert words in page.text, words


def test_the_page_loads_and_runs_nothing(tmp_path):
    source, page = written(tmp_path, *made())
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "object", "embed", "base", "form"})
    for _, attributes in page.tags:
        assert not any(name.startswith("on") or name in ("href", "srcset", "data") for name in attributes)
    image, = page.of("img")
    assert image["src"].startswith("data:image/png;base64,")
    assert "url(" not in source and "@import" not in source and "http://" not in source and "https://" not in source
    policy, = (meta["content"] for meta in page.of("meta") if "http-equiv" in meta)
    assert policy.startswith("default-src 'none'")


def test_names_that_hold_html_or_other_scripts_are_shown_as_they_are(tmp_path):
    study, segmentation = made(why=NASTY)
    card = replace(CARD, limits=(NASTY,), licence=NASTY, training_data=({"name": NASTY, "odd": NASTY},),
                   metrics={NASTY: {NASTY: {NASTY: NASTY}}}, labels=tuple(replace(label, name=NASTY) for label in TABLE))
    source, page = written(tmp_path, study, segmentation, card)
    assert "<script" not in source
    assert page.text.count(NASTY) >= 8
    _, page = written(tmp_path / "other", *made(why="file name is \udcff_t1"))
    assert "\\udcff_t1" in page.text


def test_the_page_can_be_read_without_seeing_it(tmp_path):
    _, page = written(tmp_path, *made())
    assert page.of("html")[0]["lang"] == "en"
    assert "volumes are in the tables" in page.of("img")[0]["alt"]
    assert all(cell["scope"] in ("row", "col") for cell in page.of("th"))
    levels = [int(tag[1]) for tag, _ in page.tags if tag in ("h1", "h2", "h3")]
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    assert "Warning:" in page.text and "Note:" in page.text  # not by colour alone


def test_an_empty_result_and_a_bare_card_make_a_whole_page(tmp_path):
    study, segmentation = made(tumour=False)
    bare = replace(CARD, licence="", intended_use="", limits=(), training_data=(), metrics={})
    _, page = written(tmp_path, study, replace(segmentation, provenance=Provenance("glioma", "1", "a" * 64, "CPU")), bare)
    assert "No tumour was found" in page.text
    assert "No lesion was found." in page.text
    assert page.text.count("Not stated.") == 3


def test_only_lesions_of_a_size_to_read_are_listed_and_the_rest_are_counted(tmp_path):
    study, segmentation = made()
    labels = np.zeros((30, 30, 30), np.uint8)
    labels[5:9, 5:9, 5:9] = ED               # 0.064 ml
    labels[12:28:3, 12:28:3, 12:28:3] = ED   # 216 of 0.001 ml
    _, page = written(tmp_path, study, replace(segmentation, labels=segmentation.labels.with_voxels(labels)))
    assert "And 216 smaller, in report.json." in page.text
