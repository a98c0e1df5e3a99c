"""Volume nodes and their way into a file: the geometry is the input's, whatever it is. The oracle is SimpleITK."""

import numpy as np
import pytest
from made_up import AFFINES, affine_of, make_deformation, make_transform, make_volume

LPS = np.diag([-1.0, -1, 1, 1])


@pytest.fixture
def volumes(host):
    from BrainTumorSegLib import mrml_volumes

    return mrml_volumes


def write(volumes, node, path):
    with volumes.placed(node) as (ready, placement):
        assert list(volumes.write_nrrd(ready, path))[-1] == 1.0
    return placement


def read(path):
    """(voxels (K, J, I), affine voxel to RAS)."""
    import SimpleITK as sitk

    image = sitk.ReadImage(str(path))
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return sitk.GetArrayFromImage(image), LPS @ affine


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_a_file_lies_where_the_volume_lies(volumes, affine, tmp_path):
    node = make_volume(affine)
    write(volumes, node, tmp_path / "t1ce.nrrd")
    array, found = read(tmp_path / "t1ce.nrrd")
    assert np.array_equal(array, volumes.voxels(node))
    assert np.abs(found - affine).max() < 1e-9


@pytest.mark.parametrize("affine", AFFINES.values(), ids=AFFINES)
def test_a_volume_under_transforms_is_written_where_it_is_seen(volumes, affine, tmp_path):
    inner, outer = affine_of(degrees=(0, 0, 30), origin=(10, 0, -4)), affine_of(degrees=(20, 0, 0), origin=(0, 3, 0))
    node = make_volume(affine)
    first, second = make_transform(inner), make_transform(outer)
    first.SetAndObserveTransformNodeID(second.GetID())
    node.SetAndObserveTransformNodeID(first.GetID())
    placement = write(volumes, node, tmp_path / "t1ce.nrrd")
    array, found = read(tmp_path / "t1ce.nrrd")
    assert np.array_equal(array, volumes.voxels(node))
    assert np.abs(found - outer @ inner @ affine).max() < 1e-6
    assert placement.transform_id == first.GetID()
    assert np.abs(placement.local - affine).max() < 1e-9


def test_a_deformed_volume_is_resampled_in_a_copy_that_leaves_the_scene(volumes, tmp_path):
    import slicer

    node = make_volume(shape=(20, 20, 20))
    deform = make_deformation(2.0)
    node.SetAndObserveTransformNodeID(deform.GetID())
    before, nodes = np.array(volumes.voxels(node)), slicer.mrmlScene.GetNumberOfNodes()
    placement = write(volumes, node, tmp_path / "t1ce.nrrd")
    array, found = read(tmp_path / "t1ce.nrrd")
    assert np.array_equal(volumes.voxels(node), before)
    assert node.GetTransformNodeID() == deform.GetID()
    assert slicer.mrmlScene.GetNumberOfNodes() == nodes
    assert placement.transform_id == ""
    assert np.abs(found - placement.world).max() < 1e-9
    assert found[0, 3] == pytest.approx(-4, abs=1.1)  # moved by the spline, to a whole voxel's bounds
    assert array.any()


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "float32", "float64"])
def test_voxels_keep_their_type(volumes, dtype, tmp_path):
    node = make_volume(dtype=np.dtype(dtype))
    write(volumes, node, tmp_path / "t1.nrrd")
    array, _ = read(tmp_path / "t1.nrrd")
    assert array.dtype == np.dtype(dtype)
    assert np.array_equal(array, volumes.voxels(node))


def test_an_extent_that_does_not_start_at_0_is_a_shift(volumes, tmp_path):
    node = make_volume(AFFINES["oblique"])
    node.GetImageData().SetExtent(5, 16, 0, 13, -2, 7)
    write(volumes, node, tmp_path / "t1.nrrd")
    _, found = read(tmp_path / "t1.nrrd")
    assert np.abs(found[:3, 3] - (AFFINES["oblique"] @ [5, 0, -2, 1])[:3]).max() < 1e-9


def test_facts_tell_what_a_node_is(volumes):
    import slicer
    import vtk

    facts = volumes.examine(make_volume(AFFINES["oblique"]))
    assert (facts.kind, facts.size, facts.components, facts.sheared, facts.time_series) == ("scalar", (12, 14, 10), 1, False, False)
    assert volumes.examine(make_volume(kind="vtkMRMLLabelMapVolumeNode")).kind == "labelmap"
    assert volumes.examine(slicer.mrmlScene.AddNewNodeByClass("vtkMRMLScalarVolumeNode")).size == (0, 0, 0)
    vector = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLVectorVolumeNode")
    image = vtk.vtkImageData()
    image.SetDimensions(4, 4, 4)
    image.AllocateScalars(vtk.VTK_FLOAT, 3)
    vector.SetAndObserveImageData(image)
    assert volumes.examine(vector).components == 3


def test_a_shear_is_seen_and_a_rotation_with_scaling_is_none(volumes):
    sheared, turned = make_volume(), make_volume()
    matrix = np.eye(4)
    matrix[0, 1] = 0.01
    sheared.SetAndObserveTransformNodeID(make_transform(matrix).GetID())
    turned.SetAndObserveTransformNodeID(make_transform(affine_of((2, 2, 2), (10, 20, 30))).GetID())
    assert volumes.examine(sheared).sheared
    assert not volumes.examine(turned).sheared


def test_a_frame_of_a_sequence_is_seen(volumes):
    import slicer

    slicer.mrmlScene.RegisterNodeClass(slicer.vtkMRMLSequenceBrowserNode())  # a Slicer's Sequences module does this
    node = make_volume()
    sequence = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceNode")
    for index in range(3):
        sequence.SetDataNodeAtValue(node, str(index))
    browser = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSequenceBrowserNode")
    browser.AddSynchronizedSequenceNode(sequence)
    proxy = browser.AddProxyNode(node, sequence, False)
    assert volumes.examine(proxy).time_series
