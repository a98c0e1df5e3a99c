"""NRRD and MetaImage headers of every kind against SimpleITK, and headers that would have other files read, or memory taken, for their voxels."""

import gzip
import zlib
from itertools import product

import numpy as np
import pytest
import SimpleITK as sitk

from braintumorseg.errors import BadImage, NotAnImage
from braintumorseg.io import image_header
from braintumorseg.io.itk import from_itk
from braintumorseg.io.nrrd import read_nrrd

SIZES = (3, 4, 5)
VOXELS = np.arange(1, 61)
NRRD = {"type": "int16", "dimension": "3", "sizes": "3 4 5", "endian": "little", "encoding": "raw", "space": "LPS",
        "space directions": "(0,2,0) (0,0,3) (-4,0,1)", "space origin": "(1,-2.5,3)"}
META = {"ObjectType": "Image", "NDims": "3", "BinaryData": "True", "BinaryDataByteOrderMSB": "False", "CompressedData": "False",
        "TransformMatrix": "0 1 0 0 0 -1 1 0 0", "Offset": "1 -2.5 3", "ElementSpacing": "2 3 4", "DimSize": "3 4 5", "ElementType": "MET_SHORT"}
NRRD_TYPES = {"signed char": "i1", "uchar": "u1", "short": "i2", "unsigned short": "u2", "int": "i4", "uint32": "u4", "long long int": "i8",
              "ulonglong": "u8", "float": "f4", "double": "f8"}
META_TYPES = {"MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_LONG": "i4", "MET_UINT": "u4",
              "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8"}
RAW = VOXELS.astype("<i2").tobytes()


def nrrd(path, voxels=RAW, without=(), **fields):
    """A file with NRRD's fields, but for those given ('byte_skip': '3') and those left out."""
    fields = {**NRRD, **{name.replace("_", " "): value for name, value in fields.items()}}
    first = sorted((name for name in fields if name not in without), key=lambda name: "dimension" not in name)   # as its definition wants
    lines = ["NRRD0005", *(f"{name}: {fields[name]}" for name in first)]
    path.write_bytes("\n".join([*lines, "", ""]).encode() + voxels)
    return path


def meta(path, voxels=RAW, data="LOCAL", without=(), **fields):
    lines = [f"{name} = {value}" for name, value in {**META, **fields, "ElementDataFile": data}.items() if name not in without]
    path.write_bytes("\n".join([*lines, ""]).encode() + voxels)
    return path


