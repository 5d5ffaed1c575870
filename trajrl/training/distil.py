"""Distillation: after the last update, a one-step student of the policy is trained, scored and kept.

    L = mean w || mu(c, z) - chain(c, z) ||^2,   c of the windows that the run's sampler draws,  z ~ N(0, I)

stream(seed, "distil", i) draws the windows of update i and torch_stream(seed, "distil/noise", i) its z: no
number of the run's own training depends on it.  The agent's critics choose among the student's candidates as
among the chain's.  A run killed here continues from `checkpoints/distilling`, with the same bits.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from trajrl.agents.base.learner import histories
from trajrl.agents.base.proposer import ChainAgent, no_history
from trajrl.core.console import say
from trajrl.core.rng import stream, torch_stream
from trajrl.nets.one_step import OneStep
from trajrl.nets.optim import Optimiser
from trajrl.samplers.roles import role_sampler
from trajrl.store.hindsight import draw_goals
from trajrl.training.checked_calls import draw, windows
from trajrl.training.distil_score import scored
from trajrl.training.run_dir import checkpoint, distilled

if TYPE_CHECKING:
    from trajrl.training.run import Run

SAY_SECONDS = 10.0  # between two lines of progress
CLIP = 5.0  # bound on the gradient's norm


@dataclass
class Student:
    """What is trained: the network, its optimiser, and how far they are."""

    net: OneStep
    optimiser: Optimiser
    step: int = 0
    seconds: float = 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the state of all."""
        return {
            "net": self.net.state_dict(), "optimiser": self.optimiser.state_dict(), "step": self.step,
            "seconds": self.seconds,
        }  # fmt: skip

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the state."""
        self.net.load_state_dict(state["net"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step, self.seconds = int(state["step"]), float(state["seconds"])


def require_chain(name: str, agent: Any, processes: int) -> None:
    """Refuse to distil a policy that is no diffusion chain, and to do it in several processes."""
    if not isinstance(agent, ChainAgent):
        raise ValueError(
            f"--distil makes a one-step student of a diffusion chain, and the policy of {name} is none: "
            "leave --distil out"
        )
    if processes > 1:
        raise ValueError(
            "--distil works in one process: leave it out here, and give it to "
            "`offline --resume --out RUN --distil N` when the run has ended"
        )


def distil(run: Run) -> dict[str, Any]:
    """Train, score and keep the student, as far as that is not done; returns what the summary has of it."""
    folder, agent = run.folder / "checkpoints", run.agent
    known = distilled.facts(folder, run.clock)
    if known and known["updates"] == run.config.distil:
        return known
    assert isinstance(agent, ChainAgent)
    student = new_student(run, agent)
    restore(run, student)
    said = time.monotonic()
    while student.step < run.config.distil:
        began = time.monotonic()
        loss = train_step(run, agent, student)
        student.seconds += time.monotonic() - began
        if time.monotonic() - said >= SAY_SECONDS or student.step == run.config.distil:
            said = time.monotonic()
            say(f"distilling, step {student.step} of {run.config.distil}, loss {float(loss):.2g}")
        if run.interrupted or student.step % run.config.checkpoint_every == 0:
            save(run, student)
        if run.interrupted:
            raise KeyboardInterrupt
    found = {
        "step": run.clock, "updates": student.step, "seconds": student.seconds,
        "distance": distance(run, agent, student), **scored(run, agent, student.net),
    }  # fmt: skip
    distilled.keep(folder, run.clock, student.net.state_dict(), found)
    shutil.rmtree(folder / distilled.UNFINISHED, ignore_errors=True)
    return found


def new_student(run: Run, agent: ChainAgent) -> Student:
    """Return a student before its first update."""
    config = run.config
    net = OneStep(agent.acting_chain(no_history(agent))[0], torch_stream(config.seed, "distil/init"))
    optimiser = Optimiser(
        net.parameters(), config.distil_lr, clip=CLIP, decay="update", decay_steps=config.distil
    )
    return Student(net, optimiser)


def train_step(run: Run, agent: ChainAgent, student: Student) -> Tensor:
    """Take one step towards the chain; returns the loss."""
    number = student.step + 1
    context, noise, goal, weight = lesson(run, agent, number, run.config.batch_size)
    loss = student.net.loss(context, noise, goal, weight)
    student.optimiser.prepare(student.step)
    student.optimiser.step(loss)
    student.step = number
    return loss.detach()


@torch.no_grad()
def lesson(run: Run, agent: ChainAgent, number: int, rows: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return contexts (B, ctx), noise (B, D), what the chain makes of both (B, D), and weights (B,)."""
    seed, sampler = run.config.seed, role_sampler(run.active_sampler, "policy")
    anchors = draw(sampler, stream(seed, "distil", number), rows)
    rng = stream(seed, "distil/goal", number)
    goals = draw_goals(run.store, anchors, "policy", rng) if run.store.goals else None
    batch = windows(run.store, anchors, agent.spec, agent.device, sampler, goals)
    chain, context = agent.acting_chain(histories(batch)[0])
    size = agent.spec.chunk * agent.action_dim  # D
    noise = torch.randn(rows, size, generator=torch_stream(seed, "distil/noise", number)).to(agent.device)
    return context, noise, chain.fixed_by(context, noise), batch.weight


@torch.no_grad()
def distance(run: Run, agent: ChainAgent, student: Student) -> float:
    """Return the root mean square distance of the student's actions from the chain's, on a batch not seen."""
    context, noise, goal, weight = lesson(run, agent, student.step + 1, run.config.batch_size)
    error = (student.net.sample(context, noise[None]) - goal).square().mean(1)  # (B,)
    return float((weight * error).mean().sqrt())


def save(run: Run, student: Student) -> None:
    """Write where the distillation stands; samplers may count what they drew."""
    parts = {
        "agent": student.state_dict(), "sampler": run.active_sampler.state_dict(),
        "run": {"of": run.clock, "updates": run.config.distil, "lr": run.config.distil_lr},
    }  # fmt: skip
    checkpoint.save(unfinished(run), student.step, parts, keep=1)


def restore(run: Run, student: Student) -> None:
    """Continue what was begun for this very policy and number of updates."""
    path = checkpoint.newest(unfinished(run))
    if path is None:
        return
    parts = checkpoint.load(path)
    asked = {"of": run.clock, "updates": run.config.distil, "lr": run.config.distil_lr}
    if parts["run"] != asked:
        return
    student.load_state_dict(parts["agent"])
    run.active_sampler.load_state_dict(parts["sampler"])
    say(f"distilling continues from step {student.step} of {run.config.distil}")


def unfinished(run: Run) -> Path:
    """Return the folder of a distillation that has not ended."""
    return run.folder / "checkpoints" / distilled.UNFINISHED
