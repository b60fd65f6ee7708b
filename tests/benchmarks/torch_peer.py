"""FRePo's step and the training of a network in PyTorch: channels last, eager or compiled, as good scripts are written.

Weights come from frepo's networks, so that the same numbers can be asked of both.
"""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from frepo.networks.convnets import ConvNet
from frepo.spec import Frepo

CHANNELS_LAST = torch.channels_last
LEARNING_RATE = 3e-4
"""Of the networks."""


class TorchConvNet(nn.Module):
    """frepo's `ConvNet` with ReLU and average pooling: batch normalisation before each convolution but the first.

    Returns (features [n, d], logits [n, C]) of images [n, c, h, w]; the features are in frepo's order.
    """

    def __init__(self, like: ConvNet, weights: Mapping[str, Any]) -> None:
        super().__init__()
        params, statistics = weights["params"], weights["batch_stats"]
        self.convolutions = nn.ModuleList(_convolution(params[f"Conv_{block}"]) for block in range(like.depth))
        normalised = like.normalization == "batch"
        self.norms = nn.ModuleList(
            _batch_norm(params[f"BatchNorm_{block}"], statistics[f"BatchNorm_{block}"], like.batch_momentum)
            if normalised
            else nn.Identity()
            for block in range(like.depth - 1)
        )
        self.head = _dense(params["Dense_0"])
        self.to(memory_format=CHANNELS_LAST)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return (features, logits)."""
        if x.shape[1] == 1:
            x = functional.pad(x, (2, 2, 2, 2))
        for block, convolution in enumerate(self.convolutions):
            if block > 0:
                x = self.norms[block - 1](x)
            x = functional.avg_pool2d(functional.relu(convolution(x)), 2)
        features = x.permute(0, 2, 3, 1).reshape(len(x), -1)
        return features, self.head(features)


def _convolution(weights: Mapping[str, Any]) -> nn.Conv2d:
    kernel = np.asarray(weights["kernel"]).transpose(3, 2, 0, 1)
    layer = nn.Conv2d(kernel.shape[1], kernel.shape[0], 3, padding=1)
    return _filled(layer, weight=kernel, bias=weights["bias"])


def _dense(weights: Mapping[str, Any]) -> nn.Linear:
    kernel = np.asarray(weights["kernel"]).T
    return _filled(nn.Linear(kernel.shape[1], kernel.shape[0]), weight=kernel, bias=weights["bias"])


def _batch_norm(weights: Mapping[str, Any], statistics: Mapping[str, Any], momentum: float) -> nn.BatchNorm2d:
    layer = nn.BatchNorm2d(len(weights["scale"]), momentum=1 - momentum)
    means = {"running_mean": statistics["mean"], "running_var": statistics["var"]}
    return _filled(layer, weight=weights["scale"], bias=weights["bias"], **means)


def _filled(layer: Any, **arrays: Any) -> Any:
    with torch.no_grad():
        for name, array in arrays.items():
            getattr(layer, name).copy_(torch.from_numpy(np.array(array)))
    return layer


def as_tensor(images: np.ndarray) -> Tensor:
    """Return images [n, h, w, c] as a float32 tensor [n, c, h, w], channels last."""
    return torch.from_numpy(np.array(images, np.float32)).permute(0, 3, 1, 2)


def half_squared_error(prediction: Tensor, target: Tensor) -> Tensor:
    """Return the mean over examples of half the squared error summed over classes."""
    return 0.5 * ((prediction - target) ** 2).sum(-1).mean()


def training(network: nn.Module, images: Tensor, labels: Tensor, *, compiled: bool) -> Callable[[], None]:
    """Return one step of Adam on all of the images, in training mode."""
    optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE)
    return partial(_train, torch.compile(network) if compiled else network, optimizer, images, labels)


def _train(network: Any, optimizer: torch.optim.Optimizer, images: Tensor, labels: Tensor) -> None:
    network.train()
    optimizer.zero_grad(set_to_none=True)
    half_squared_error(network(images)[1], labels).backward()
    optimizer.step()


class FrepoStep:
    """A step of FRePo on networks of a pool, chosen by the caller."""

    def __init__(
        self, pool: list[TorchConvNet], images: Tensor, labels: Tensor, settings: Frepo, *, compiled: bool
    ) -> None:
        self.images = images.clone(memory_format=CHANNELS_LAST).requires_grad_()
        self.labels = labels.clone().requires_grad_()
        self.settings = settings
        self.pool: list[Any] = [torch.compile(member) if compiled else member for member in pool]
        self.optimizer = torch.optim.Adam([self.images, self.labels], lr=settings.learning_rate)
        self.of_members = [torch.optim.Adam(member.parameters(), lr=LEARNING_RATE) for member in pool]

    def gradient(self, member: int, batch: Tensor, batch_labels: Tensor) -> tuple[Tensor, ...]:
        """Return the gradient of the meta loss with respect to the images and the labels."""
        network = self.pool[member].eval()
        with torch.no_grad():
            f_TxD = network(batch)[0]
        x, y = self.images, self.labels
        if self.settings.flip:
            x, y = torch.cat([x, x.flip(3)]), torch.cat([y, y])
        f_SxD = network(x)[0]
        k_SxS, k_TxS = f_SxD @ f_SxD.T, f_TxD @ f_SxD.T
        ridge = self.settings.reg * k_SxS.trace() / len(k_SxS)
        factor = torch.linalg.cholesky(k_SxS + ridge * torch.eye(len(k_SxS)))
        prediction = k_TxS @ torch.cholesky_solve(y, factor)
        classes = y.shape[1]
        top = self.labels.topk(2).values
        margin = (top[:, 0] - top[:, 1]).clamp(max=1 / classes).mean()
        loss = half_squared_error(prediction, batch_labels) - margin
        return torch.autograd.grad(loss, [self.images, self.labels])

    def __call__(self, member: int, batch: Tensor, batch_labels: Tensor) -> None:
        """Update the images and labels, then train the pool's network on them."""
        self.images.grad, self.labels.grad = self.gradient(member, batch, batch_labels)
        self.optimizer.step()
        _train(self.pool[member], self.of_members[member], self.images.detach(), self.labels.detach())
