import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from braintumorseg.errors import ModelError
from braintumorseg.model_card import read_card
from braintumorseg.runtime import open_session
from braintumorseg_training import fold as folding
from braintumorseg_training.cli import main
from braintumorseg_training.config import BrainConfig, Config, PretrainConfig, read_config
from braintumorseg_training.data import Split
from braintumorseg_training.export import export
from braintumorseg_training.fold import fold, folded_start, typical_images, whole_image
from braintumorseg_training.networks import build, normed_convolutions
from braintumorseg_training.schedule import USUAL_SIZE, build_optimiser, set_rate
from braintumorseg_training.train import fit, load_checkpoint
from braintumorseg_training.transfer import begin_from, read_weights, take_weights

SMALL = Config(channels=(8, 8, 8), patch=(16, 16, 16), steps=4, warm_up=1, bf16=False, transplant=0.0)
BARE = replace(SMALL, norm="none")
SPLIT = Split(("case0", "case1"), ())


def quiet(line):
    pass


def lively(config, seed=0):
    """A network whose norms do more than fresh ones do."""
    torch.manual_seed(seed)
    network = build(config)
    with torch.no_grad():
        for *_, norm in normed_convolutions(network):
            norm.weight.uniform_(0.5, 2)
            norm.bias.normal_()
    return network.eval()


def images(count, seed=1, side=24):
    return [torch.randn(1, 4, side, side, side, generator=torch.Generator().manual_seed(seed + n)) for n in range(count)]


def bare_with(weights, config=BARE):
    network = build(config)
    network.load_state_dict(weights)
    return network.eval()


@pytest.mark.parametrize("name", ["resunet", "unet", "attention_unet"])
@torch.inference_mode()
def test_folded_with_one_image_a_network_answers_to_that_image_as_before(name):
    config = replace(SMALL, network=name)
    network, (image, other) = lively(config), images(2)
    answer, elsewhere = network(image), network(other * 3)
    bare = bare_with(fold(copy.deepcopy(network), [image]), replace(config, norm="none"))
    assert torch.allclose(bare(image), answer, rtol=1e-3, atol=1e-3)
    assert not torch.allclose(bare(other * 3), elsewhere, rtol=0.1, atol=0.1)     # there the norms would have looked at the other image
    assert not any(isinstance(module, torch.nn.GroupNorm) for module in bare.modules())


@torch.inference_mode()
def test_a_folded_network_does_not_feel_how_much_air_there_is_and_a_normed_one_does():
    network, image = lively(SMALL), images(1)[0]
    bare = bare_with(fold(copy.deepcopy(network), [image]))
    wide = torch.nn.functional.pad(image, (0, 64) * 3)
    middle = (..., *[slice(0, 4)] * 3)       # farther from the new air than three levels can see
    far = torch.nn.functional.pad(wide, (0, 64) * 3)
    assert torch.allclose(bare(wide)[middle], bare(far)[middle], atol=1e-5)
    assert not torch.allclose(network(wide)[middle], network(far)[middle], atol=1e-2)


@torch.inference_mode()
def test_the_statistics_are_the_mean_over_the_cases():
    network, (one, two) = lively(SMALL), images(2)
    first = next(normed_convolutions(network))
    convolution, norm = copy.deepcopy(first[2]), copy.deepcopy(first[3])
    before = [convolution(network.stem(image)) for image in (one, two)]
    mean = torch.stack([x.mean((0, 2, 3, 4)) for x in before]).mean(0)
    variance = torch.stack([x.var((0, 2, 3, 4), correction=0) for x in before]).mean(0)
    folded = fold(network, [one, two])
    scale = norm.weight / (variance + norm.eps).sqrt()
    assert torch.allclose(folded["first.conv1.conv.weight"], convolution.weight * scale[:, None, None, None, None], rtol=1e-4)
    assert torch.allclose(folded["first.conv1.conv.bias"], norm.bias - mean * scale, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ["resunet", "unet", "attention_unet"])
