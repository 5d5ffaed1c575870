"""What a run says of itself: what it learns from at its start, its scores at its end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from trajrl.cli.common import say
from trajrl.core.json_file import read_object
from trajrl.store.goals import ROLES
from trajrl.store.notes import counted
from trajrl.store.places import named

if TYPE_CHECKING:
    from trajrl.store.goals import GoalLaw
    from trajrl.training.run import Run

SHOWN = {
    "last": "last evaluation",
    "mean_last_10": "mean of {last}",
    "best": "best (chosen by {scale})",
    "selected": "selected offline",
}


def introduce(run: Run, place: str = "") -> None:
    """Say what is about to be learned from what; `place`: where, if not in the run's folder alone."""
    config, store = run.config, run.store
    say(f"{config.agent}, sampler {config.sampler}")
    where = place or f"the run is in {run.folder}"
    say(f"{counted('episode[s]', len(store.live))}, {store.num_steps} steps of {named(config.data)}; {where}")
    if store.goals:
        say(f"goals={config.goals}: {goals_line(store.goals)}")
        return
    average = run.evaluations.average
    score = "" if average["average_score"] is None else f", score {average['average_score']:.1f}"
    success = "" if average["average_success"] is None else f", success {average['average_success']:.0%}"
    say(f"the data's average return is {average['average_return']:.1f}{score}{success}")


def goals_line(law: GoalLaw) -> str:
    """Say what the values and the policy learn to reach."""
    parts = []
    for role in ROLES[::-1]:
        here, ahead, mean = law.of(role)
        far = f"{mean:g} steps on average" if mean else "any step"
        shares = f"{here:.0%} here, {ahead:.0%} ahead ({far}), {max(0.0, 1 - here - ahead):.0%} anywhere"
        parts.append(f"{role} {shares}")
    return f"goals of {', of the '.join(parts)}"


def report(run: Run) -> dict[str, Any]:
    """Print the four scores and return the summary."""
    from trajrl.training.progress import rate_line
    from trajrl.training.run_dir.evaluations import task_line

    summary = read_object(run.folder / "summary.json")
    if summary["scores"] is not None:
        say()
        for line in score_lines(summary, len(run.evaluations.entries)):
            say(line)
        if summary.get("success_by_task"):
            say(f"  last evaluation, {task_line(summary['success_by_task'])}")
    elif summary.get("selected_step") is not None:
        say(f"selected by {summary.get('selected_by', 'bc_loss')}: step {summary['selected_step']}")
    if "distilled" in summary:
        times = summary["distilled"]["milliseconds"]
        say(f"an action takes {times['chain']:.2f} ms, of the one-step student {times['student']:.2f} ms")
    if summary["stop_reason"]:
        say(f"stopped: {summary['stop_reason']}")
    seconds, memory = summary["seconds"], summary["peak_memory_mib"]
    made = counted("step[s]", run.step)
    if run.online:
        made = f"{counted('environment step[s]', run.clock)}, {counted('update[s]', run.updates)}"
    say(f"{made} in {seconds:.0f} s, {rate_line(summary)}, {memory:.0f} MiB; {run.folder}")
    return {"run": str(run.folder), **summary}


def score_lines(summary: dict[str, Any], evaluations: int) -> Iterator[str]:
    """Yield the closing table: its scale, one row per policy, and the data; one evaluation is one row."""
    from trajrl.training.run_dir.evaluations import shown

    scale, scores = summary["scale"], summary["scores"]
    named = summary["score_name"]
    solved = "success rate" if named == "none" else f"success rate ({named})"
    yield {"score": named, "success": solved, "return": "raw return"}[scale]
    named_scores = SHOWN if evaluations > 1 else {"last": "the one evaluation"}
    student = summary.get("distilled", {}).get("score")
    words = {"scale": scale, "last": "the last ten" if evaluations >= 10 else f"all {evaluations}"}
    for name, text in {**named_scores, "student": "one-step student of last"}.items():
        found = student if name == "student" else scores[name]
        if found is not None:
            low, high = (shown(found[end], scale) for end in ("low", "high"))
            beside = f"   {_success(found['success'])}" if scale != "success" and "success" in found else ""
            interval = f"{shown(found['value'], scale):>7}   95 % interval {low:>6} to {high:>6}"
            yield f"  {text.format(**words):<24} {interval}{beside}   step {found['step']}"
    average = summary["data"][f"average_{scale}"]
    if average is not None:
        yield f"  {'average of the data':<24} {shown(average, scale):>7}"


def _success(found: dict[str, float]) -> str:
    return f"success {found['value']:>4.0%} ({found['low']:.0%} to {found['high']:.0%})"