def require_as_itk_reads_it(path):
    found, truth = read_nrrd(path), from_itk(sitk.ReadImage(str(path)))
    assert found.voxels.dtype == truth.voxels.dtype
    np.testing.assert_array_equal(found.voxels, truth.voxels)
    np.testing.assert_allclose(found.affine, truth.affine, rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(found.voxels.ravel(order="F"), VOXELS)


@pytest.mark.parametrize("big", [False, True])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("detached", [False, True])
def test_every_type_byte_order_and_packing_is_read_as_itk_reads_it(tmp_path, big, packed, detached):
    for kind, code in NRRD_TYPES.items():
        content = VOXELS.astype((">" if big else "<") + code).tobytes()
        content = gzip.compress(content) if packed else content
        fields = {"type": kind, "endian": "big" if big else "little", "encoding": "gzip" if packed else "raw"}
        if detached:
            (tmp_path / "voxels.raw").write_bytes(content)
            fields, content = {**fields, "data file": "./voxels.raw"}, b""
        require_as_itk_reads_it(nrrd(tmp_path / ("a.nhdr" if detached else "a.nrrd"), content, **fields))
    for kind, code in META_TYPES.items():
        content = VOXELS.astype((">" if big else "<") + code).tobytes()
        content = zlib.compress(content) if packed else content
        fields = {"ElementType": kind, "BinaryDataByteOrderMSB": big, "CompressedData": packed}
        fields |= {"CompressedDataSize": len(content)} if packed else {}
        if detached:
            (tmp_path / "vox els.raw").write_bytes(content)
            require_as_itk_reads_it(meta(tmp_path / "a.mhd", b"", "vox els.raw", **fields))
        else:
            require_as_itk_reads_it(meta(tmp_path / "a.mha", content, **fields))


@pytest.mark.parametrize("space", ["left-posterior-superior", "LPS", "ras", "right-anterior-superior", "LAS", "left-anterior-superior", "scanner-xyz",
                                   "3D-right-handed", "3D-left-handed"])
def test_every_space_of_nrrd_lies_where_itk_puts_it(tmp_path, space):
    require_as_itk_reads_it(nrrd(tmp_path / "a.nrrd", space=space))


@pytest.mark.parametrize(("without", "fields"), [
    (("space",), {"space dimension": "3"}),
    (("space origin",), {}),
    (("space", "space directions", "space origin"), {"spacings": "2 -3 4"}),
    (("space", "space directions", "space origin"), {"spacings": "2 3 4", "axis mins": "10 20 30"}),
    (("space", "space directions", "space origin"), {"spacings": "2 3 4", "axis mins": "10 20 30", "centerings": "node cell ???"}),
    ((), {"space directions": "( 2 , 0,1 ) (0,3,0) (0,0,4)", "kinds": "space ??? domain"}),
    ((), {"measurement frame": "(0,1,0) (1,0,0) (0,0,1)", "space units": '"mm" "mm" "mm"', "content": "a: b", "old min": "3"}),
    ((), {"dimension": "4", "sizes": "1 3 4 5", "kinds": "list domain domain domain", "space directions": "none (0,2,0) (0,0,3) (-4,0,1)"}),
    ((), {"dimension": "4", "sizes": "3 4 5 1", "kinds": "domain domain domain list", "space directions": "(0,2,0) (0,0,3) (-4,0,1) none"}),
])
def test_what_nrrd_says_of_places_is_understood_as_itk_does(tmp_path, without, fields):
    require_as_itk_reads_it(nrrd(tmp_path / "a.nrrd", without=without, **fields))


def test_bytes_and_lines_before_the_voxels_are_left_out_as_itk_does(tmp_path):
    require_as_itk_reads_it(nrrd(tmp_path / "a.nrrd", b"a line\nab" + RAW, **{"line skip": "1", "byteskip": "2"}))
    require_as_itk_reads_it(nrrd(tmp_path / "a.nrrd", b"whatever" + RAW, **{"byte skip": "-1"}))
    require_as_itk_reads_it(nrrd(tmp_path / "a.nrrd", gzip.compress(b"abc" + RAW), encoding="gz", **{"byte skip": "3"}))
    (tmp_path / "a.raw").write_bytes(b"abcde" + RAW)
    for size in (5, -1):
        require_as_itk_reads_it(meta(tmp_path / "a.mhd", b"", "a.raw", HeaderSize=size))


@pytest.mark.parametrize("fields", [
    *({matrix: "0 1 0 0 0 1 1 0 0", where: "5 6 7"} for matrix, where in product(("Rotation", "Orientation"), ("Position", "Origin"))),
    {"Position": "4 4 4", "Origin": "5 5 5"}, {"Position": "4 4 4"}, {"ElementSize": "7 7 7"}, {"CenterOfRotation": "9 9 9"},
    {"ElementByteOrderMSB": "False"}, {"ElementNumberOfChannels": "1"}, {"AnatomicalOrientation": "LPI", "Comment": "a = b: c"},
    {"ElementToIntensityFunctionSlope": "2"}, {"BinaryData": "1"}, {"UnitsDistance": "m"}, {"ElementSpacing": "-2 3 4"},
])
@pytest.mark.parametrize("without", [(), ("TransformMatrix", "Offset"), ("Offset",)])
def test_what_metaimage_says_under_several_names_is_understood_as_itk_does(tmp_path, fields, without):
    require_as_itk_reads_it(meta(tmp_path / "a.mha", without=without, **fields))


@pytest.mark.parametrize(("write", "name"), [(nrrd, "a.nrrd"), (meta, "a.mha")])
def test_lines_may_end_as_on_windows(tmp_path, write, name):
    path = write(tmp_path / name, b"")
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n") + RAW)
    require_as_itk_reads_it(path)


def test_a_space_with_time_lies_where_nrrds_definition_says(tmp_path):
    """ITK takes the first three axes of right-anterior-superior-time for LPS."""
    path = nrrd(tmp_path / "a.nrrd", dimension="4", sizes="3 4 5 1", space="RAST", space_directions="(2,0,0,0) (0,3,0,0) (0,0,4,0) (0,0,0,1)",
                space_origin="(1,2,3,9)")
    np.testing.assert_array_equal(read_nrrd(path).affine, [[2, 0, 0, 1], [0, 3, 0, 2], [0, 0, 4, 3], [0, 0, 0, 1]])


@pytest.mark.parametrize(("write", "name"), [(nrrd, "t1ce.nrrd"), (meta, "t1ce.mha")])
def test_a_users_name_beyond_the_code_page_is_no_damage(tmp_path, monkeypatch, write, name):
    """On Windows ITK takes the UTF-8 of a path for letters of the system's code page."""
    set_name = sitk.ImageFileReader.SetFileName
    monkeypatch.setattr(sitk.ImageFileReader, "SetFileName", lambda self, path: set_name(self, path.encode().decode("cp1252")))
    (tmp_path / "Jürgen").mkdir()
    np.testing.assert_array_equal(read_nrrd(write(tmp_path / "Jürgen" / name)).voxels.ravel(order="F"), VOXELS)


@pytest.mark.parametrize("number", [4, 11, 16, 100, 10**30, -3, 0])
def test_a_number_of_dimensions_that_cannot_be_never_reaches_memory(tmp_path, number):
    """ITK wrote past its arrays for a MetaImage with more than 10, and the process was gone."""
    with pytest.raises(NotAnImage, match=r"a\.mha is damaged"):
        read_nrrd(meta(tmp_path / "a.mha", NDims=number))
    with pytest.raises(NotAnImage, match=r"a\.nrrd is damaged"):
        read_nrrd(nrrd(tmp_path / "a.nrrd", dimension=str(number)))


@pytest.mark.parametrize("name", ["/etc/hostname", "../other/voxels.raw", "sub/voxels.raw", "..", r"..\other\voxels.raw", "C:voxels.raw"])
def test_voxels_in_another_folder_are_not_read(tmp_path, name):
    for folder in ("here", "here/sub", "other"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "voxels.raw").write_bytes(RAW)
    with pytest.raises(NotAnImage, match=r"a\.nhdr names a file in another folder"):
        read_nrrd(nrrd(tmp_path / "here" / "a.nhdr", b"", data_file=name))
    with pytest.raises(NotAnImage, match=r"a\.mhd names a file in another folder"):
        read_nrrd(meta(tmp_path / "here" / "a.mhd", b"", name))


@pytest.mark.parametrize("data", ["LIST", "LIST 2", "slice%02d.raw 1 5 1"])
def test_voxels_in_several_files_are_not_read(tmp_path, data):
    for path in (nrrd(tmp_path / "a.nhdr", b"", data_file=data), meta(tmp_path / "a.mhd", b"", data)):
        with pytest.raises(BadImage, match=rf"{path.name}: The header names several files"):
            read_nrrd(path)


def test_a_file_of_its_own_suffix_holds_its_own_voxels(tmp_path):
    (tmp_path / "other.raw").write_bytes(RAW)
    for path in (nrrd(tmp_path / "a.nrrd", b"", data_file="other.raw"), meta(tmp_path / "a.mha", b"", "other.raw")):
        with pytest.raises(NotAnImage, match="names another file as its voxels"):
            read_nrrd(path)


@pytest.mark.parametrize("packed", [False, True])
def test_a_header_alone_that_promises_more_than_its_voxel_file_is_refused_before_memory_is_taken(tmp_path, monkeypatch, packed):
    monkeypatch.setattr(image_header.np, "empty", lambda *_: pytest.fail("memory was taken"))
    (tmp_path / "a.raw").write_bytes(gzip.compress(RAW))
    for path in (nrrd(tmp_path / "a.nhdr", b"", data_file="a.raw", sizes="2200 2200 2200", encoding="gzip" if packed else "raw"),
                 meta(tmp_path / "a.mhd", b"", "a.raw", DimSize="2200 2200 2200", CompressedData=packed)):
        with pytest.raises(NotAnImage, match=r"a\.raw is truncated or damaged: its header promises 21296000000 bytes"):
            read_nrrd(path)


def test_a_voxel_file_that_is_not_there_is_called_missing_and_not_damaged(tmp_path):
    for path in (nrrd(tmp_path / "a.nhdr", b"", data_file="a.raw"), meta(tmp_path / "a.mhd", b"", "a.raw")):
        with pytest.raises(NotAnImage, match=rf"{path.name} is only a header: the file with its voxels, a\.raw, is not beside it"):
            read_nrrd(path)


@pytest.mark.parametrize(("change", "words"), [
    ({"encoding": "hex"}, "encoding 'hex', which is not read"), ({"encoding": "bzip2"}, "encoding 'bzip2'"), ({"type": "block"}, "type 'block'"),
    ({"sizes": "3 4"}, "its 'sizes' should be 3 numbers"), ({"sizes": "3 4 x"}, "its 'sizes' should be 3 numbers"),
    ({"sizes": "3 0 5"}, "is empty: 3 x 0 x 5"), ({"space": "LPI"}, "its 'space'"), ({"endian": "middle"}, "its 'endian'"),
    ({"space directions": "(1,0,0) (0,1,0)"}, "its 'space directions' should be 3"), ({"byte skip": "-3"}, "skips a number"),
    ({"line skip": "9007199254740991"}, "cut short"), ({"Sizes": "3 4 5"}, "says 'sizes' twice"),
])
def test_what_is_wrong_with_an_nrrd_header_is_said(tmp_path, change, words):
    with pytest.raises((NotAnImage, BadImage), match=rf"^a\.nrrd.*{words}"):
        read_nrrd(nrrd(tmp_path / "a.nrrd", **change))


@pytest.mark.parametrize(("change", "words"), [
    ({"BinaryData": "False"}, "written as text"), ({"ElementType": "MET_STRING"}, "type 'MET_STRING'"), ({"DimSize": "3 4"}, "'DimSize' should be 3"),
    ({"TransformMatrix": "1 0 0 0 1 0 0 0"}, "'TransformMatrix' should be 9"), ({"HeaderSize": "-2"}, "'HeaderSize' cannot be"),
    ({"DimSize": "3 4.5 5"}, "'DimSize' should be whole"),
    ({"Offset": "inf 0 0"}, "not a finite"), ({"TransformMatrix": "9 0 0 0 9 0 0 0 9", "ElementSpacing": "1e308 1e308 1e308"}, "not a finite"),
    ({"ElementNumberOfChannels": "3"}, "3 values a voxel"),
])
def test_what_is_wrong_with_a_metaimage_header_is_said(tmp_path, change, words):
    with pytest.raises((NotAnImage, BadImage), match=rf"^a\.mha.*{words}"):
        read_nrrd(meta(tmp_path / "a.mha", **change))


@pytest.mark.parametrize("content", [gzip.compress(RAW)[:-6], gzip.compress(RAW)[:-8] + bytes(8), b"\x1f\x8b" + bytes(60)],
                         ids=["cut short", "changed", "only its first two bytes"])
def test_a_packed_stream_that_is_cut_short_or_changed_is_refused(tmp_path, content):
    with pytest.raises(NotAnImage, match=r"a\.nrrd is damaged or truncated"):
        read_nrrd(nrrd(tmp_path / "a.nrrd", content, encoding="gzip"))


def test_a_packed_stream_in_several_parts_or_with_something_behind_it_is_read(tmp_path):
    for content in (gzip.compress(RAW[:50]) + gzip.compress(RAW[50:]), gzip.compress(RAW) + b"junk", gzip.compress(RAW * 2)):
        require_as_itk_reads_it(nrrd(tmp_path / "a.nrrd", content, encoding="gzip"))


@pytest.mark.parametrize(("write", "fields", "assumed"), [
    (nrrd, {}, False), (nrrd, {"space": "right-anterior-superior"}, False), (nrrd, {"space": "scanner-xyz"}, True),
    (nrrd, {"without": ("space", "space directions", "space origin"), "spacings": "2 3 4"}, True),
    (meta, {}, False), (meta, {"without": ("TransformMatrix",), "Orientation": "0 1 0 0 0 1 1 0 0"}, False),
    (meta, {"without": ("TransformMatrix",)}, True),
])
def test_an_orientation_that_the_header_does_not_tell_is_assumed(tmp_path, write, fields, assumed):
    assert read_nrrd(write(tmp_path / ("a.nrrd" if write is nrrd else "a.mha"), **fields)).assumed == assumed
