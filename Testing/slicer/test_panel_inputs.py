"""The panel's inputs when volumes of several people are loaded, when a chosen one goes, and when a scene comes."""

import pytest
from made_up import make_volume

ROLES = ("t1", "t1ce", "t2", "flair")


def load(person, *roles):
    return [make_volume(name=f"{person}_{role}") for role in roles or ROLES]


def chosen(case):
    """Role -> name, which selectors and parameters must agree on."""
    names = {role: node.GetName() for role, node in case.panel.inputs.chosen.items()}
    shown = {role: node.GetName() for role, node in ((role, getattr(case.ui, f"{role}Selector").currentNode()) for role in ROLES) if node}
    assert names == shown
    return names


def all_of(person):
    return {role: f"{person}_{role}" for role in ROLES}


@pytest.fixture
def later(case, monkeypatch):
    """Let so much time pass that what is loaded next does not belong to what was loaded before."""
    clock = [0.0]
    monkeypatch.setattr("BrainTumorSegLib.panel_inputs.time.monotonic", lambda: clock[0])

    def wait():
        case.host.spin(seconds=0.05)
        clock[0] += 60

    return wait


def test_a_chosen_volume_that_is_removed_leaves_its_field_empty(case, later):
    import slicer

    (smith,) = load("Smith", "t1ce")
    later()
    load("Jones")
    slicer.mrmlScene.RemoveNode(smith)
    assert chosen(case) == {}
    assert not case.ui.segmentButton.enabled
    assert "\u26a0 T1ce: the chosen volume was removed" in case.shown("recogniseMessage")


def test_the_other_fields_keep_what_they_hold(case):
    import slicer

    nodes = load("Smith")
    case.host.spin(seconds=0.05)
    slicer.mrmlScene.RemoveNode(nodes[2])
    assert chosen(case) == {role: name for role, name in all_of("Smith").items() if role != "t2"}


def test_a_removed_segmentation_is_not_replaced_by_another_in_result_and_compare(case):
    import slicer

    first, second, third = (slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name) for name in "abc")
    case.ui.resultSelector.setCurrentNode(third)
    case.ui.compareFirstSelector.setCurrentNode(second)
    case.ui.compareSecondSelector.setCurrentNode(third)
    for node in (third, second):
        slicer.mrmlScene.RemoveNode(node)
    selectors = (case.ui.resultSelector, case.ui.compareFirstSelector, case.ui.compareSecondSelector)
    assert [selector.currentNode() for selector in selectors] == [None] * 3
    assert first.GetScene() is slicer.mrmlScene


def test_recognise_takes_one_examination_and_says_that_there_are_others(case, later):
    load("Smith", "t1ce")
    later()
    load("Jones")
    assert chosen(case) == {"t1ce": "Smith_t1ce"}
    case.ui.recogniseButton.click()
    assert chosen(case) == all_of("Jones")
    assert "\u26a0 Volumes of more than one patient or examination are loaded" in case.shown("recogniseMessage")


def test_recognise_completes_the_examination_of_what_the_user_chose_and_names_every_field_that_it_empties(case, later):
    load("Smith")
    later()
    jones = load("Jones", "t1", "flair")
    case.ui.t1Selector.setCurrentNode(jones[0])
    case.ui.recogniseButton.click()
    assert chosen(case) == {"t1": "Jones_t1", "flair": "Jones_flair"}
    assert "Those of your choice were taken" in case.shown("recogniseMessage")
    lines = case.shown("recogniseMessage").splitlines()
    assert [line.split(":")[0] for line in lines if "taken out again" in line] == ["T1ce", "T2"]


def test_recognise_empties_the_fields_where_nothing_tells_which_patient_is_meant(case, later):
    smith = load("Smith")
    later()
    load("Jones")
    case.ui.recogniseButton.click()
    assert chosen(case) == {}
    assert "Choose one volume of the examination that you mean" in case.shown("recogniseMessage")
    case.ui.flairSelector.setCurrentNode(smith[3])
    case.ui.recogniseButton.click()
    assert chosen(case) == all_of("Smith")


