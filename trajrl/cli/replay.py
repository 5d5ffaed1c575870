"""`collect --recipe medium-replay`: sac learns online from nothing, and all it met becomes a store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from trajrl.cli.common import say

if TYPE_CHECKING:
    from trajrl.cli.collect import Collect


def replayed(command: Collect) -> dict[str, Any]:
    """Let an agent learn online from nothing and keep everything it met."""
    from trajrl.cli.collect import remove, summary
    from trajrl.cli.offline import stop_politely
    from trajrl.collection import claim, folder_of
    from trajrl.replay import learning, met

    folder, suite = folder_of(command.out), command.suite()
    run_folder = command.out.with_name(command.out.name + ".run")
    if command.overwrite:
        remove(folder)
    elif run_folder.exists():
        raise FileExistsError(f"{run_folder} holds the run of an earlier replay; --overwrite replaces it")
    asked = {
        "env": command.env, "seed": command.seed, "set": list(command.set), "recipe": command.recipe,
        "steps": command.steps,
    }  # fmt: skip
    claim(folder, asked, command.resume)
    run = learning(suite, command.steps, command.seed, folder, command.set)
    with stop_politely(run, "the same command with --resume"):
        from trajrl.training import loop

        loop.online(run)
    with command.writer(suite.name, [{"policy": run.config.agent, "updates": run.step}]) as writer:
        for episode in met(run):
            writer.append(episode)
        found = summary(writer.table)
    last = run.scores.evaluations[-1]
    best = max(run.scores.evaluations, key=lambda found: found.return_mean)
    say(f"the agent that learned ends at a return of {last.return_mean:.1f} ({len(last.rows)} episodes)")
    say(f"its best evaluation was {best.return_mean:.1f}, at step {best.step}")
    remove(run_folder)
    (folder / "run").rename(run_folder)
    remove(folder)
    reached = {"reached": last.return_mean, "best": best.return_mean, "best_step": best.step}
    return {**command.told(suite.name, found), **reached, "updates": run.step, "run": str(run_folder)}
