"""Time the modern proxies against the plain way to compute them, one thread, in one run.

    python benchmarks/modern_seconds.py [--cell CELL] [--batch-size 64] [--repeats 2]

The plain way is what the papers' formulas say and their public code does: every proxy by itself, with its own forward
and backward passes, gradients of single images by as many passes or by PyTorch's function transforms. Ours are
timed each alone, and those that are usually asked for together in one call. The condition of the neural tangent kernel
is that of images that are normalised each for itself, and beside it of a whole batch, as the public code has it.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from common import data_folder, machine, print_table, seconds
from torch import nn
from torch.func import functional_call, jacrev

from trainless import score
from trainless.data import load_data
from trainless.search_spaces import search_space

CELL = "|nor_conv_1x1~0|+|nor_conv_3x3~0|none~1|+|avg_pool_3x3~0|nor_conv_1x1~1|nor_conv_3x3~2|"
TENSORS = 128

Batch = tuple[torch.Tensor, torch.Tensor]


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cell", default=CELL)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    batch = load_data(data_folder() / "cifar-10-batches-bin").batch(2 * arguments.batch_size)
    both = batch.images, batch.labels
    images, labels = (tensor[: arguments.batch_size] for tensor in both)
    space = search_space("nasbench201")
    network = space.build(space.parse(arguments.cell), batch.task)
    print(f"{machine()}, one thread; batch of {arguments.batch_size}, {arguments.cell}\n")
    rows, plain_sum, own_sum = [], 0.0, 0.0
    for name, proxies, plain in (
        ("AZ-NAS, three", "az_expressivity, az_progressivity, az_trainability", az),
        ("ZiCo, two batches", "zico", zico),
        ("SWAP", "swap", swap),
        ("VKDNW", "vkdnw", vkdnw),
        ("NTK condition", "ntk_condition", ntk),
    ):
        given = both if name.startswith("ZiCo") else (images, labels)
        slow = seconds(lambda plain=plain, given=given: plain(network, given), 1)
        quick = seconds(lambda proxies=proxies, given=given: score(network, *given, proxies=proxies), arguments.repeats)
        rows.append((name, slow, quick, f"{slow / quick:.1f}x"))
        plain_sum, own_sum = plain_sum + slow, own_sum + quick
    rows.append(("sum", plain_sum, own_sum, f"{plain_sum / own_sum:.1f}x"))
    published = seconds(lambda: score(network, images, labels, proxies="ntk_condition:published"), 1)
    rows.append(("NTK condition as published", slow, published, f"{slow / published:.1f}x"))
    own_sum += published - quick
    rows.append(("sum with that", plain_sum, own_sum, f"{plain_sum / own_sum:.1f}x"))
    print_table(("proxy", "plain, s", "trainless, s", "ratio"), rows)
    usual = "snip, nwot, jacov"
    alone = seconds(lambda: score(network, images, labels, proxies=usual), arguments.repeats)
    added = []
    for names in (
        "az_expressivity, az_progressivity", "az_trainability", "near", "meco, meco_opt", "intrain", "swap",
    ):  # fmt: skip
        more = seconds(
            lambda names=names: score(network, images, labels, proxies=f"{usual}, {names}"), arguments.repeats
        )
        added.append((names, more - alone, f"{100 * (more / alone - 1):.0f} %"))
    print(f"\n{usual} take {alone:.3f} s; what others add to them:\n")
    print_table(("proxies", "seconds more", "of these"), added)


def az(network: nn.Module, batch: Batch) -> None:
    """Expressivity and progressivity of the features, trainability by a backward pass through each block."""
    features = [batch[0].requires_grad_()]
    for name in network.block_paths:
        inner = network.get_submodule(name.rpartition(".")[0])
        features.append(features[-1])
        start = 0 if len(features) == 2 else int(network.block_paths[len(features) - 3].rpartition(".")[2]) + 1
        for number in range(start, int(name.rpartition(".")[2]) + 1):
            features[-1] = inner[number](features[-1])
    for before, after in itertools.pairwise(features[1:]):
        rows = after.detach().movedim(1, 0).flatten(1)
        centred = rows - rows.mean(1, keepdim=True)
        torch.linalg.eigvalsh(centred @ centred.t() / rows.shape[1])
        signs = 2 * torch.bernoulli(torch.full_like(after, 0.5)) - 1
        (gradient,) = torch.autograd.grad(after, before, signs, retain_graph=True)
        if gradient.shape[2:] != signs.shape[2:]:
            gradient = F.pixel_unshuffle(gradient, 2)
        product = gradient.movedim(1, 0).flatten(1) @ signs.movedim(1, 0).flatten(1).t()
        torch.linalg.svdvals(product)
    batch[0].requires_grad_(False)


def zico(network: nn.Module, batch: Batch) -> None:
    """The gradients of the loss on each half of the batch."""
    weights = [module.weight for module in network.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    half = len(batch[0]) // 2
    found = []
    for part in (slice(half), slice(half, 2 * half)):
        loss = F.cross_entropy(network(batch[0][part]), batch[1][part])
        found.append([gradient.flatten() for gradient in torch.autograd.grad(loss, weights)])
    for first, second in zip(*found, strict=True):
        both = torch.stack([first, second])
        deviation = both.std(0, correction=0)
        kept = deviation != 0
        (both.abs().mean(0)[kept] / deviation[kept]).sum().log()


def swap(network: nn.Module, batch: Batch) -> None:
    """The distinct columns of the codes of all ReLUs."""
    codes: list[torch.Tensor] = []
    hooks = [
        module.register_forward_hook(lambda module, inputs, output: codes.append(output.detach().sign().flatten(1)))
        for module in network.modules()
        if isinstance(module, nn.ReLU)
    ]
    with torch.no_grad():
        network(batch[0])
    for hook in hooks:
        hook.remove()
    len(torch.unique(torch.cat(codes, 1).t(), dim=0))


def vkdnw(network: nn.Module, batch: Batch) -> None:
    """The Jacobian of the outputs of each image by reverse mode, of which the first element of each tensor is kept."""
    network.eval()
    parameters = dict(list(network.named_parameters())[:TENSORS])
    rows = []
    for image in batch[0].split(1):
        jacobian = jacrev(lambda given, image=image: functional_call(network, given, (image,))[0])(parameters)
        rows.append(torch.stack([part.flatten(1)[:, 0] for part in jacobian.values()], 1).detach())
    network.train()
    together: Callable[[], torch.Tensor] = torch.cat(rows).t
    torch.linalg.svdvals(together() @ torch.cat(rows))


def ntk(network: nn.Module, batch: Batch) -> None:
    """A backward pass through the whole batch for each image."""
    parameters = [parameter for name, parameter in network.named_parameters() if "weight" in name]
    rows = []
    for value in network(batch[0]).sum(1):
        gradients = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
        rows.append(torch.cat([gradient.flatten() for gradient in gradients if gradient is not None]))
    kernel = torch.stack(rows)
    torch.linalg.eigvalsh(kernel @ kernel.t())


if __name__ == "__main__":
    main()
