"""Act with an exported policy: numpy and onnxruntime alone (or torch, for a .pt2 file), and no trajrl.

    python examples/act.py p.onnx        check the file on this machine, and say how long a step takes

Copy the class into your own program:

    policy = Policy("p.onnx")
    policy.reset()                       # an episode begins
    action = policy.act(obs)             # (obs,) as recorded -> (act,) in the environment's own units
    action = policy.act({"state": obs, "front": frame})      # where it sees images: (h, w, c) bytes, by key
"""

import json
import sys
import time

import numpy as np

OWN = ("obs", "prev_actions", "mask", "normal", "exponential")  # inputs; every other one is an image


def read_onnx(path):
    """Return the step as a function from arrays by name to (1, N, act), and the facts beside it."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1  # a policy is small: threads would only wait for each other
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map["trajrl"])
    return lambda inputs: session.run(["actions"], inputs)[0], facts


def read_torch(path):
    """Return the same of a file of --format torch."""
    import torch

    beside = {"trajrl.json": ""}
    step = torch.export.load(path, extra_files=beside).module()

    def run(inputs):
        with torch.no_grad():
            return step(*map(torch.from_numpy, inputs.values())).numpy()

    return run, json.loads(beside["trajrl.json"])


class Policy:
    """One environment's policy: a history of what was seen and done, and a chunk of actions still to do."""

    def __init__(self, path: str, seed: int = 0) -> None:
        self.step, self.facts = (read_torch if path.endswith(".pt2") else read_onnx)(path)
        window = self.facts["check"][0]  # inputs in their order, then the actions that came out
        self.shapes = {name: np.shape(part) for name, part in window.items() if name != "actions"}
        self.images = [name for name in self.shapes if name not in OWN]
        low, high = np.asarray(self.facts.get("box") or [[-1.0], [1.0]], np.float32)
        if not (np.isfinite(high - low).all() and (low < high).all()):
            raise ValueError(f"its box is none: from {low.tolist()} to {high.tolist()}")
        self.middle, self.half = (low + high) / 2, (high - low) / 2
        self.rng = np.random.default_rng(seed)
        self.reset()

    def reset(self) -> None:
        """Begin an episode: nothing was seen yet."""
        history, obs, act = (self.facts[name] for name in ("history", "obs_dim", "action_dim"))
        self.obs = np.zeros((1, history, obs), np.float32)
        self.frames = {name: np.zeros(self.shapes[name], np.uint8) for name in self.images}
        self.prev_actions = np.zeros((1, history, act), np.float32) + self.middle
        self.mask = np.zeros((1, history), bool)
        self.last = (
            np.zeros(act, np.float32) + self.middle
        )  # before the next observation; none yet: the middle
        self.chunk: list[np.ndarray] = []

    def act(self, obs) -> np.ndarray:
        """See an observation, return an action (act,) in the environment's own units.

        Args:
            obs: a vector (obs,); where the policy sees images, {key: (height, width, channels) bytes}, with
                the vector, if there is one, as "state"
        """
        seen = self.parts(obs)
        queues = [(self.frames[name], seen[name]) for name in self.images]
        queues += [(self.obs, seen.get("state", 0)), (self.prev_actions, self.last), (self.mask, True)]
        for queue, value in queues:
            queue[0, :-1] = queue[0, 1:]
            queue[0, -1] = value
        if not self.chunk:
            inputs = {"obs": self.obs, "prev_actions": self.prev_actions, "mask": self.mask, **self.frames}
            self.chunk = list(self.run({**inputs, **self.noise()})[0])
        self.last = self.chunk.pop(0)
        return self.command(self.last)

    def parts(self, obs) -> dict[str, np.ndarray]:
        """Return an observation by key; one that the policy was not trained on is refused."""
        seen = obs if isinstance(obs, dict) else {"state": obs}
        due = {*self.images, *(["state"] if self.facts["obs_dim"] else [])}
        if set(seen) != due:
            raise ValueError(f"an observation holds {sorted(seen)}; this policy sees {sorted(due)}")
        for name, queue in self.frames.items():
            frame = np.asarray(seen[name])
            if frame.dtype != np.uint8 or frame.shape != queue.shape[2:]:
                raise ValueError(
                    f"'{name}' is {frame.dtype} of {frame.shape}; bytes of {queue.shape[2:]} are due"
                )
        return seen

    def noise(self) -> dict[str, np.ndarray]:
        """Draw the noise that the policy takes: N(0, 1), Exp(1), or nothing."""
        draws = {"normal": self.rng.standard_normal, "exponential": self.rng.standard_exponential}
        return {
            name: draw(size=self.shapes[name]).astype(np.float32)
            for name, draw in draws.items()
            if name in self.shapes
        }

    def run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """Run one step: the next chunk of actions (1, N, act) in the environment's own units."""
        return self.step({name: inputs[name] for name in self.shapes})

    def command(self, action: np.ndarray) -> np.ndarray:
        """Return what the environment is given: the action; files of before they had a box gave [-1, 1]."""
        if "action_low" not in self.facts:
            return action
        low, high = (np.asarray(self.facts[name], np.float32) for name in ("action_low", "action_high"))
        return low + (action + 1) / 2 * (high - low)


