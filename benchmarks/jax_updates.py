"""diffusion_ql and acfql once more in JAX, jitted whole: how far this package's updates are from XLA's.

For the benchmark alone.  One program an update: the batch is drawn from arrays on the device; noise, losses,
gradients, Adam and targets follow.  `python benchmarks/jax_updates.py`, where jax and torch are installed,
compares its losses with plain_dql's on the same weights, batch and noise.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import partial
from typing import Any

os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1")

import jax
import jax.numpy as jnp
import numpy as np

Tree = Any  # nested lists and dicts of arrays
GAMMA, TAU, LR, LEVELS, TIME = 0.99, 0.005, 3e-4, 5, 16


def linear(key: Any, i: int, o: int, members: tuple[int, ...] = ()) -> Tree:
    """Draw a layer's weight (..., in, out) and bias (..., 1, out)."""
    bound, keys = 1 / math.sqrt(i), jax.random.split(key)
    weight = jax.random.uniform(keys[0], (*members, i, o), minval=-bound, maxval=bound)
    return {"w": weight, "b": jax.random.uniform(keys[1], (*members, 1, o), minval=-bound, maxval=bound)}


def layers(key: Any, widths: tuple[int, ...], members: tuple[int, ...] = ()) -> Tree:
    """Draw an MLP."""
    keys = jax.random.split(key, len(widths) - 1)
    return [linear(one, i, o, members) for one, i, o in zip(keys, widths[:-1], widths[1:], strict=True)]


def mish(x: Any) -> Any:
    """x tanh(softplus(x))."""
    return x * jnp.tanh(jax.nn.softplus(x))


def mlp(net: Tree, x: Any, act: Callable[[Any], Any], norm: bool = False) -> Any:
    """Apply an MLP, or an ensemble of them, to rows (B, in): (B, out) or (E, B, out)."""
    for layer in net[:-1]:
        x = act(x @ layer["w"] + layer["b"])
        if norm:
            x = (x - x.mean(-1, keepdims=True)) * jax.lax.rsqrt(x.var(-1, keepdims=True) + 1e-6)
            x = x * layer["gain"] + layer["shift"]
    return x @ net[-1]["w"] + net[-1]["b"]


def adam(weights: Tree, gradients: Tree, state: Tree, clip: float = 0.0) -> tuple[Tree, Tree]:
    """Take one step of Adam, after a clip of the norm."""
    if clip:
        norm = jnp.sqrt(sum(jnp.vdot(g, g) for g in jax.tree.leaves(gradients)))
        gradients = jax.tree.map(lambda g: g / jnp.maximum(1.0, (norm + 1e-6) / clip), gradients)
    count = state["count"] + 1
    first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, state["first"], gradients)
    second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, state["second"], gradients)
    one, two = 1 - 0.9**count, 1 - 0.999**count
    moved = jax.tree.map(
        lambda w, m, v: w - LR * (m / one) / (jnp.sqrt(v / two) + 1e-8), weights, first, second
    )
    return moved, {"count": count, "first": first, "second": second}


def fresh(weights: Tree) -> Tree:
    """Return Adam's state before a first step."""
    zero = jax.tree.map(jnp.zeros_like, weights)
    return {"count": jnp.zeros(()), "first": zero, "second": zero}


def toward(target: Tree, online: Tree, tau: float) -> Tree:
    """Move targets."""
    return jax.tree.map(lambda old, new: old + tau * (new - old), target, online)


# Diffusion-QL.

STEPS = np.arange(1, LEVELS + 1)
BETAS = 1 - np.exp(-0.1 / LEVELS - 0.5 * 9.9 * (2 * STEPS - 1) / LEVELS**2)
ALPHAS = 1 - BETAS
ABAR = np.cumprod(ALPHAS)
BEFORE = np.concatenate([[1.0], ABAR[:-1]])


