import json
import shutil
import zipfile

import pytest

from braintumorseg.errors import ModelError
from braintumorseg.model_zoo import add_model, list_models, load_model, remove_model


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


def variant_archive(toy_model, folder, leave_out=()):
    """A zip of the toy network with a second file that its card names as its INT8 variant."""
    from dataclasses import replace

    from braintumorseg.model_card import Variant, write_card
    from braintumorseg.weights import sha256_of

    shutil.copy(toy_model.weights, folder / "toy.onnx")
    shutil.copy(toy_model.weights, folder / "toy.int8.onnx")
    write_card(replace(toy_model.card, variants=(Variant("toy.int8.onnx", sha256_of(toy_model.weights), "int8", "openvino", ("vnni",)),)),
               folder / "toy.json")
    with zipfile.ZipFile(folder / "toy.zip", "w") as file:
        for name in ("toy.onnx", "toy.int8.onnx", "toy.json"):
            if name not in leave_out:
                file.write(folder / name, name)
    return folder / "toy.zip"


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
