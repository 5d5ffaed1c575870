"""A run directory: checkpoints, evaluations, episodes, logs, and loading it again."""
