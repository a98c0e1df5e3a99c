import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib.metadata import PackageNotFoundError

import onnx
import pytest

from braintumorseg import model_zoo
from braintumorseg.cli import main
from braintumorseg.errors import ModelError
from braintumorseg.model_card import Variant, write_card
from braintumorseg.model_zoo import add_model, list_models, load_model, remove_model, unreadable_models
from braintumorseg.weights import sha256_of


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("BRAINTUMORSEG_MODELS", str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def archive(toy_model, tmp_path):
    path = tmp_path / "toy.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.write(toy_model.weights, "toy/toy.onnx")
        file.write(toy_model.weights.with_suffix(".json"), "toy/toy.json")
    return path


def test_the_default_network_is_embedded_and_its_hash_is_right():
    model = load_model()
    assert model.card.name == "glioma"
    assert model.embedded


def test_a_network_is_added_found_and_removed(archive, own_folder):
    add_model(archive)
    assert load_model("toy").card.version == "1.0"
    assert [model.card.name for model in list_models() if not model.embedded] == ["toy"]
    with pytest.raises(ModelError, match="there already"):
        add_model(archive)
    remove_model("toy")
    assert not any(own_folder.iterdir())


def test_an_unknown_name_lists_those_there_are():
    with pytest.raises(ModelError, match=r"named gloima.*glioma"):
        load_model("gloima")


def test_weights_that_were_changed_are_refused_on_load(toy_model, tmp_path):
    for suffix in (".onnx", ".json"):
        shutil.copy(toy_model.weights.with_suffix(suffix), tmp_path / f"toy{suffix}")
    with (tmp_path / "toy.onnx").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ModelError, match="SHA-256"):
        load_model(tmp_path / "toy.onnx")


def test_an_archive_with_wrong_weights_leaves_nothing(toy_model, tmp_path, own_folder):
    path = tmp_path / "bad.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("toy.onnx", b"other weights")
        file.write(toy_model.weights.with_suffix(".json"), "toy.json")
    with pytest.raises(ModelError, match="SHA-256"):
        add_model(path)
    assert not list(own_folder.glob("*"))


def test_a_name_that_would_leave_the_folder_is_refused(toy_model, tmp_path, own_folder):
    card = json.loads(toy_model.weights.with_suffix(".json").read_text())
    path = tmp_path / "evil.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.write(toy_model.weights, "toy.onnx")
        file.writestr("toy.json", json.dumps({**card, "name": "../evil"}))
    with pytest.raises(ModelError, match="file name"):
        add_model(path)
    assert not (tmp_path / "evil.onnx").exists()


def test_what_is_no_zip_or_holds_other_things_is_refused(tmp_path):
    path = tmp_path / "x.zip"
    path.write_bytes(b"no zip")
    with pytest.raises(ModelError, match="not a zip"):
        add_model(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("readme.txt", "hello")
    with pytest.raises(ModelError, match="does not hold"):
        add_model(path)


def test_the_embedded_network_cannot_be_removed():
    with pytest.raises(ModelError, match="cannot be removed"):
        remove_model("glioma")


def variant_archive(toy_model, folder, leave_out=(), name="toy", variant="toy.int8.onnx"):
    """A zip of the toy network with a second file that its card names as its INT8 variant."""
    shutil.copy(toy_model.weights, folder / f"{name}.onnx")
    shutil.copy(toy_model.weights, folder / variant)
    variants = (Variant(variant, sha256_of(toy_model.weights), "int8", "openvino", ("vnni",)),)
    write_card(replace(toy_model.card, name=name, variants=variants), folder / f"{name}.json")
    with zipfile.ZipFile(folder / f"{name}.zip", "w") as file:
        for one in (f"{name}.onnx", variant, f"{name}.json"):
            if one not in leave_out:
                file.write(folder / one, one)
    return folder / f"{name}.zip"


def test_variants_come_and_go_with_their_network(toy_model, tmp_path, own_folder):
    add_model(variant_archive(toy_model, tmp_path))
    model = load_model("toy")
    assert model.files == ("toy.onnx", "toy.int8.onnx", "toy.json")
    assert model.card.variants[0].needs == ("vnni",)
    assert all((own_folder / name).is_file() for name in model.files)
    remove_model("toy")
    assert not any(own_folder.iterdir())


def test_an_archive_without_a_variant_that_its_card_names_is_refused_whole(toy_model, tmp_path, own_folder):
    with pytest.raises(ModelError, match=r"int8 variant toy\.int8\.onnx is missing.*Zip it again"):
        add_model(variant_archive(toy_model, tmp_path, leave_out=("toy.int8.onnx",)))
    assert not any(own_folder.iterdir())


def test_an_archive_with_a_file_that_nobody_names_is_refused(archive, own_folder):
    with zipfile.ZipFile(archive, "a") as file:
        file.writestr("toy/other.onnx", b"x")
    with pytest.raises(ModelError, match=r"other\.onnx, which its card does not name"):
        add_model(archive)
    assert not any(own_folder.iterdir())


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_of_another_network_is_not_overwritten(toy_model, tmp_path, own_folder):
    add_model(variant_archive(toy_model, tmp_path, name="aa", variant="int8.onnx"))
    archive = variant_archive(toy_model, tmp_path, name="bb", variant="INT8.onnx")   # one and the same file for Windows and macOS
    with pytest.raises(ModelError, match=r"holds int8\.onnx.*belongs to the network aa.*models remove aa"):
        add_model(archive)
    assert names(own_folder) == ["aa.json", "aa.onnx", "int8.onnx"]
    remove_model("aa")
    add_model(archive)


def test_a_file_that_was_shared_stays_with_the_network_that_is_left(toy_model, tmp_path, own_folder):
    """As an earlier version could install them."""
    own_folder.mkdir()
    for name in ("aa", "bb"):
        with zipfile.ZipFile(variant_archive(toy_model, tmp_path, name=name, variant="int8.onnx")) as file:
            file.extractall(own_folder)
    remove_model("bb")
    assert names(own_folder) == ["aa.json", "aa.onnx", "int8.onnx"]


def test_what_a_killed_run_left_does_not_keep_the_network_out(toy_model, tmp_path, own_folder):
    own_folder.mkdir()
    (own_folder / "toy.int8.onnx").write_bytes(b"half of it")
    add_model(variant_archive(toy_model, tmp_path))
    assert (own_folder / "toy.int8.onnx").read_bytes() == toy_model.weights.read_bytes()


def flip(content, at):
    """With a byte's bits turned, `at` bytes behind the name of the first file in a zip: in its data."""
    at += content.index(b"toy.onnx") + len(b"toy.onnx")
    return content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1:]


