"""`import-agent`: turn checkpoints of the public Diffusion-QL code into a run."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from trajrl.agents import make_agent
from trajrl.cli.common import Common, say
from trajrl.cli.option import silent
from trajrl.core.registry import unknown
from trajrl.envs import NO_ENVIRONMENT, make_suite
from trajrl.store.places import join_places

IMPORTS = {  # agent -> the files, and how their tensors are named
    "diffusion_ql": (
        "actor.pth and critic.pth of the public code",
        "model.time_mlp, model.mid_layer, model.final_layer, betas; q1_model, q2_model; compiled or not",
    ),
}


@dataclass(frozen=True, kw_only=True)
class ImportAgent(Common):
    """Turn foreign checkpoints into a run that evaluates and fine-tunes like any other.

    Fine-tune it with `offline --resume --out RUN --data X.h5 --steps N`.
    """

    agent: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="AGENT")]
    """The algorithm the files belong to: diffusion_ql."""
    actor: Path
    """actor.pth of the public code; only weights are read, nothing in it is executed."""
    critic: Path
    """critic.pth of the public code."""
    env: str
    """The environment the policy acts in; none: not known."""
    out: Path
    """Folder of the new run."""
    data: Annotated[tuple[str, ...], silent("PATH|NAME ...", "none")] = ()
    """The data to fine-tune on; it may be given later."""

    def run(self) -> dict[str, Any]:
        """Read the files, check them against the environment, and write the run."""
        from trajrl.agents.base.public_weights import read
        from trajrl.training.config import NO_DATA
        from trajrl.training.resolve_config import resolve_config
        from trajrl.training.run_dir import checkpoint
        from trajrl.training.run_dir.folder import describe_run, new_folder

        if self.agent not in IMPORTS:
            raise ValueError(unknown("agent to import", self.agent, list(IMPORTS)))
        found = read(self.actor, self.critic)
        suite = None if self.env == NO_ENVIRONMENT else make_suite(self.env)
        if suite and (suite.obs_dim, suite.action_dim) != (found.obs_dim, found.action_dim):
            raise ValueError(
                f"{self.actor} acts on {found.obs_dim} observations with {found.action_dim} actions; "
                f"{self.env} has {suite.obs_dim} and {suite.action_dim}: "
                "give the environment it was trained in"
            )
        settings = [f"agent.{name}={value}" for name, value in found.config.items()]
        data = join_places(self.data) if self.data else NO_DATA
        chosen = {"agent": self.agent, "env": self.env, "data": data, "seed": self.seed}
        config = resolve_config({**chosen, "preset": "standard"}, settings)
        folder = new_folder(config, str(self.out))
        size = found.obs_dim, found.action_dim
        agent = make_agent(self.agent, *size, seed=self.seed, **config.agent_options)
        agent.load_state_dict({**agent.state_dict(), **found.parts})
        facts = {
            "obs_dim": found.obs_dim,
            "action_dim": found.action_dim,
            "environment": suite.name if suite else "",
            **(suite.action_box.bounds() if suite else {}),
        }
        start = {"step": 0, "seconds": 0.0, "stop_reason": ""}
        checkpoint.keep_policy(folder / "checkpoints", 0, agent.state_dict(), facts)
        checkpoint.save(folder / "checkpoints", 0, {"agent": agent.state_dict(), "run": start})
        describe_run(folder, config, None)
        say(f"{folder}: {self.agent} for {self.env}, {found.config['diffusion_steps']} diffusion steps")
        return {"run": str(folder), **facts, **found.config}
