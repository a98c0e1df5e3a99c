"""Series of one patient as files, each told from the others by its first voxel."""

from braintumorseg.volume import Volume
from dicom_toys import save, slices_of_volume, toy_volume

__all__ = ["FLAIR", "LATER", "STUDY", "T1", "T2", "numbers", "series", "several"]

STUDY, LATER = "1.2.826.0.1.1", "1.2.826.0.1.2"
T1 = dict(RepetitionTime=550.0, EchoTime=10.0)
T2 = dict(RepetitionTime=5000.0, EchoTime=98.0)
FLAIR = dict(ScanningSequence=["SE", "IR"], RepetitionTime=9000.0, EchoTime=94.0, InversionTime=2500.0)


def series(folder, number, words, study=STUDY, minute=None, patient="P1", frame="1.2.3", **more):
    """One series of 8 slices in folder/number; its first voxel is its number."""
    volume = toy_volume()
    voxels = volume.voxels.copy()
    voxels[0, 0, 0] = number
    more = {"SeriesNumber": number, "SeriesDescription": words, "AcquisitionDate": "20200101",
            "AcquisitionTime": f"10{minute or number:02d}00", **more}
    return save(slices_of_volume(Volume(voxels, volume.affine), patient, study, f"1.2.9.{number}", frame, **more), folder / f"S{number}")


def several(folder, number, words, *volumes, **more):
    """One series of several volumes at one place in folder/S<number>, each with attributes of its own; the first voxel is 10 * number + 1, + 2 ..."""
    slices = []
    for place, values in enumerate(volumes, start=1):
        volume = toy_volume()
        voxels = volume.voxels.copy()
        voxels[0, 0, 0] = 10 * number + place
        slices += slices_of_volume(Volume(voxels, volume.affine), "P1", STUDY, f"1.2.9.{number}", "1.2.3", **{
            "SeriesNumber": number, "SeriesDescription": words, "AcquisitionDate": "20200101", "AcquisitionTime": f"10{number:02d}00",
            **more, **values})
    for place, one in enumerate(slices, start=1):
        one.InstanceNumber = place
    return save(slices, folder / f"S{number}")


def numbers(study):
    return {role: int(volume.voxels[0, 0, 0]) for role, volume in study.volumes.items()}
