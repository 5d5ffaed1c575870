"""Wrappers that bring any continuous-control environment to trajrl's terms, and the options a user may set.

observations   one flat float32 Box; `observe=positions` hides velocities
               with images a dictionary: `state`, the vector, and each image by its key, as bytes
actions        [-1, 1], scaled to the environment's box:  low + (a + 1) / 2 * (high - low)
               with `actions=clip` taken in the environment's own units and cut to its box
time limits    reported as truncated, never as terminated
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import gymnasium
import numpy as np
from gymnasium.spaces import Box

from trajrl.core import old_names
from trajrl.core.registry import unknown
from trajrl.store.action_box import ActionBox, unit_box
from trajrl.store.images import PIXELS, STATE, Seen, chosen_keys, keys_of, parts_of

OBSERVE = ("all", "positions")
ACTIONS = ("scale", "clip")
IMAGES = "images are (height, width, channels) of bytes"
GOAL_KEYS = ("observation", "achieved_goal", "desired_goal")  # of a goal environment, in trajrl's order
FLAT = "trajrl takes one flat Box of numbers"


@dataclass(frozen=True)
class EnvOptions:
    """What a user may change about an environment; every field is a plain value and goes into config.json."""

    time_limit: int = 0  # steps after which an episode is truncated; 0: the environment's own limit
    frame_skip: int = 1  # raising it: each action is repeated that often, rewards are added up
    reward_shift: float = 0.0  # added to every reward for learning; what is reported stays as it is
    sparse: bool = False  # OGBench's scene and puzzle: -1 until everything is solved, not one per part
    env_timeout: float = (
        0.0  # seconds until a silent environment counts as hung, each in a process of its own; 0: no
    )
    obs_keys: tuple[str, ...] = ()  # what is seen beside images, in order; state: the vector; empty: all
    embed: dict[str, Any] = field(default_factory=dict)  # encoder of a store; seen are its features of images
    observe: str = "all"  # positions: velocities are hidden, so that a policy needs history
    actions: str = "scale"  # scale [-1, 1] to the environment's box, or clip: cut to the box as they are
    arguments: dict[str, Any] = field(default_factory=dict)  # of the environment's own constructor

    def __post_init__(self) -> None:
        object.__setattr__(self, "obs_keys", tuple(self.obs_keys))  # a list where it was read from JSON
        if self.time_limit < 0 or self.frame_skip < 1:
            got = f"{self.time_limit} and {self.frame_skip}"
            raise ValueError(f"an environment takes time_limit >= 0 and frame_skip >= 1; got {got}")
        if self.env_timeout < 0:
            raise ValueError(f"env_timeout is a number of seconds, or 0; got {self.env_timeout}")
        if self.observe not in OBSERVE:
            raise ValueError(unknown("value of observe", self.observe, OBSERVE))
        if self.actions not in ACTIONS:
            raise ValueError(unknown("value of the environment's actions", self.actions, ACTIONS))

    @property
    def alters_returns(self) -> bool:
        """Return whether returns under these options are other than the environment's own."""
        return bool(self.time_limit or self.frame_skip > 1 or self.arguments)


def make_options(values: Mapping[str, Any]) -> EnvOptions:
    """Build EnvOptions from plain values; an unknown name fails with the nearest one."""
    known, values = [f.name for f in fields(EnvOptions)], old_names.options(values)
    for name in values:
        if name not in known:
            raise ValueError(unknown("environment option", name, known))
    return EnvOptions(**values)


def wrap(env: gymnasium.Env, options: EnvOptions, name: str) -> gymnasium.Env:
    """Wrap a raw environment; one that trajrl cannot act in fails with one line."""
    check_spaces(env, name)
    if options.frame_skip > 1:
        env = FrameSkip(env, options.frame_skip)
    if options.time_limit:
        env = gymnasium.wrappers.TimeLimit(env, options.time_limit)
    keep = positions(env, name) if options.observe == "positions" else None
    if shapes_of(env.observation_space):
        seen = ByKey(env, options, name)
        return Embedded(seen, options.embed) if options.embed else seen
    if options.obs_keys not in ((), (STATE,)):
        raise ValueError(f"{name} shows no images, so its one key is '{STATE}'; leave obs_keys out")
    return Canonical(env, keep, options.actions)


def shapes_of(space: gymnasium.Space) -> dict[str, tuple[int, ...]]:
    """Return (height, width, channels) of every image that an environment shows, by key."""
    parts = space.spaces if isinstance(space, gymnasium.spaces.Dict) else {PIXELS: space}
    boxes = {name: part for name, part in parts.items() if isinstance(part, Box)}
    return {name: box.shape for name, box in boxes.items() if len(box.shape) == 3 and box.dtype == np.uint8}