def test_two_patients_that_are_loaded_together_fill_nothing(case):
    load("Smith")
    load("Jones")
    case.host.spin(seconds=0.05)
    assert chosen(case) == {}
    assert "\u26a0 Volumes of more than one patient" in case.shown("recogniseMessage")


def test_an_unclear_field_is_emptied_with_a_warning_unless_the_user_chose_one_of_those_that_fit(case):
    nodes = load("Smith", "t1ce", "flair", "flair_2")
    case.host.spin(seconds=0.05)
    assert chosen(case) == {"t1ce": "Smith_t1ce"}
    case.ui.recogniseButton.click()
    assert chosen(case) == {"t1ce": "Smith_t1ce"}
    assert "\u26a0 FLAIR: 2 volumes fit" in case.shown("recogniseMessage")
    case.ui.flairSelector.setCurrentNode(nodes[2])
    case.ui.recogniseButton.click()
    assert chosen(case) == {"t1ce": "Smith_t1ce", "flair": "Smith_flair_2"}


def test_a_choice_of_the_user_is_kept_with_a_warning_where_it_seems_to_be_of_another_examination(case):
    mine, _, _ = make_volume(name="Xyz"), *load("Smith", "t2", "flair")
    case.choose(t1=mine)
    case.ui.recogniseButton.click()
    assert chosen(case) == {"t1": "Xyz", "t2": "Smith_t2", "flair": "Smith_flair"}
    assert "\u26a0 T1: your choice is kept, but it may be another sequence" in case.shown("recogniseMessage")


def test_choices_of_the_user_that_are_in_each_others_fields_are_moved_and_told(case):
    nodes = dict(zip(ROLES, load("Smith"), strict=True))
    case.choose(t1=nodes["flair"], flair=nodes["t2"])
    case.ui.recogniseButton.click()
    assert chosen(case) == all_of("Smith")
    assert "T1: your choice is now in FLAIR" in case.shown("recogniseMessage")
    assert "FLAIR: your choice is now in T2" in case.shown("recogniseMessage")


def test_a_choice_of_the_user_is_not_exchanged_nor_taken_twice(case):
    nodes = dict(zip(ROLES, load("Smith"), strict=True))
    case.choose(t1ce=nodes["t1"], flair=make_volume(name="Smith_best"), t2=nodes["flair"])
    case.ui.recogniseButton.click()
    assert chosen(case) == {"t1ce": "Smith_t1", "t2": "Smith_flair", "flair": "Smith_best"}
    assert all(f"{field}: your choice is kept" in case.shown("recogniseMessage") for field in ("T1ce", "T2", "FLAIR"))


def test_recognise_pressed_twice_keeps_what_the_user_chose(case):
    smith, _ = load("Smith"), load("Jones")
    case.host.spin(seconds=0.05)
    case.choose(flair=smith[3])
    for _ in range(2):
        case.ui.recogniseButton.click()
        assert chosen(case) == all_of("Smith")


def test_what_the_engine_finds_in_the_files_ends_the_doubt(case, monkeypatch):
    from BrainTumorSegLib.recognise import Recognition

    answers = []
    monkeypatch.setattr(case.logic, "recognise_by_engine", lambda nodes, on_finished: answers.append(on_finished))
    mine, flair = make_volume(name="Xyz"), *load("Smith", "flair")
    case.choose(t1=mine)
    case.ui.recogniseButton.click()
    assert "T1: your choice is kept" in case.shown("recogniseMessage")
    answers[0](Recognition({"t1": mine.GetID(), "flair": flair.GetID()}, {"t1": "by its image"}))
    assert chosen(case) == {"t1": "Xyz", "flair": "Smith_flair"}
    assert "your choice is kept" not in case.shown("recogniseMessage")
    assert "T1: by its image" in case.shown("recogniseMessage")


def test_choices_of_two_people_are_kept_and_both_are_doubted(case):
    smith, jones = load("Smith"), load("Jones")
    case.choose(t1=smith[0], t2=jones[2])
    case.ui.recogniseButton.click()
    assert chosen(case) == {"t1": "Smith_t1", "t2": "Jones_t2"}
    assert all(f"{field}: your choice is kept" in case.shown("recogniseMessage") for field in ("T1", "T2"))


