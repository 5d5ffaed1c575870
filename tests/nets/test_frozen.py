"""Frozen, a step and a slow average change nothing; outside both do."""

import torch

from trajrl.nets.frozen import frozen
from trajrl.nets.optim import Optimiser
from trajrl.nets.targets import follow


def test_nothing_moves_while_frozen():
    weight, average = torch.ones(2, requires_grad=True), torch.zeros(2)
    optimiser = Optimiser([weight], lr=0.1)
    with frozen():
        assert optimiser.step(weight.sum()) == 0
        follow([average], [weight.detach()], 0.5)
    assert weight.tolist() == [1, 1]
    assert average.tolist() == [0, 0]
    assert optimiser.count == 0
    assert optimiser.step(weight.sum()) > 0
    follow([average], [torch.ones(2)], 0.5)
    assert (weight < 1).all()
    assert average.tolist() == [0.5, 0.5]