def check_spaces(env: gymnasium.Env, name: str) -> None:
    """Refuse observations that are neither a flat Box nor images, and actions that are no bounded Box."""
    seen, acted = env.observation_space, env.action_space
    if shapes_of(seen):
        check_actions(acted, name)
        return
    if isinstance(seen, gymnasium.spaces.Dict):
        keys = ", ".join(seen.spaces)
        raise ValueError(
            f"{name} has Dict observations ({keys}); {FLAT}: gymnasium.wrappers.FlattenObservation"
        )
    if not isinstance(seen, Box):
        raise ValueError(f"{name} has {type(seen).__name__} observations; {FLAT}")
    if len(seen.shape) != 1:
        what = "image" if len(seen.shape) == 3 else f"{len(seen.shape)}-dimensional"
        hint = f", and {IMAGES}" if what == "image" else ""
        raise ValueError(f"{name} has {what} observations of shape {seen.shape}; {FLAT}{hint}")
    check_actions(acted, name)


def check_actions(acted: gymnasium.Space, name: str) -> None:
    """Refuse actions that are not one bounded Box."""
    if not isinstance(acted, Box) or len(acted.shape) != 1:
        raise ValueError(f"{name} has {acted} actions; trajrl takes one flat Box of continuous actions")
    if not np.isfinite([acted.low, acted.high]).all():
        raise ValueError(f"{name} has an action box without bounds; trajrl scales [-1, 1] to the box")


def positions(env: gymnasium.Env, name: str) -> np.ndarray:
    """Return the columns of a MuJoCo environment's observation that are no velocities (its last nv are)."""
    raw: Any = env.unwrapped
    width = int(np.prod(env.observation_space.shape or ()))
    if hasattr(raw, "observation_structure"):
        keep = int(raw.observation_structure["qpos"])
    elif hasattr(raw, "model") and width < raw.model.nq + raw.model.nv + 1:
        keep = width - int(raw.model.nv)
    else:
        raise ValueError(f"observe=positions knows Gymnasium's MuJoCo environments only; {name} is none")
    return np.arange(keep)


def limit_of(env: gymnasium.Env) -> int:
    """Return the steps after which an environment ends its episodes, or says that it does; 0: unknown."""
    limits = [int(env.spec.max_episode_steps or 0)] if env.spec is not None else []
    while isinstance(env, gymnasium.Wrapper):
        if isinstance(env, gymnasium.wrappers.TimeLimit):
            limits.append(int(env._max_episode_steps))
        env = env.env
    return min(filter(None, limits), default=0)


class Unscaled(gymnasium.Wrapper):
    """Actions in [-1, 1]; one outside is an error of the caller.  `_see` gives observations their form."""

    images: Mapping[str, tuple[int, ...]] = {}  # shapes of the images that are seen
    keep: np.ndarray | None = None  # columns of the whole observation that are seen; None: all
    whole = 0  # width of the observation before columns are hidden
    obs_dim = 0  # width of the vector that is seen

    def __init__(self, env: gymnasium.Env, actions: str = "scale") -> None:
        super().__init__(env)
        assert isinstance(env.action_space, Box)
        box = env.action_space
        self._low, self._half = box.low.astype(np.float32), ((box.high - box.low) / 2).astype(np.float32)
        self._high, self._clips = box.high.astype(np.float32), actions == "clip"
        self._same = bool((box.low == -1).all() and (box.high == 1).all())
        width = int(np.prod(box.shape))
        self.action_box = unit_box(width) if self._clips else ActionBox.of(box.low, box.high, width)
        self.limit = limit_of(env)
        self.action_space = Box(-1.0, 1.0, box.shape, np.float32)

    def reset(self, **options: Any) -> tuple[Seen, dict[str, Any]]:
        """Start an episode."""
        obs, info = self.env.reset(**options)
        return self._see(obs), info

    def step(self, action: np.ndarray) -> tuple[Seen, float, bool, bool, dict[str, Any]]:
        """Take one step with an action in [-1, 1]."""
        obs, reward, terminated, truncated, info = self.env.step(self._put(action))
        return self._see(obs), float(reward), bool(terminated), bool(truncated), info

    def _put(self, action: np.ndarray) -> np.ndarray:
        if self._clips:
            return np.clip(np.asarray(action, np.float32), self._low, self._high)
        return action if self._same else self._low + (np.asarray(action, np.float32) + 1) * self._half

    def _see(self, obs: Any) -> Seen:
        raise NotImplementedError


class Canonical(Unscaled):
    """Flat float32 observations, actions in [-1, 1]."""

    def __init__(self, env: gymnasium.Env, keep: np.ndarray | None = None, actions: str = "scale") -> None:
        super().__init__(env, actions)
        assert isinstance(env.observation_space, Box)
        self.keep, self.whole = keep, int(env.observation_space.shape[0])
        self.obs_dim = self.whole if keep is None else len(keep)
        self.observation_space = Box(-np.inf, np.inf, (self.obs_dim,), np.float32)

    def _see(self, obs: Any) -> np.ndarray:
        flat = np.asarray(obs, np.float32)
        if flat.shape != (self.whole,):
            raise ValueError(f"it returned an observation of shape {flat.shape} and declares ({self.whole},)")
        return flat.copy() if self.keep is None else flat[self.keep]


