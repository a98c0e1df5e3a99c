from dataclasses import replace
from shutil import copytree

import pytest

from braintumorseg_training.case_folder import CaseFolder
from braintumorseg_training.case_table import CaseRow
from braintumorseg_training.export import draft_card
from braintumorseg_training.lineage import Lineage, learned_by_name, learned_here, plain_lineage
from braintumorseg_training.prepare import prepare_folder
from braintumorseg_training.seen import seen_cases
from toy_datasets import toy_case, write_plain


@pytest.fixture(scope="module")
def sites(tmp_path_factory):
    """A folder of one hospital's cases, and what a network learned from there; and another hospital's folder, with a patient of the same name."""
    folder = tmp_path_factory.mktemp("sites")
    for seed, name in enumerate(("first/001", "first/002", "second/001", "second/003")):
        case = toy_case(seed)
        if name == "second/001":
            case["seg"] = case["seg"].with_voxels(case["seg"].voxels * (case["seg"].voxels != 2))
        write_plain(folder / name, case)
    prepare_folder(folder / "first", folder / "packed", draft_card(), labels="brats2023", say=lambda line: None)
    return folder / "first", folder / "second", Lineage(tuple(learned_here(folder / "packed", name) for name in ("001", "002")))


def seen(folder, lineage, names, **how):
    folder = CaseFolder(folder, "brats2023", **how)
    return seen_cases(draft_card(training={"trained_on": lineage.names, "lineage": plain_lineage(lineage)}), folder, folder.find(names))


def test_a_case_is_known_by_what_it_shows_and_another_of_its_name_is_not_taken_for_it(sites):
    first, second, lineage = sites
    assert seen(first, lineage, ("001", "002")) == ("001", "002")
    assert seen(second, lineage, ("001", "003")) == ()


def test_where_the_name_alone_is_known_it_counts_and_so_do_others_of_the_patient(sites):
    _, second, lineage = sites
    assert seen(second, Lineage((learned_by_name("001"),)), ("001", "003")) == ("001",)
    assert seen(second, Lineage((learned_by_name("earlier"),)), ("003",), table={"earlier": CaseRow(patient="003")}) == ("003",)
    published = replace(lineage.cases[0], name="BraTS2021_00001", patient="BraTS-GLI-00001")
    assert seen(second, Lineage((published,)), ("003",), table={"003": CaseRow(patient="BraTS-GLI-00001")}) == ("003",)


def test_a_card_that_does_not_say_what_its_network_learned_from_is_taken_to_be_of_the_split(sites):
    folder = CaseFolder(sites[0], "brats2023")
    assert seen_cases(draft_card(), folder, folder.find(("001", "002")), ("002",)) == ("002",)


def test_an_image_is_known_under_another_name_and_of_a_published_data_set(sites, tmp_path):
    first, second, lineage = sites
    for name, source in (("BraTS20_Training_001", first / "001"), ("renamed", first / "002"), ("BraTS20_Training_003", second / "003")):
        copytree(source, tmp_path / name)
    names = ("BraTS20_Training_001", "BraTS20_Training_003", "renamed")
    assert seen(tmp_path, lineage, names) == ("BraTS20_Training_001", "renamed")
    published = Lineage((replace(lineage.cases[0], name="BraTS2021_00001", patient="BraTS-GLI-00001"),))
    assert seen(tmp_path, published, names) == ("BraTS20_Training_001",)
    assert seen(tmp_path, Lineage((learned_by_name("001"),)), names) == ()       # whose images nobody kept


def test_that_images_are_compared_is_said_and_a_case_that_cannot_be_read_is_left_to_who_reads_it(sites, tmp_path):
    first, _, lineage = sites
    copytree(first / "001", tmp_path / "renamed")
    copytree(first / "002", tmp_path / "damaged")
    (tmp_path / "damaged" / "t2.nii.gz").write_bytes(b"no image")
    said, folder = [], CaseFolder(tmp_path, "brats2023")
    card = draft_card(name="mine", training={"trained_on": lineage.names, "lineage": plain_lineage(lineage)})
    assert seen_cases(card, folder, folder.find(("damaged", "renamed")), say=said.append) == ("renamed",)
    assert said == ["comparing 2 cases with the images that mine learned from"]
