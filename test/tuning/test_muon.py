"""Muon: what it makes of a gradient, and that it goes downhill."""

import pytest
import torch
from torch import nn

from vbanana_ros.tuning import muon
from vbanana_ros.tuning.muon import Muon, orthogonal


@pytest.mark.parametrize("shape", [(8, 30), (30, 8), (16, 16)])
def test_singular_values_come_near_one_and_vectors_stay(shape):
    torch.manual_seed(0)
    u, _, v = torch.linalg.svd(torch.randn(shape), full_matrices=False)
    values = torch.linspace(1, 3, min(shape))
    found = orthogonal(u * values @ v).float()
    assert found.shape == shape
    inner = u.T @ found @ v.T
    assert 0.6 < inner.diagonal().min() and inner.diagonal().max() < 1.3
    assert (inner - inner.diagonal().diag()).abs().max() < 0.05


@pytest.mark.parametrize("fast", [True, False])
def test_a_step_has_the_size_of_an_adam_step(monkeypatch, fast):
    """Root mean square 0.2 * rate, for a convolution of any shape, in either precision; decay shrinks first."""
    monkeypatch.setattr(muon, "multiplies_bf16", lambda device: fast)
    torch.manual_seed(0)
    for shape in ((32, 16, 3, 3), (64, 8, 1, 1), (24, 48)):
        weight = nn.Parameter(torch.ones(shape))
        weight.grad = torch.randn(shape)
        Muon([weight], lr=0.1, weight_decay=0.5).step()
        step = weight.detach() - 0.95
        assert step.square().mean().sqrt() == pytest.approx(0.02, rel=0.25)
        assert (step * weight.grad).sum() < 0


def test_momentum_is_nesterovs():
    weight = nn.Parameter(torch.zeros(4, 4))
    optimizer = Muon([weight], lr=1.0, momentum=0.75)
    for grad in (torch.eye(4), 2 * torch.eye(4)):
        weight.grad = grad
        optimizer.step()
    # 0.25 * 1, then 0.75 of that and 0.25 of 2.
    assert torch.allclose(optimizer.state[weight]["momentum"], 0.6875 * torch.eye(4))


def test_it_finds_the_least_squares():
    torch.manual_seed(0)
    inputs, truth = torch.randn(64, 12), torch.randn(8, 12)
    weight = nn.Parameter(torch.zeros(8, 12))
    optimizer = Muon([weight], lr=0.05)
    losses = []
    for _ in range(150):
        loss = (inputs @ weight.T - inputs @ truth.T).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < 0.02 * losses[0]


def test_a_weight_without_gradient_stays():
    still, moved = nn.Parameter(torch.ones(2, 2)), nn.Parameter(torch.ones(2, 2))
    moved.grad = torch.ones(2, 2)
    Muon([still, moved], lr=0.1).step()
    assert torch.equal(still, torch.ones(2, 2)) and not torch.equal(moved, torch.ones(2, 2))