def change_headers(content, at, value):
    """With two bytes of every file's headers changed; `at` counts from the local header's begin, and is two more in the directory's."""
    content = bytearray(content)
    for mark, more in ((b"PK\3\4", 0), (b"PK\1\2", 2)):
        start = content.find(mark)
        while start >= 0:
            content[start + at + more:start + at + more + 2] = value.to_bytes(2, "little")
            start = content.find(mark, start + 4)
    return bytes(content)


@pytest.mark.parametrize(("method", "harm"), [
    (zipfile.ZIP_STORED, lambda content: flip(content, 100)), (zipfile.ZIP_DEFLATED, lambda content: flip(content, 0)),
    (zipfile.ZIP_BZIP2, lambda content: flip(content, 0)), (zipfile.ZIP_LZMA, lambda content: flip(content, 20)),
    (zipfile.ZIP_DEFLATED, lambda content: change_headers(content, 6, 1)), (zipfile.ZIP_DEFLATED, lambda content: change_headers(content, 8, 97)),
    (zipfile.ZIP_DEFLATED, lambda content: content[:len(content) // 2]), (zipfile.ZIP_DEFLATED, lambda content: content[200:]),
], ids=["stored", "deflated", "bzip2", "lzma", "encrypted", "unknown method", "cut", "without its begin"])
def test_a_zip_that_cannot_be_unpacked_is_refused_in_one_way(toy_model, tmp_path, own_folder, method, harm):
    path = tmp_path / "toy.zip"
    with zipfile.ZipFile(path, "w", method) as file:
        file.write(toy_model.weights, "toy.onnx")
        file.write(toy_model.weights.with_suffix(".json"), "toy.json")
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(ModelError, match=r"toy\.zip is not a zip file, or a damaged or encrypted one"):
        add_model(path)
    assert names(own_folder) == []


@pytest.fixture
def strays(archive, own_folder):
    """Beside an added network: a file that is no card, and the card of a newer version with its weights."""
    add_model(archive)
    (own_folder / "notes.json").write_text('{"text": "buy milk"}')
    card = json.loads((own_folder / "toy.json").read_text())
    card |= {"name": "newer", "unknown": 1, "variants": [{"file": "newer.int8.onnx"}, {"file": "toy.onnx"}, {"file": "../outside.onnx"}]}
    (own_folder / "newer.json").write_text(json.dumps(card))
    for name in ("newer.onnx", "newer.int8.onnx", "../outside.onnx"):
        (own_folder / name).write_bytes(b"x")
    return own_folder


def test_a_card_that_cannot_be_read_stands_in_no_other_networks_way(strays, capsys):
    assert load_model().name == "glioma"
    assert load_model("toy").name == "toy"
    assert [model.name for model in list_models() if not model.embedded] == ["toy"]
    assert [one.name for one in unreadable_models()] == ["newer", "notes"]
    assert main(["models", "list"]) == 0
    out = capsys.readouterr().out
    assert "toy" in out
    assert "Mind: The model card notes.json does not fit this version" in out
    assert "models remove newer." in out


def test_a_bad_card_of_an_embedded_networks_name_does_not_take_its_place(own_folder):
    own_folder.mkdir(parents=True, exist_ok=True)
    for name in ("glioma", "brain"):
        (own_folder / f"{name}.json").write_text("{}")
        assert load_model(name).embedded


def test_a_card_that_cannot_be_read_is_refused_when_it_is_asked_for(strays):
    with pytest.raises(ModelError, match=r"newer\.json does not fit this version"):
        load_model("newer")
    with pytest.raises(ModelError, match="no network named gloima"):
        load_model("gloima")


def test_a_package_that_is_not_unpacked_says_so(own_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(model_zoo, "_EMBEDDED", tmp_path / "braintumorseg.zip" / "models")
    with pytest.raises(ModelError, match=r"imported from a zip.*Install it with pip"):
        load_model()


def test_a_network_whose_card_cannot_be_read_is_removed_with_what_is_its_own(strays):
    remove_model("newer")
    assert names(strays) == ["notes.json", "toy.json", "toy.onnx"]
    assert (strays.parent / "outside.onnx").is_file()
    remove_model("notes")
    assert load_model("toy").name == "toy"
    assert unreadable_models() == []


def test_a_network_does_not_take_the_place_of_one_whose_card_cannot_be_read(toy_model, tmp_path, strays):
    with pytest.raises(ModelError, match=r"named newer is there already.*models remove newer"):
        add_model(variant_archive(toy_model, tmp_path, name="newer", variant="other.onnx"))
    with pytest.raises(ModelError, match=r"newer\.int8\.onnx, and a file of that name belongs to the network newer"):
        add_model(variant_archive(toy_model, tmp_path, name="mine", variant="newer.int8.onnx"))


def test_a_name_with_a_path_in_it_removes_nothing(strays):
    (strays.parent / "precious.json").write_text("{}")
    with pytest.raises(ModelError, match="no network named"):
        remove_model("../precious")
    assert (strays.parent / "precious.json").is_file()


def test_a_zip_named_like_a_network_that_comes_with_it_says_how_to_name_it(toy_model, tmp_path, own_folder):
    card = json.loads(toy_model.weights.with_suffix(".json").read_text())
    path = tmp_path / "glioma.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.write(toy_model.weights, "glioma.onnx")
        file.writestr("glioma.json", json.dumps({**card, "name": "glioma"}))
    with pytest.raises(ModelError, match=r"named glioma comes with BrainTumorSeg and is not replaced.*export --name OTHER"):
        add_model(path)
    assert not list(own_folder.glob("*"))


def zipped(path, members, method=zipfile.ZIP_DEFLATED):
    with zipfile.ZipFile(path, "w", method) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return path


def of_toy(toy_model, **change):
    """The members of its zip, its card changed."""
    card = {**json.loads(toy_model.weights.with_suffix(".json").read_text()), **change}
    return {"toy.json": json.dumps(card), "toy.onnx": toy_model.weights.read_bytes()}


def test_a_zip_made_by_finder_or_explorer_is_taken_with_what_they_put_into_it(toy_model, tmp_path, own_folder):
    theirs = {"__MACOSX/toy/._toy.json": b"\0\5\x16\7", "__MACOSX/._toy": b"\0", "toy/._toy.onnx": b"\0", "toy/.DS_Store": b"Bud1",
              "toy/desktop.ini": b"", "Thumbs.db": b"\xd0"}
    add_model(zipped(tmp_path / "toy.zip", {**{f"toy/{name}": content for name, content in of_toy(toy_model).items()}, **theirs}))
    assert names(own_folder) == ["toy.json", "toy.onnx"]


def test_a_zip_that_would_fill_the_disk_is_refused_before_it_is_unpacked(toy_model, tmp_path, own_folder, monkeypatch):
    unpacked, real = [], model_zoo._extract
    monkeypatch.setattr(model_zoo, "_extract", lambda file, member, path: (unpacked.append(path.name), real(file, member, path)))
    monkeypatch.setattr(model_zoo, "_MOST_BYTES", 10**6)
    with pytest.raises(ModelError, match=r"unpacks to 0\.0 GB, and a network may have"):
        add_model(zipped(tmp_path / "toy.zip", {**of_toy(toy_model), "toy.onnx": bytes(2 * 10**6)}))
    with pytest.raises(ModelError, match=r"other\.onnx, which its card does not name"):
        add_model(zipped(tmp_path / "toy.zip", {**of_toy(toy_model), "other.onnx": bytes(10**5)}))
    assert unpacked == ["toy.json"] * 2
    with pytest.raises(ModelError, match=r"toy\.json in toy\.zip is too large to be the card"):
        add_model(zipped(tmp_path / "toy.zip", {**of_toy(toy_model), "toy.json": bytes(2 * 10**6)}))
    assert unpacked == ["toy.json"] * 2
    assert names(own_folder) == []


def test_what_a_killed_add_left_is_gone_after_the_next(archive, own_folder):
    program = ("import os, sys; from pathlib import Path; from braintumorseg import model_zoo;"
               "model_zoo._require_usable = lambda *_: os._exit(9); model_zoo.add_model(Path(sys.argv[1]))")
    subprocess.run([sys.executable, "-c", program, archive], check=False, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    (left,) = own_folder.iterdir()
    assert (left / "toy.onnx").is_file()
    add_model(archive)
    assert names(own_folder) == ["toy.json", "toy.onnx"]


def with_numbers_outside(toy_model, folder):
    """The toy network with its weights in a file beside it, and its card with the SHA-256 of what is left."""
    model = onnx.load(toy_model.weights)
    onnx.save(model, folder / "toy.onnx", save_as_external_data=True, location="weight.raw", size_threshold=0)
    write_card(replace(toy_model.card, sha256=sha256_of(folder / "toy.onnx")), folder / "toy.json")
    return folder / "toy.onnx"


def test_a_network_that_keeps_numbers_where_no_hash_covers_them_is_refused(toy_model, tmp_path, own_folder):
    weights = with_numbers_outside(toy_model, tmp_path)
    with pytest.raises(ModelError, match=r"toy\.onnx of toy keeps numbers in other files.*as one file"):
        load_model(weights)
    with pytest.raises(ModelError, match="keeps numbers in other files"):
        add_model(zipped(tmp_path / "toy.zip", {"toy.json": weights.with_suffix(".json").read_bytes(), "toy.onnx": weights.read_bytes()}))
    assert names(own_folder) == []


def test_a_variant_that_keeps_numbers_outside_is_refused(toy_model, tmp_path, own_folder):
    outside = with_numbers_outside(toy_model, tmp_path).read_bytes()
    (tmp_path / "toy.int8.onnx").write_bytes(outside)
    variant = {"file": "toy.int8.onnx", "sha256": sha256_of(tmp_path / "toy.int8.onnx"), "precision": "int8", "provider": "openvino"}
    with pytest.raises(ModelError, match=r"int8 variant toy\.int8\.onnx keeps numbers in other files"):
        add_model(zipped(tmp_path / "toy.zip", {**of_toy(toy_model, variants=[variant]), "toy.int8.onnx": outside}))
    assert names(own_folder) == []


def test_a_network_that_does_not_work_is_not_added(toy_model, tmp_path, own_folder):
    model = onnx.load(toy_model.weights)
    model.graph.node[1].op_type = "Identity"   # logits
    weights = model.SerializeToString()
    with pytest.raises(ModelError, match="no probabilities"):
        add_model(zipped(tmp_path / "toy.zip", {**of_toy(toy_model, sha256=hashlib.sha256(weights).hexdigest()), "toy.onnx": weights}))
    assert names(own_folder) == []


@pytest.mark.parametrize("name", ["a:b", "a*b", 'a"b', "a\\b", "nul.", ".hidden"])
def test_a_name_that_some_system_cannot_have_as_a_file_is_refused(toy_model, tmp_path, name):
    with pytest.raises(ModelError, match="file name"):
        add_model(zipped(tmp_path / "toy.zip", of_toy(toy_model, name=name)))


@pytest.mark.parametrize("there, enough", [("1.23", True), ("1.23.2", True), ("1.32.0.dev1", True), ("2.0", True), ("1.22.9", False), ("1.9", False)])
def test_a_network_is_used_and_added_only_with_the_onnx_runtime_that_it_needs(toy_model, archive, monkeypatch, there, enough):
    monkeypatch.setattr(model_zoo, "version", lambda package: there)
    if enough:
        assert load_model(toy_model.weights).name == add_model(archive).name == "toy"
        return
    with pytest.raises(ModelError, match=r"needs ONNX Runtime"):
        add_model(archive)
    with pytest.raises(ModelError, match=rf"toy needs ONNX Runtime 1\.23 or newer, and {there} is installed.*pip install --upgrade onnxruntime"):
        load_model(toy_model.weights)


def test_without_onnx_runtime_there_is_nothing_to_compare(toy_model, monkeypatch):
    def none(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(model_zoo, "version", none)
    assert load_model(toy_model.weights).name == "toy"
