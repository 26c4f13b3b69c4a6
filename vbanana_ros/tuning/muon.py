"""Muon: momentum whose matrices are made orthogonal before they are applied.

K. Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024; the scale of the steps is that of
J. Liu et al., "Muon is Scalable for LLM Training" (arXiv 2502.16982), so that rate and decay mean what they mean in
AdamW. torch.optim.Muon takes no convolutions.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.distributed as dist
from torch import nn

from vbanana_ros.generators.precision import multiplies_bf16

# A quintic whose iterates send every singular value in (0, 1] near 1.
_A, _B, _C = 3.4445, -4.7750, 2.0315


class Muon(torch.optim.Optimizer):
    """For weights of two dimensions and more; a convolution's are taken as [out, in * height * width]."""

    def __init__(self, params: Iterable[nn.Parameter], lr: float, weight_decay: float = 0.0, momentum: float = 0.95,
                 iterations: int = 5) -> None:
        super().__init__(params, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum,
                                  "iterations": iterations})

    @torch.no_grad()
    def step(self) -> None:
        """Apply the gradients, with Nesterov's momentum; of several processes each makes its share orthogonal."""
        rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            dtype = torch.bfloat16 if multiplies_bf16(weights[0].device) else torch.float32
            updates = torch.zeros(sum(w.numel() for w in weights), dtype=dtype, device=weights[0].device)
            parts = updates.split([w.numel() for w in weights])
            for i, (weight, part) in enumerate(zip(weights, parts, strict=True)):
                mean = self.state[weight].setdefault("momentum", torch.zeros_like(weight))
                mean.lerp_(weight.grad, 1 - group["momentum"])
                if i % world == rank:
                    ahead = weight.grad.lerp(mean, group["momentum"]).flatten(1)
                    part.copy_(orthogonal(ahead.to(dtype), group["iterations"]).flatten())
            if world > 1:
                dist.all_reduce(updates)
            for weight, part in zip(weights, parts, strict=True):
                longest = max(len(weight), weight[0].numel())
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                weight.add_(part.view_as(weight), alpha=-group["lr"] * 0.2 * longest**0.5)


def orthogonal(matrix: torch.Tensor, iterations: int = 5) -> torch.Tensor:
    """The nearest (semi-)orthogonal matrix to [M, N], roughly: singular values between 0.7 and 1.2."""
    tall = len(matrix) > matrix.shape[1]
    x = matrix.T.contiguous() if tall else matrix
    x = x / (x.norm() + 1e-7)
    for _ in range(iterations):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=_B, alpha=_C), x, beta=_A)
    return x.T if tall else x