class ByKey(Unscaled):
    """Images by key, and `state`: the vectors beside them, side by side; actions in [-1, 1]."""

    def __init__(self, env: gymnasium.Env, options: EnvOptions, name: str) -> None:
        super().__init__(env, options.actions)
        space, found = env.observation_space, shapes_of(env.observation_space)
        parts = space.spaces if isinstance(space, gymnasium.spaces.Dict) else {PIXELS: space}
        self._single = None if isinstance(space, gymnasium.spaces.Dict) else PIXELS
        vectors = {key: part for key, part in parts.items() if isinstance(part, Box) and len(part.shape) == 1}
        width = sum(int(np.prod(part.shape)) for part in vectors.values())
        try:
            kept = chosen_keys(options.obs_keys or keys_of(width, found), width, found)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
        self.images = {key: found[key] for key in kept if key != STATE}
        self._vectors = tuple(vectors) if STATE in kept else ()
        self.obs_dim = self.whole = width if STATE in kept else 0
        spaces = {key: Box(0, 255, shape, np.uint8) for key, shape in self.images.items()}
        state = {STATE: Box(-np.inf, np.inf, (self.obs_dim,), np.float32)} if self.obs_dim else {}
        self.observation_space = gymnasium.spaces.Dict({**state, **spaces})

    def _see(self, obs: Any) -> dict[str, np.ndarray]:
        shown = {self._single: obs} if self._single else obs
        images = {key: np.array(shown[key]) for key in self.images}
        for key, shape in self.images.items():
            if images[key].shape != shape or images[key].dtype != np.uint8:
                got = f"{images[key].dtype} of shape {images[key].shape}"
                raise ValueError(f"it returned '{key}' as {got} and declares bytes of {shape}")
        vectors = [np.ravel(shown[key]) for key in self._vectors]
        return {**({STATE: np.concatenate(vectors).astype(np.float32)} if vectors else {}), **images}


class Embedded(gymnasium.ObservationWrapper):
    """The vector, and in place of images what a frozen encoder makes of them, as in an embedded store."""

    images: Mapping[str, tuple[int, ...]] = {}
    keep: np.ndarray | None = None

    def __init__(self, env: ByKey, embedding: Mapping[str, Any]) -> None:
        super().__init__(env)
        from trajrl.nets.frozen_encoder import FrozenEncoder, weights_hash

        encoder = str(embedding["encoder"])
        if weights_hash(encoder) != embedding["weights"]:
            raise ValueError(f"{encoder} holds other weights than those that made the data's features")
        self._encoder = FrozenEncoder(encoder, env.images, int(embedding["seed"]))
        self.obs_dim = self.whole = env.obs_dim + self._encoder.width
        self.limit, self.action_box = env.limit, env.action_box
        self.observation_space = Box(-np.inf, np.inf, (self.obs_dim,), np.float32)

    def observation(self, observation: Any) -> np.ndarray:
        """Lay the features beside the vector."""
        vector, images = parts_of(observation)
        return np.concatenate([vector, self._encoder.one(images)])


class SideBySide(gymnasium.ObservationWrapper):
    """Parts of a dictionary of observations as one flat one, in a stated order."""

    def __init__(self, env: gymnasium.Env, keys: tuple[str, ...]) -> None:
        super().__init__(env)
        assert isinstance(env.observation_space, gymnasium.spaces.Dict)
        self._keys = keys
        width = sum(int(np.prod(env.observation_space[key].shape or ())) for key in keys)
        self.observation_space = Box(-np.inf, np.inf, (width,), np.float32)

    def observation(self, observation: Any) -> np.ndarray:
        """Lay the parts side by side."""
        return np.concatenate([np.ravel(observation[key]) for key in self._keys]).astype(np.float32)


class FrameSkip(gymnasium.Wrapper):
    """Repeat each action: rewards add up, an end within the repeats ends the step, success counts."""

    def __init__(self, env: gymnasium.Env, times: int) -> None:
        super().__init__(env)
        self._times = times

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """Take up to `times` steps."""
        total, reached = 0.0, False
        for _ in range(self._times):
            obs, reward, terminated, truncated, info = self.env.step(action)
            total += float(reward)
            reached = reached or bool(info.get("success", info.get("is_success", False)))
            if terminated or truncated:
                break
        if "success" in info or "is_success" in info:
            info = {**info, "success": reached}
        return obs, total, terminated, truncated, info