def denoise(net: Tree, x: Any, level: Any, obs: Any) -> Any:
    """Return eps_hat (B, act) of x (B, act) at levels (B,) or at one."""
    half = TIME // 2
    angles = jnp.atleast_1d(level)[:, None] * jnp.exp(jnp.arange(half) * -(math.log(1e4) / (half - 1)))
    embedded = mlp(net["time"], jnp.concatenate((jnp.sin(angles), jnp.cos(angles)), 1), mish)
    embedded = jnp.broadcast_to(embedded, (len(x), TIME))
    return mlp(net["net"], jnp.concatenate((x, embedded, obs), 1), mish)


def chain(net: Tree, obs: Any, noise: Any) -> Any:
    """Return actions (B, act) from noise (K, B, act)."""
    x = noise[0]
    for step, i in enumerate(reversed(range(LEVELS))):
        eps = denoise(net, x, float(i), obs)
        x0 = jnp.clip(x / math.sqrt(ABAR[i]) - math.sqrt(1 / ABAR[i] - 1) * eps, -1, 1)
        c1 = BETAS[i] * math.sqrt(BEFORE[i]) / (1 - ABAR[i])
        c2 = (1 - BEFORE[i]) * math.sqrt(ALPHAS[i]) / (1 - ABAR[i])
        x = c1 * x0 + c2 * x
        if i:
            x = x + math.sqrt(max(BETAS[i] * (1 - BEFORE[i]) / (1 - ABAR[i]), 1e-20)) * noise[step + 1]
    return jnp.clip(x, -1, 1)


def values(critic: Tree, obs: Any, actions: Any, norm: bool = False, act: Callable[[Any], Any] = mish) -> Any:
    """Return Q (E, B)."""
    return mlp(critic, jnp.concatenate((obs, actions), 1), act, norm)[..., 0]


def dql_critic_loss(critic: Tree, held: Tree, batch: Tree, noise: Any) -> Any:
    """Squared TD errors of both critics."""
    proposed = chain(held["ema"], batch["next_obs"], noise)
    y = batch["rewards"] + GAMMA * values(held["target"], batch["next_obs"], proposed).min(0)
    return jnp.square(values(critic, batch["obs"], batch["actions"]) - jax.lax.stop_gradient(y)).mean(1).sum()


def dql_actor_loss(
    actor: Tree, critic: Tree, batch: Tree, level: Any, eps: Any, noise: Any, coin: Any
) -> Any:
    """Cloning, and the Q of one critic on the scale of the other."""
    signal, spread = jnp.sqrt(jnp.asarray(ABAR))[level, None], jnp.sqrt(1 - jnp.asarray(ABAR))[level, None]
    x = signal * batch["actions"] + spread * eps
    cloning = jnp.square(denoise(actor, x, level.astype(jnp.float32), batch["obs"]) - eps).mean()
    q = values(critic, batch["obs"], chain(actor, batch["obs"], noise))  # (2, B)
    q = jnp.where(coin, q, q[::-1])
    q_loss = -q[0].mean() / jax.lax.stop_gradient(jnp.abs(q[1]).mean())
    return cloning + q_loss, (cloning, q_loss)


def dql(obs_dim: int, action_dim: int, width: int = 256) -> Tree:
    """Draw Diffusion-QL's networks."""
    keys = jax.random.split(jax.random.PRNGKey(0), 3)
    actor = {
        "time": layers(keys[0], (TIME, 2 * TIME, TIME)),
        "net": layers(keys[1], (action_dim + TIME + obs_dim, width, width, width, action_dim)),
    }
    critic = layers(keys[2], (obs_dim + action_dim, width, width, width, 1), (2,))
    state = {"actor_adam": fresh(actor), "critic_adam": fresh(critic), "count": jnp.zeros((), jnp.int32)}
    return {"actor": actor, "ema": actor, "critic": critic, "target": critic, **state}


