import torch

from braintumorseg_training.config import Config
from braintumorseg_training.networks import build


def test_in_training_the_stem_and_the_head_are_the_same_sums_in_another_order():
    torch.manual_seed(0)
    network = build(Config(channels=(8, 8), patch=(16, 16, 16)))
    for layer, shape in ((network.stem, (2, 4, 12, 8, 16)), (network.head, (2, 8, 6, 4, 8))):
        x = torch.randn(shape)
        results = []
        for training in (False, True):
            layer.train(training).zero_grad()
            y = layer(x)
            (y * torch.linspace(-1, 1, y.numel()).view(y.shape)).sum().backward()
            results.append((y.detach(), layer.weight.grad.clone(), layer.bias.grad.clone()))
        for plain, fast in zip(*results, strict=True):
            torch.testing.assert_close(fast, plain, rtol=1e-4, atol=1e-4)
