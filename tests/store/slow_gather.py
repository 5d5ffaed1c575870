"""The slow, obvious gather, one entry at a time: what the vectorised one is held against."""

from __future__ import annotations

import numpy as np

from trajrl import Episode, WindowSpec


def same(values: np.ndarray) -> np.ndarray:
    return values


def slow_window(episode: Episode, t: int, spec: WindowSpec, shape_action=same, shape_reward=same) -> dict:
    """Expand step t of one episode; every entry that is not real stays zero."""
    length, marks = len(episode), episode.extras.get("terminal", np.zeros(len(episode), bool))
    k, solved = 0, False
    while k < spec.n and t + k < length:
        solved = solved or bool(marks[t + k])
        k += 1
    terminated = solved or (t + k == length and episode.terminated)

    window = {"steps": k, "terminated": terminated}
    window |= slow_history(episode, t, spec.history, shape_action, "")
    window |= slow_history(episode, t + k, spec.history, shape_action, "next_")
    window |= slow_chunk(episode, t, length - t, spec.chunk, shape_action, "actions", "action_mask")
    window["rewards"], window["mask"] = np.zeros(spec.n, np.float32), np.zeros(spec.n, bool)
    for j in range(k):
        window["rewards"][j], window["mask"][j] = shape_reward(episode.rewards[t + j]), True
    if spec.next_actions:
        ahead = 0 if terminated else length - t - k
        window |= slow_chunk(episode, t + k, ahead, spec.chunk, shape_action, "next_actions", "next_mask")
    if spec.merit:
        window["merit"] = np.float32(slow_merit(episode))
    if spec.return_gamma is not None:
        window |= slow_return(episode, t, spec, shape_action, shape_reward)
    return window


def slow_merit(episode: Episode, gamma: float = 0.99) -> float:
    """Return the mean over steps of the recorded rewards from there on, discounted."""
    total = 0.0
    for t in range(len(episode)):
        total += sum(gamma ** (j - t) * float(episode.rewards[j]) for j in range(t, len(episode)))
    return total / len(episode)


def slow_return(episode: Episode, t: int, spec: WindowSpec, shape_action=same, shape_reward=same) -> dict:
    """Sum the rewards from step t on, until a mark or the end; what follows a truncated end is discounted."""
    marks = episode.extras.get("terminal", np.zeros(len(episode), bool))
    total, discount, u = 0.0, 1.0, t
    while u < len(episode):
        total += discount * float(shape_reward(episode.rewards[u]))
        discount *= spec.return_gamma
        u += 1
        if marks[u - 1]:
            break
    ended = marks[u - 1] or (u == len(episode) and episode.terminated)
    found = {"returns": np.float32(total), "end_discount": np.float32(0.0 if ended else discount)}
    return found | slow_history(episode, u, spec.history, shape_action, "end_")


def slow_history(episode: Episode, t: int, size: int, shape_action, prefix: str) -> dict:
    """Return the observations t-H+1 .. t, the action before each, and which observations exist."""
    obs = np.zeros((size, episode.obs.shape[1]), np.float32)
    prev = np.zeros((size, episode.actions.shape[1]), np.float32)
    mask = np.zeros(size, bool)
    for h in range(size):
        u = t - size + 1 + h
        if u >= 0:
            obs[h], mask[h] = episode.obs[u], True
        if u >= 1:
            prev[h] = shape_action(episode.actions[u - 1])
    return {f"{prefix}obs": obs, f"{prefix}prev_actions": prev, f"{prefix}history_mask": mask}


def slow_chunk(
    episode: Episode, t: int, valid: int, size: int, shape_action, name: str, mask_name: str
) -> dict:
    """Return the actions t .. t+N-1, of which `valid` are real."""
    actions, mask = np.zeros((size, episode.actions.shape[1]), np.float32), np.zeros(size, bool)
    for j in range(min(size, valid)):
        actions[j], mask[j] = shape_action(episode.actions[t + j]), True
    return {name: actions, mask_name: mask}
