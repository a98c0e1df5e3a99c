"""Volumes, labels and reports small enough to count by hand, as nodes."""

import numpy as np

__all__ = ["AFFINES", "LABELS", "Steps", "affine_of", "make_deformation", "make_labels", "make_report", "make_transform", "make_volume"]

LABELS = [{"value": 1, "name": "Necrosis", "code": ["6574001", "SCT", "Necrosis"], "rgb": [216, 191, 216]},
          {"value": 2, "name": "Edema", "code": ["79654002", "SCT", "Edema"], "rgb": [140, 224, 228]},
          {"value": 3, "name": "Enhancing Lesion", "code": ["C113842", "NCIt", "Enhancing Lesion"], "rgb": [128, 174, 128]}]


def affine_of(spacing=(1, 1, 1), degrees=(0, 0, 0), flip=(1, 1, 1), origin=(0, 0, 0)) -> np.ndarray:
    """(4, 4) voxel to RAS: spacing and flips of the axes, then rotations about R, A and S, then the origin."""
    x, y, z = np.radians(degrees)
    about_r = [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]
    about_a = [[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]]
    about_s = [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]
    affine = np.eye(4)
    affine[:3, :3] = np.array(about_s) @ about_a @ about_r @ np.diag(np.array(spacing, float) * flip)
    affine[:3, 3] = origin
    return affine


AFFINES = {"plain": affine_of(), "anisotropic": affine_of((0.47, 0.47, 5.5), origin=(-101.3, 44.7, 12.25)),
           "oblique": affine_of((0.9, 0.9, 1.2), (12, -7, 23), origin=(3, 5, -8)), "flipped": affine_of((1, 1, 2), flip=(-1, -1, 1)),
           "left-handed and oblique": affine_of((1, 0.8, 3), (5, 31, 2), (-1, 1, 1), (7, 70, -1))}


def make_volume(affine=None, shape=(12, 14, 10), name="T1ce", dtype=np.int16, kind="vtkMRMLScalarVolumeNode"):
    """A volume node of noise; `shape` counts voxels along I, J, K."""
    import slicer

    array = np.random.default_rng(0).integers(0, 200, shape[::-1]).astype(dtype)
    node = slicer.mrmlScene.AddNewNodeByClass(kind, name)
    slicer.util.updateVolumeFromArray(node, array)
    node.SetIJKToRASMatrix(slicer.util.vtkMatrixFromArray(np.eye(4) if affine is None else affine))
    return node


def make_transform(affine):
    import slicer

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLinearTransformNode")
    node.SetMatrixTransformToParent(slicer.util.vtkMatrixFromArray(affine))
    return node


def make_deformation(push_mm: float):
    """A spline about the volume of `make_volume` that pushes its middle along A and moves everything by 4 mm along R."""
    import slicer
    import vtk

    node = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLBSplineTransformNode")
    grid = vtk.vtkImageData()
    grid.SetDimensions(8, 8, 8)
    grid.SetSpacing(10, 10, 10)
    grid.SetOrigin(-30, -30, -30)
    grid.AllocateScalars(vtk.VTK_DOUBLE, 3)
    grid.GetPointData().GetScalars().Fill(0)
    grid.GetPointData().GetScalars().FillComponent(0, 4.0)
    grid.SetScalarComponentFromDouble(3, 3, 3, 1, push_mm)
    spline = slicer.vtkOrientedBSplineTransform()
    spline.SetCoefficientData(grid)
    node.SetAndObserveTransformFromParent(spline)
    return node


def make_labels(shape=(12, 14, 10)) -> np.ndarray:
    """(K, J, I) uint8: a box of 5 x 4 x 3 voxels of oedema, in it 2 of necrosis and 1 of enhancing tumour."""
    labels = np.zeros(shape[::-1], np.uint8)
    labels[3:6, 4:8, 2:7] = 2
    labels[4, 5, 3:5] = 1
    labels[4, 6, 3] = 3
    return labels


def make_report(labels, voxel_ml: float, reference: str = "t1ce") -> dict:
    """What the engine would report of these labels."""
    count = [float((labels == value).sum()) * voxel_ml for value in range(4)]
    return {"format": "braintumorseg report 1", "reference": reference, "missing": [], "provider": "CPUExecutionProvider", "provider_note": "",
            "seconds": {"predict": 2.0}, "flags": [{"code": "missing_sequence", "severity": "info", "text": "T2 is missing."}],
            "lesions": [{"ml": sum(count[1:]), "centre_mm_ras": [1.0, 2.0, 3.0]}], "sequences": {},
            "model": {"name": "glioma", "version": "0.1.0", "sha256": "00", "labels": LABELS},
            "volumes_ml": {"labels": {"NCR": count[1], "ED": count[2], "ET": count[3]},
                           "regions": {"WT": sum(count[1:]), "TC": count[1] + count[3], "ET": count[3]}}}


class Steps:
    """An event loop that a test turns itself: `later` of steps.pump; `run()` until nothing waits, or that many steps."""

    def __init__(self):
        self.waiting = []

    def __call__(self, call):
        self.waiting.append(call)

    def run(self, most: int = 10_000) -> None:
        for _ in range(most):
            if not self.waiting:
                return
            self.waiting.pop(0)()