@torch.inference_mode()
def test_without_norms_any_even_sides_will_do_and_give_what_more_air_would(name):
    config = replace(SMALL, network=name)
    bare = bare_with(fold(lively(config), images(2)), replace(config, norm="none"))
    image = images(1, side=112)[0][..., :106, :102, :110]
    wide = bare(torch.nn.functional.pad(image, (0, 2, 0, 10, 0, 6)))      # sides of 112, which three levels divide
    found = bare(image)
    assert found.shape == (1, 3, 106, 102, 110)
    middle = (..., *[slice(0, 8)] * 3)
    assert torch.allclose(found[middle], wide[middle], atol=1e-4)


def test_weights_with_norms_are_folded_at_the_start_and_weights_without_are_taken_as_they_are():
    said, normed = [], lively(SMALL).state_dict()
    folded = folded_start(BARE, normed, "normed.pt", lambda: images(3), said.append)
    assert said == ["13 norms folded into the convolutions before them, with the statistics of 3 cases"]
    assert take_weights(build(BARE), folded, "normed.pt", quiet).share == 1.0
    assert folded_start(BARE, folded, "folded.pt", None, quiet) is folded
    large = replace(SMALL, channels=(32, 32, 64)), replace(BARE, channels=(32, 32, 64))
    other = {**lively(large[0]).state_dict(), "head.weight": torch.zeros(32, 4, 2, 2, 2), "head.bias": torch.zeros(4)}      # as pretraining leaves it
    assert not {"head.weight", "head.bias"} & set(folded_start(large[1], other, "pretrained.pt", lambda: images(1), quiet))
    assert folded_start(SMALL, normed, "normed.pt", None, quiet) is normed


def test_a_run_with_norms_does_not_begin_from_a_network_that_lost_them():
    folded = folded_start(BARE, lively(SMALL).state_dict(), "normed.pt", lambda: images(1), quiet)
    del folded["side_head.weight"], folded["side_head.bias"]      # as an export lacks them
    with pytest.raises(ModelError, match=r"folded\.onnx is of a network whose norms were folded"):
        folded_start(SMALL, folded, "folded.onnx", None, quiet)
    other = Config(network="segresnet", channels=(8, 16, 32))
    found = build(other).state_dict()
    assert folded_start(other, found, "other.pt", None, quiet) is found


def test_what_is_not_the_network_whose_norms_are_to_be_folded_is_refused():
    normed = lively(replace(SMALL, channels=(8, 8, 16))).state_dict()
    with pytest.raises(ModelError, match=r"other\.pt gives \d+ % of the weights of the network whose norms"):
        folded_start(BARE, normed, "other.pt", lambda: images(1), quiet)
    with pytest.raises(ModelError, match="needs images"):
        fold(lively(SMALL), [])


def test_random_weights_without_norms_are_refused(tmp_path):
    with pytest.raises(ModelError, match="does not learn from random weights"):
        begin_from(BARE, None, tmp_path)
    for kind in (BrainConfig, PretrainConfig):
        with pytest.raises(ModelError, match="starts from random weights"):
            kind(norm="none")
    with pytest.raises(ModelError, match="segresnet's norms"):
        Config(network="segresnet", channels=(8, 16, 32), norm="none")
    with pytest.raises(ModelError, match="norm 'batch' is none of instance, none"):
        Config(norm="batch")


def test_steps_are_as_large_beside_the_weights_as_with_norms():
    network = build(BARE)
    with torch.no_grad():
        network.first.conv1.conv.weight.fill_(USUAL_SIZE / 10)
        network.head.weight.fill_(1.0)
    optimiser = build_optimiser(BARE, network)
    set_rate(optimiser, 1e-3)
    rates = {id(group["params"][0]): group["lr"] for group in optimiser.param_groups}
    assert rates[id(network.first.conv1.conv.weight)] == pytest.approx(1e-4)
    assert rates[id(network.head.weight)] == rates[id(network.first.conv1.conv.bias)] == 1e-3
    normed = build_optimiser(SMALL, build(SMALL))
    set_rate(normed, 1e-3)
    assert [group["lr"] for group in normed.param_groups] == [1e-3]