def test_a_field_that_was_filled_and_becomes_unclear_says_so(case):
    load("Smith", "t1ce", "flair")
    case.host.spin(seconds=0.05)
    load("Smith", "flair_2")
    case.host.spin(seconds=0.05)
    assert chosen(case) == {"t1ce": "Smith_t1ce"}
    assert "\u26a0 FLAIR: 2 volumes fit" in case.shown("recogniseMessage")


@pytest.mark.parametrize("names", [("301_T1", "1001_T1GD", "401_T2", "501_FLAIR"),
                                   ("T1_axial_5mm", "T1_axial_5mm_contrast", "T2_axial_3mm", "FLAIR_axial_4mm")])
def test_ordinary_names_of_one_examination_fill_all_fields_and_stay_when_chosen_by_hand(case, names):
    nodes = [make_volume(name=name) for name in names]
    case.host.spin(seconds=0.05)
    assert chosen(case) == dict(zip(ROLES, names, strict=True))
    case.choose(**dict(zip(ROLES, nodes, strict=True)))
    case.ui.recogniseButton.click()
    assert chosen(case) == dict(zip(ROLES, names, strict=True))
    assert "\u26a0" not in case.shown("recogniseMessage")


def test_the_engine_is_asked_about_the_taken_volumes_only(case, later, monkeypatch):
    asked = []
    monkeypatch.setattr(case.logic, "recognise_by_engine", lambda nodes, on_finished: asked.append([node.GetName() for node in nodes]))
    load("Smith", "t1ce")
    load("Jones")
    case.ui.recogniseButton.click()
    assert asked == [[f"Jones_{role}" for role in ROLES]]


@pytest.mark.parametrize("entered", [True, False], ids=["panel open", "other module shown"])
def test_a_saved_scene_brings_its_choice_back(case, entered):
    import slicer

    nodes = load("Smith")
    case.choose(flair=nodes[3])
    result = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", "tumour")
    case.ui.resultSelector.setCurrentNode(result)
    case.ui.opacitySlider.value = 0.8
    saved = case.host.saved_scene()
    if not entered:
        case.widget.exit()
    case.host.new_scene()
    case.host.load_scene(saved)
    if not entered:
        case.widget.enter()
    case.host.spin(seconds=0.05)
    assert chosen(case) == {"flair": "Smith_flair"}
    assert case.ui.resultSelector.currentNode().GetName() == "tumour"
    assert case.ui.opacitySlider.value == 0.8


def test_a_scene_that_is_added_without_a_choice_leaves_the_present_one(case):
    import slicer

    make_volume(name="Other_t2")
    parameters = case.widget._parameters.parameterNode
    parameters.SetSaveWithScene(False)
    saved = case.host.saved_scene()
    case.host.new_scene()
    parameters.SetSaveWithScene(True)
    load("Smith", "t1ce", "flair")
    case.host.spin(seconds=0.05)
    case.host.load_scene(saved)
    case.host.spin(seconds=0.05)
    assert chosen(case) == {"t1ce": "Smith_t1ce", "flair": "Smith_flair"}
    assert slicer.mrmlScene.GetFirstNodeByName("Other_t2") is not None


def test_what_was_said_of_a_field_goes_once_it_holds_another_volume(case):
    import slicer

    nodes, (other,) = load("Smith"), load("Jones", "t2")
    case.host.spin(seconds=0.05)
    case.panel.inputs.parameters.t2 = nodes[2]
    case.ui.recogniseButton.click()
    assert "T2: " in case.shown("recogniseMessage") and "T1ce: " in case.shown("recogniseMessage")
    case.panel.inputs.parameters.t2 = other
    assert "T2: " not in case.shown("recogniseMessage") and "T1ce: " in case.shown("recogniseMessage")
    slicer.mrmlScene.RemoveNode(other)
    assert "T2: the chosen volume was removed" in case.shown("recogniseMessage")
    case.panel.inputs.parameters.t2 = nodes[2]
    assert case.shown("recogniseMessage") == ""
