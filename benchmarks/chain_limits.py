"""What a denoising chain leaves off the modes when nothing is left to learn: the exact score of the data.

    python benchmarks/chain_limits.py                   # 8gaussians and rings, every schedule, a few lengths

The data's density is a mixture of equal Gaussians: 8 of them, or as many as make a ring of many.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from trajrl.envs.bandit import find_bandit, shape
from trajrl.nets.diffusion import Diffusion
from trajrl.nets.solvers import plan, sample
from trajrl.report.bandit.measures import goal, measure

SETS = ("8gaussians", "rings")
SCHEDULES = ("cosine", "vp", "linear")
LENGTHS = (5, 20, 50)
BLOCK = 500  # samples whose distances to every centre are held at once


def exact(name: str, diffusion: Diffusion) -> Callable[[Tensor, int], Tensor]:
    """Return E[eps | x_i] of a bandit's data, in units of the box."""
    bandit = find_bandit(name)
    centres = torch.tensor(shape(name).x / bandit.box).float()  # (M, 2)
    variance = (bandit.spread / 3 / bandit.box) ** 2

    def predict(x: Tensor, index: int) -> Tensor:
        level = diffusion.steps - 1 - index
        signal, noise = float(diffusion.signal[level]), float(diffusion.noise[level])
        spread = signal**2 * variance + noise**2
        blocks = []
        for block in x.split(BLOCK):
            gap = block[:, None] - signal * centres  # (b, M, 2)
            share = torch.softmax(-gap.square().sum(-1) / (2 * spread), 1)
            blocks.append(noise * (share[..., None] * gap).sum(1) / spread)
        return torch.cat(blocks)

    return predict


def main() -> None:
    """Print a row for every set, schedule and length."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=2_000)
    options = parser.parse_args()
    print("| set | schedule | T | off every mode, % | mode masses |\n|---|---|---|---|---|")
    for name in SETS:
        wanted = goal(name, 0.0, options.samples)
        for schedule in SCHEDULES:
            for length in LENGTHS:
                diffusion = Diffusion(length, schedule)
                steps, rng = plan(diffusion.abar), torch.Generator().manual_seed(0)
                noise = torch.randn(steps.draws, options.samples, 2, generator=rng)
                x = sample(steps, exact(name, diffusion), noise)
                found = measure(name, x.double().numpy() * find_bandit(name).box, wanted)
                masses = " ".join(f"{mass:.3f}" for mass in found["mode_masses"])
                print(f"| {name} | {schedule} | {length} | {100 * found['off_mode']:.1f} | {masses} |")


if __name__ == "__main__":
    main()