def test_from_a_normed_run_to_an_exported_network_without_norms_and_back(packed, tmp_path):
    import onnx

    fit(SMALL, packed, SPLIT, tmp_path / "normed", device="cpu", say=quiet)
    settings = [text for name, value in (("channels", "[8,8,8]"), ("patch", "[16,16,16]"), ("steps", "2"), ("warm_up", "1"), ("bf16", "false"),
                                         ("norm", "none")) for text in ("--set", f"{name}={value}")]
    (tmp_path / "split.json").write_text('{"train": ["case0", "case1"], "validation": []}')
    out = tmp_path / "bare"
    assert main(["fit", "--data", str(packed), "--split", str(tmp_path / "split.json"), "--out", str(out), "--device", "cpu",
                 "--init", str(tmp_path / "normed" / "checkpoint.pt"), *settings]) in (0, None)
    assert read_config(out / "config.json").norm == "none"
    weights = export(out, packed, SPLIT, tmp_path / "made", "bare", "1", say=quiet)     # and ONNX Runtime agrees with torch, or it raises
    assert "InstanceNormalization" not in {node.op_type for node in onnx.load(weights).graph.node}
    assert read_card(weights.with_suffix(".json")).size_multiple == 8
    assert open_session(weights, "cpu").run(np.zeros((4, 18, 22, 26), np.float32)).shape == (3, 18, 22, 26)
    found, saved = read_weights(weights), load_checkpoint(out / "checkpoint.pt")["average"]
    assert folded_start(BARE, found, weights.name, None, quiet) is found
    again = build(BARE)
    assert set(take_weights(again, found, weights.name, quiet).missing) <= {"side_head.weight", "side_head.bias"}
    assert torch.allclose(again.state_dict()["first.conv1.conv.bias"], saved["first.conv1.conv.bias"], atol=1e-3)   # stored as halves
    steps = load_checkpoint(out / "checkpoint.pt")["optimiser"]["param_groups"]
    fit(replace(BARE, steps=3, init=read_config(out / "config.json").init), packed, SPLIT, out, device="cpu", say=quiet)   # goes on
    assert [group["step_scale"] for group in load_checkpoint(out / "checkpoint.pt")["optimiser"]["param_groups"]] == \
        [group["step_scale"] for group in steps]


def test_of_many_cases_some_drawn_by_the_seed_are_looked_at_and_how_far_it_is_is_said(packed, monkeypatch):
    names, said = [f"case{number}" for number in range(4)], []

    def shapes(config):
        return [tuple(image.shape) for image in typical_images(packed, names, config, said.append)]

    assert len(shapes(SMALL)) == 4
    assert said == ["folding norms: looking at 4 of 4 training cases"]
    monkeypatch.setattr(folding, "_TYPICAL", 3)
    monkeypatch.setattr(folding, "_SAY_EVERY", 2)
    drawn = [shapes(replace(SMALL, seed=seed)) for seed in range(8)]
    assert {len(one) for one in drawn} == {3}
    assert shapes(replace(SMALL, seed=0)) == drawn[0]
    assert len(set(map(tuple, drawn))) > 1
    assert said[-2:] == ["folding norms: looking at 3 of 4 training cases", "folding norms: 2 of 3 cases seen"]


def test_norms_are_folded_on_the_device_that_trains():
    folded = folded_start(BARE, lively(SMALL).state_dict(), "normed.pt", lambda: images(1), quiet, device="meta")
    assert {weights.device.type for weights in folded.values()} == {"meta"}


def test_a_whole_image_is_padded_behind_with_zeros():
    image = whole_image(np.ones((4, 5, 8, 9), np.float16), 8)
    assert (image.shape, image.dtype) == ((1, 4, 8, 8, 16), torch.float32)
    assert float(image.sum()) == 4 * 5 * 8 * 9
    assert float(image[:, :, :5, :, :9].min()) == 1
