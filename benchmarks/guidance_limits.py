"""How near each guidance ratio of `qg` comes to the closed form on 8gaussians when nothing is left to learn.

    python benchmarks/guidance_limits.py --run out/laboratory/ratios-8gaussians-qg-snr_real-s0

The behaviour's noise prediction is that of the mixture, exactly; the critic is the run's.  Guidance solves
eps_hat = eps_b(x_i) - eta clamp(ratio grad Q(x0hat(x_i, eps_hat))) by damped iteration.  `exact` guides by
the true gradient, that of log E[exp(eta e(a)) | x_i].  What remains is the variant's own error.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[1]))

from trajrl import load_run
from trajrl.envs.bandit import find_bandit, shape
from trajrl.nets.diffusion import Diffusion
from trajrl.nets.guidance import RATIOS, guidance, strength
from trajrl.nets.solvers import plan, sample
from trajrl.report.bandit.measures import goal, measure
from trajrl.report.bandit.policy import start

NAME = "8gaussians"
POSTERIOR = 8  # actions drawn from p(a | x_i) where the gradient is taken at the data's action
ITERATIONS, DAMPING = 30, 0.3
Score = Callable[[Tensor, int], Tensor]


class Mixture:
    """The data's density: equal Gaussians, in units of the box."""

    def __init__(self) -> None:
        bandit, bare = find_bandit(NAME), shape(NAME)
        order = bare.mode.argsort()
        self.centres = torch.tensor(bare.x[order] / bandit.box).float()  # (M, 2)
        self.energy = torch.tensor(bare.energy[order]).float()  # (M,)
        self.variance = (bandit.spread / 3 / bandit.box) ** 2

    def eps(self, x: Tensor, signal: float, noise: float, eta: float = 0.0) -> Tensor:
        """Return E[eps | x_i] under p(a) exp(eta e(a)), (B, 2)."""
        share, gap, spread = self.shares(x, signal, noise, eta)
        return noise * (share[..., None] * gap).sum(1) / spread

    def shares(
        self, x: Tensor, signal: float, noise: float, eta: float = 0.0
    ) -> tuple[Tensor, Tensor, float]:
        """Return p(mode | x_i) (B, M), x_i less the modes' centres (B, M, 2), and their variance."""
        spread = signal**2 * self.variance + noise**2
        gap = x[:, None] - signal * self.centres
        return torch.softmax(eta * self.energy - gap.square().sum(-1) / (2 * spread), 1), gap, spread

    def actions(self, x: Tensor, signal: float, noise: float, rng: torch.Generator) -> Tensor:
        """Draw a ~ p(a | x_i), (B, 2)."""
        share, gap, spread = self.shares(x, signal, noise)
        mode = torch.multinomial(share, 1, generator=rng)[:, 0]
        mean = self.centres[mode] + signal * self.variance / spread * gap[torch.arange(len(x)), mode]
        deviation = (self.variance * noise**2 / spread) ** 0.5
        return mean + deviation * torch.randn(x.shape, generator=rng)


def guided(
    ratio: str, eta: float, clip: float, diffusion: Diffusion, value: Callable[[Tensor], Tensor]
) -> Score:
    """Return the noise prediction of a fully learned `qg`; ratio `exact` is the closed form's."""
    mixture, rng = Mixture(), torch.Generator().manual_seed(1)

    def predict(x: Tensor, index: int) -> Tensor:
        level = torch.full((len(x),), diffusion.steps - 1 - index)
        signal, noise = (float(part[level[0]]) for part in (diffusion.signal, diffusion.noise))
        if ratio == "exact":
            return mixture.eps(x, signal, noise, eta)
        size, base = strength(diffusion, level, ratio), mixture.eps(x, signal, noise)
        if RATIOS[ratio].place == "action":
            drawn = [mixture.actions(x, signal, noise, rng) for _ in range(POSTERIOR)]
            pulls = [size * guidance(value, diffusion, a, x, level, base, ratio) for a in drawn]
            return base - eta * torch.stack(pulls).clamp(-clip, clip).mean(0)
        eps_hat = base
        for _ in range(ITERATIONS):
            g = guidance(value, diffusion, x, x, level, eps_hat, ratio)
            eps_hat = eps_hat + DAMPING * (base - eta * (size * g).clamp(-clip, clip) - eps_hat)
        return eps_hat

    return predict


def main() -> None:
    """Print a row for every ratio."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--run", required=True, help="a toy run with a critic on 8gaussians")
    parser.add_argument("--T", type=int, default=20, help="denoising steps, cosine schedule")
    parser.add_argument("--eta", type=float, default=3.0, help="inverse temperature")
    parser.add_argument("--samples", type=int, default=4_000)
    options = parser.parse_args()
    agent = load_run(options.run).policy().agent
    diffusion = Diffusion(options.T, "cosine")
    steps, wanted = plan(diffusion.abar), goal(NAME, options.eta, options.samples)
    print(
        "| ratio | mean energy | total variation | off every mode, % | mode masses |\n|---|---|---|---|---|"
    )
    rows = start(agent, options.samples)

    def value(actions: Tensor) -> Tensor:
        return agent.values(rows, actions[:, None]).amin(0)

    for ratio in ("exact", *RATIOS):
        noise = torch.randn(steps.draws, options.samples, 2, generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            x = sample(steps, guided(ratio, options.eta, 1.0, diffusion, value), noise)
        found = measure(NAME, x.double().numpy() * find_bandit(NAME).box, wanted)
        masses = " ".join(f"{mass:.3f}" for mass in found["mode_masses"])
        print(
            f"| {ratio} | {found['mean_energy']:.3f} | {found['total_variation']:.3f} "
            f"| {100 * found['off_mode']:.1f} | {masses} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
