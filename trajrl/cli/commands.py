"""The commands by name: where each dataclass is, and the line that --help shows of it."""

from __future__ import annotations

COMMANDS: dict[str, tuple[str, str]] = {
    "bench": ("", "measure speed: gather, sampler, store, update, evaluate"),
    "collect": ("trajrl.cli.collect.command:Collect", "record episodes of a policy into a store"),
    "evaluate": ("trajrl.cli.evaluate:Evaluate", "run episodes with the policy of a run"),
    "export": ("trajrl.cli.export:Export", "write a policy as one file that acts without trajrl"),
    "import-agent": ("trajrl.cli.import_agent:ImportAgent", "turn foreign checkpoints into a run"),
    "list": (
        "trajrl.cli.list:List",
        "show which agents, samplers, metrics, environments ... there are",
    ),
    "offline": ("trajrl.cli.offline:Offline", "learn a policy from a store"),
    "online": ("trajrl.cli.online:Online", "continue learning in the environment"),
    "protocol": (
        "trajrl.cli.protocol:Protocol",
        "offline, then online, on every task and seed, as published",
    ),
    "report": ("trajrl.cli.report:Report", "show what runs learned, and from what, as one page"),
    "select": ("trajrl.cli.select:Select", "rank what runs keep, and say which checkpoint to take"),
    "store": ("", "import, export, look into, edit, repair and mix trajectory stores"),
    "sweep": ("trajrl.cli.sweep:Sweep", "do runs over a grid and seeds, here or on a cluster"),
    "toy": ("trajrl.cli.toy:Toy", "train an agent on a bandit and compare with the closed form"),
    "zoo": ("trajrl.cli.zoo:Zoo", "list the policies that ship, and weights that can be imported"),
}

GROUPS: dict[str, dict[str, tuple[str, str]]] = {
    "bench": {
        "evaluate": ("trajrl.cli.bench.evaluate:BenchEvaluate", "environment steps per second, one and many"),
        "gather": ("trajrl.cli.bench.store:BenchGather", "windows out of one million transitions"),
        "sampler": ("trajrl.cli.bench.sampler:BenchSampler", "every sampler on 1k, 10k and 100k episodes"),
        "store": ("trajrl.cli.bench.store:BenchStore", "opening and sampling a large store"),
        "update": ("trajrl.cli.bench.update:BenchUpdate", "updates per second beside the plain algorithm"),
    },
    "store": {
        "cluster": ("trajrl.cli.store.cluster:Cluster", "cluster trajectories and write the labels"),
        "delete": ("trajrl.cli.store.delete:Delete", "leave episodes or columns out"),
        "doctor": ("trajrl.cli.store.command:Doctor", "find what is wrong with a source, and repair it"),
        "embed": ("trajrl.cli.store.embed:Embed", "replace images by features of a frozen encoder"),
        "export": ("trajrl.cli.store.command:Export", "write a store in another format"),
        "filter": ("trajrl.cli.store.filter:Filter", "keep the episodes that a question is true of"),
        "import": ("trajrl.cli.store.command:Import", "read any known format into a store"),
        "info": ("trajrl.cli.store.command:Info", "say what a store holds"),
        "merge": ("trajrl.cli.store.merge:Merge", "put all episodes of several stores into one"),
        "mix": ("trajrl.cli.store.command:Mix", "mix whole episodes of several stores by share"),
        "pack": ("trajrl.cli.store.command:Pack", "write a small compressed copy for keeping and sending"),
        "page": ("trajrl.cli.store.page:Page", "show a store as one self-contained page"),
        "relabel": ("trajrl.cli.store.relabel:Relabel", "give every step another reward"),
        "rename": ("trajrl.cli.store.rename:Rename", "give sources, columns or the environment other names"),
        "show": ("trajrl.cli.store.show:Show", "show one episode, in the terminal or as a figure"),
        "split": ("trajrl.cli.store.split:Split", "share whole episodes out to several stores"),
        "verify": ("trajrl.cli.store.command:Verify", "recompute every digest of a store"),
    },
}