def check(policy: Policy) -> float:
    """Run the windows that travel with the file; return the largest distance from training in half boxes."""
    worst = 0.0
    for window in policy.facts["check"]:
        kinds = {"mask": bool, **dict.fromkeys(policy.images, np.uint8)}
        inputs = {n: np.asarray(window[n], kinds.get(n, np.float32)) for n in policy.shapes}
        apart = np.abs(policy.run(inputs) - np.asarray(window["actions"]))
        if not np.isfinite(apart).all():
            return float("inf")  # a maximum would pass over NaN
        worst = max(worst, float((apart / np.maximum(policy.half, 1e-6)).max()))
    return worst


def last_of(policy: Policy, window: dict) -> dict[str, np.ndarray]:
    """Return the last observation of a window that travels with the file."""
    seen = {name: np.asarray(window[name], np.uint8)[0, -1] for name in policy.images}
    state = {"state": np.asarray(window["obs"], np.float32)[0, -1]} if policy.facts["obs_dim"] else {}
    return {**state, **seen}


def main() -> int:
    """Check a file on this machine, then act on the observations it carries."""
    if len(sys.argv) != 2:
        print("usage: python examples/act.py p.onnx|p.pt2")
        return 2
    try:
        return show(Policy(sys.argv[1]))
    except Exception as error:  # onnxruntime raises kinds of its own
        print(f"error: {sys.argv[1]}: {plain((str(error) or type(error).__name__).splitlines()[0])}")
        return 1


def plain(text: object) -> str:
    """Return text without what would command a terminal: the file may be a stranger's."""
    return "".join(letter if letter.isprintable() else "?" for letter in str(text))


def show(policy: Policy) -> int:
    """Print what the file is, whether it acts as trained, and how fast; return the exit code."""
    facts = policy.facts
    environment = facts["environment"] or "no environment"
    print(plain(f"{facts['agent']}, policy of step {facts['step']}, trained for {environment}"))
    sizes = "history {history}, observations of {obs_dim}; chunk {chunk}, actions of {action_dim}"
    print(plain(sizes.format(**facts)))
    for name in policy.images:
        print(plain(f"image {name} of {' x '.join(map(str, policy.shapes[name][2:]))}"))
    distance = check(policy)
    print(f"distance from the policy that was trained, on {len(facts['check'])} windows: {distance:.1e}")
    observations = [last_of(policy, window) for window in facts["check"]]
    times, actions = [], []
    for step in range(200):
        began = time.perf_counter()
        actions.append(policy.act(observations[step % len(observations)]))
        times.append(time.perf_counter() - began)
    print(f"first action {np.array2string(actions[0], precision=3)}")
    median, longest = 1000 * np.median(times), 1000 * max(times)
    print(f"one step takes {median:.2f} ms (median of {len(times)}; longest {longest:.2f} ms)")
    return 0 if distance <= 1e-4 else 1


if __name__ == "__main__":
    sys.exit(main())
