"""Our DICOM results in the hands of others: dcmjs (under OHIF and most web viewers) and a real archive."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest

from braintumorseg.dicom_results import write_dicom_results
from braintumorseg.measure import measure
from braintumorseg.segmentation import Provenance, Segmentation
from dicom_oracles import debian_tool
from seg_toys import TABLE, image_of, mr_series, save, tumour

SCRIPT = Path(__file__).resolve().parents[1] / "dcmjs" / "count_voxels.js"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A folder with the source series, SEG, SR and pictures."""
    folder = tmp_path_factory.mktemp("study")
    source = mr_series()
    labels = tumour(source)
    segmentation = Segmentation(labels, TABLE, Provenance("toy", "1.2", "ab" * 32, ""))
    write_dicom_results(segmentation, measure(segmentation), source, folder, sr=True, sc=True, reference_volume=image_of(source, labels.affine))
    save(source, folder / "source")
    return folder


def count_by_dcmjs(path):
    folder = Path(os.environ.get("BRAINTUMORSEG_DCMJS", Path(sys.prefix) / "dcmjs")) / "node_modules"
    if not shutil.which("node"):
        pytest.skip("node is not installed")
    if not (folder / "dcmjs").is_dir():
        pytest.skip(f"dcmjs is not installed ('.ci/dcmjs {folder.parent}' does it)")
    done = subprocess.run(["node", SCRIPT, path], capture_output=True, text=True, check=True, env={**os.environ, "NODE_PATH": str(folder)})
    return json.loads(done.stdout)


def test_dcmjs_counts_the_same_voxels_under_the_same_names_and_colours(study):
    found = count_by_dcmjs(study / "segmentation.dcm")
    assert [(one["number"], one["label"], one["type"], one["voxels"]) for one in found] == [(1, "NCR", "6574001", 4), (2, "ET", "C113842", 3)]
    for one, label in zip(found, (TABLE[0], TABLE[2]), strict=True):
        np.testing.assert_allclose(one["rgb"], label.rgb, atol=6)  # dcmjs converts CIELab in its own way


def test_orthanc_stores_source_seg_report_and_pictures_as_one_study(study, orthanc):
    files = sorted(study.rglob("*.dcm"))
    subprocess.run([debian_tool("storescu", "dcmtk"), "-R", "-aet", "BRAINTUMORSEG", "-aec", "ORTHANC", "127.0.0.1", str(orthanc.dicom_port), *files],
                   check=True, capture_output=True)
    assert len(orthanc.rest("/studies")) == 1
    series = [orthanc.rest(f"/series/{name}") for name in orthanc.rest("/series")]
    assert sorted((one["MainDicomTags"]["Modality"], len(one["Instances"])) for one in series) == [("MR", 7), ("OT", 7), ("SEG", 1), ("SR", 1)]
    seg, = [one for one in series if one["MainDicomTags"]["Modality"] == "SEG"]
    (study / "returned").write_bytes(orthanc.rest(f"/instances/{seg['Instances'][0]}/file"))
    assert pydicom.dcmread(study / "returned").PixelData == pydicom.dcmread(study / "segmentation.dcm").PixelData