def dql_update(held: Tree, batch: Tree, key: Any) -> tuple[Tree, Any]:
    """Take one step of the critic and one of the actor, then move the targets."""
    rows, size = batch["actions"].shape
    keys = jax.random.split(key, 5)
    noise = jax.random.normal(keys[0], (LEVELS, rows, size)), jax.random.normal(keys[1], (LEVELS, rows, size))
    level, eps = jax.random.randint(keys[2], (rows,), 0, LEVELS), jax.random.normal(keys[3], (rows, size))
    loss, slopes = jax.value_and_grad(dql_critic_loss)(held["critic"], held, batch, noise[0])
    critic, critic_adam = adam(held["critic"], slopes, held["critic_adam"], 5.0)
    coin = jax.random.bernoulli(keys[4])
    slopes, _ = jax.grad(dql_actor_loss, has_aux=True)(
        held["actor"], critic, batch, level, eps, noise[1], coin
    )
    actor, actor_adam = adam(held["actor"], slopes, held["actor_adam"], 5.0)
    ema = jax.lax.cond(held["count"] % 5 == 0, lambda: toward(held["ema"], actor, 0.005), lambda: held["ema"])
    state = {"actor_adam": actor_adam, "critic_adam": critic_adam, "count": held["count"] + 1}
    target = toward(held["target"], critic, TAU)
    return {"actor": actor, "ema": ema, "critic": critic, "target": target, **state}, loss


# ACFQL: flow Q-learning over chunks of five actions.

CHUNK, FLOW_STEPS = 5, 10
gelu = partial(jax.nn.gelu, approximate=True)


def acfql(obs_dim: int, action_dim: int, width: int = 512) -> Tree:
    """Draw ACFQL's networks; the critics have layer norms after the activation."""
    size, hidden = CHUNK * action_dim, (width,) * 4
    keys = jax.random.split(jax.random.PRNGKey(0), 3)
    actor = {"flow": layers(keys[0], (obs_dim + size + 1, *hidden, size)),
             "one": layers(keys[1], (obs_dim + size, *hidden, size))}  # fmt: skip
    critic = layers(keys[2], (obs_dim + size, *hidden, 1), (2,))
    for layer in critic[:-1]:
        layer |= {"gain": jnp.ones((2, 1, width)), "shift": jnp.zeros((2, 1, width))}
    return {"actor": actor, "critic": critic, "target": critic, "actor_adam": fresh(actor),
            "critic_adam": fresh(critic)}  # fmt: skip


def flowed(net: Tree, obs: Any, x: Any) -> Any:
    """Return the chunk (B, D) that the flow leads to from x (B, D)."""
    for step in range(FLOW_STEPS):
        time = jnp.full((len(x), 1), step / FLOW_STEPS)
        x = x + mlp(net, jnp.concatenate((obs, x, time), 1), gelu) / FLOW_STEPS
    return jnp.clip(x, -1, 1)


def acfql_update(held: Tree, batch: Tree, key: Any) -> tuple[Tree, Any]:
    """Take one step of both, from losses that see the networks as they were before it."""
    rows, size = batch["chunk"].shape
    keys = jax.random.split(key, 4)
    normal = [jax.random.normal(one, (rows, size)) for one in keys[:3]]
    time = jax.random.uniform(keys[3], (rows, 1))

    def critic_loss(critic: Tree) -> Any:
        there = jnp.concatenate((batch["next_obs"], normal[0]), 1)
        proposed = jnp.clip(mlp(held["actor"]["one"], there, gelu), -1, 1)
        later = values(held["target"], batch["next_obs"], proposed, True, gelu).mean(0)
        y = jax.lax.stop_gradient(batch["rewards"] + GAMMA**CHUNK * later)
        return jnp.square(values(critic, batch["obs"], batch["chunk"], True, gelu) - y).mean()

    def actor_loss(actor: Tree) -> Any:
        point = (1 - time) * normal[1] + time * batch["chunk"]
        speed = mlp(actor["flow"], jnp.concatenate((batch["obs"], point, time), 1), gelu)
        flow_loss = jnp.square(speed - (batch["chunk"] - normal[1])).mean()
        goal = jax.lax.stop_gradient(flowed(actor["flow"], batch["obs"], normal[2]))
        mu = mlp(actor["one"], jnp.concatenate((batch["obs"], normal[2]), 1), gelu)
        q = values(held["critic"], batch["obs"], jnp.clip(mu, -1, 1), True, gelu).mean(0)
        q_loss = -q.mean() / jax.lax.stop_gradient(jnp.abs(q).mean())
        return flow_loss + jnp.square(mu - goal).mean() + q_loss

    loss, slopes = jax.value_and_grad(critic_loss)(held["critic"])
    critic, critic_adam = adam(held["critic"], slopes, held["critic_adam"])
    actor, actor_adam = adam(held["actor"], jax.grad(actor_loss)(held["actor"]), held["actor_adam"])
    return {"actor": actor, "critic": critic, "target": toward(held["target"], critic, TAU),
            "actor_adam": actor_adam, "critic_adam": critic_adam}, loss  # fmt: skip


