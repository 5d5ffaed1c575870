"""Sweeps: every cell of a grid for several seeds, by an engine that may be killed and started again."""

ENGINES: dict[str, str] = {
    "local": "trajrl.sweep.local:run",
    "ray": "trajrl.sweep.on_ray:run",
}
