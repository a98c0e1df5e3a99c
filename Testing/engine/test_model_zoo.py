import json
import shutil
import zipfile
from dataclasses import replace

import pytest

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