ALGORITHMS = {"acfql": (acfql, acfql_update), "diffusion_ql": (dql, dql_update)}


def of_jax(name: str, kept: dict[str, np.ndarray], batch: int = 256) -> Callable[[], object]:
    """Return the jitted update of an algorithm, on a batch that it draws itself from the columns kept."""
    build, update = ALGORITHMS[name]
    obs, actions, rewards = (jnp.asarray(kept[part]) for part in ("observations", "actions", "rewards"))
    ahead = CHUNK if name == "acfql" else 1
    discount = jnp.asarray(GAMMA ** np.arange(ahead), jnp.float32)

    @partial(jax.jit, donate_argnums=0)
    def step(held: Tree, key: Any) -> tuple[Tree, Any]:
        draw, rest = jax.random.split(key)
        first = jax.random.randint(draw, (batch,), 0, len(obs) - ahead)
        rows = first[:, None] + jnp.arange(ahead)
        windows = {
            "obs": obs[first], "next_obs": obs[first + ahead], "actions": actions[first],
            "chunk": actions[rows].reshape(batch, -1), "rewards": rewards[rows][..., 0] @ discount,
        }  # fmt: skip
        return update(held, windows, rest)

    held = jax.tree.map(jnp.array, build(obs.shape[1], actions.shape[1]))  # copies: donated one by one
    number = 0

    def call() -> object:
        nonlocal held, number
        number += 1
        held, loss = step(held, jax.random.PRNGKey(number))
        return loss.block_until_ready()

    return call


def main() -> None:
    """Print the largest difference of the losses from plain_dql's, on its weights, batch and noise."""
    import plain_dql
    import torch

    torch.manual_seed(0)
    plain = plain_dql.PlainDQL(17, 6, plain_dql.Settings())
    obs, actions, next_obs, rewards, _ = plain_dql.Replay(17, 6).sample(256)
    draws = plain.draw(256)

    def arrays(net: Any) -> list[Any]:
        found = [layer for layer in net.modules() if isinstance(layer, torch.nn.Linear)]
        pairs = [(layer.weight.detach().T.numpy(), layer.bias.detach().numpy()[None]) for layer in found]
        return [{"w": jnp.asarray(weight), "b": jnp.asarray(bias)} for weight, bias in pairs]

    model = plain.actor.model
    body = arrays(model.mid_layer) + arrays(torch.nn.Sequential(model.final_layer))
    actor = {"time": arrays(model.time_mlp), "net": body}
    both = zip(arrays(plain.critic.q1_model), arrays(plain.critic.q2_model), strict=True)
    critic = [{name: jnp.stack((one[name], two[name])) for name in one} for one, two in both]
    batch = {"obs": obs, "actions": actions, "next_obs": next_obs, "rewards": rewards[:, 0]}
    batch = {name: jnp.asarray(part.numpy()) for name, part in batch.items()}
    noise = [jnp.asarray(part.numpy()) for part in (draws.next, draws.level, draws.eps, draws.policy)]
    held = {"ema": actor, "target": critic}
    td = dql_critic_loss(critic, held, batch, noise[0])
    _, (cloning, q_loss) = dql_actor_loss(actor, critic, batch, noise[1], noise[2], noise[3], draws.coin)
    plain.critic_optimizer = torch.optim.SGD(
        plain.critic.parameters(), lr=0.0
    )  # the actor sees the same critic
    said = plain.update((obs, actions, next_obs, rewards, torch.ones(256, 1)), draws)
    pairs = ((td, "critic_loss"), (cloning, "bc_loss"), (q_loss, "ql_loss"))
    print(f"largest difference of losses from plain_dql {max(abs(float(x) - said[n]) for x, n in pairs):.1e}")


if __name__ == "__main__":
    main()
