"""Sample data: what is registered, and what is said when the phantom cannot be made."""

import pytest


@pytest.fixture
def sample_data(host):
    from BrainTumorSegLib import sample_data

    return sample_data


def test_the_phantom_and_two_tumours_are_offered_under_our_category(sample_data):
    import SampleData

    SampleData.registered.clear()
    sample_data.register()
    assert [one["sampleName"] for one in SampleData.registered] == ["BrainTumorPhantom", "BrainTumorPhantomDICOM", "MRBrainTumor1", "MRBrainTumor2"]
    assert {one["category"] for one in SampleData.registered} == {"Brain Tumor Segmentation"}
    for one in SampleData.registered[2:]:
        assert one["uris"].startswith("https://github.com/Slicer/SlicerTestingData/releases/download/SHA256/")
    for one in SampleData.registered[:2]:
        assert callable(one["customDownloader"])


def test_without_an_engine_the_phantom_says_what_to_do(sample_data, tmp_path):
    from BrainTumorSegLib.install import Installation

    engine = Installation(tmp_path / "engine", tmp_path, "python", python_version=(3, 12))
    with pytest.raises(sample_data.PhantomFailed, match="section Engine"):
        sample_data.make_phantom(engine, tmp_path / "phantom")
    assert not (tmp_path / "phantom").exists()


def test_a_phantom_that_is_there_is_not_made_again(sample_data, tmp_path):
    (tmp_path / "phantom").mkdir()
    (tmp_path / "phantom" / "report.json").write_text('{"format": "braintumorseg phantom 1"}', encoding="utf-8")
    assert sample_data.make_phantom(object(), tmp_path / "phantom") == tmp_path / "phantom"
