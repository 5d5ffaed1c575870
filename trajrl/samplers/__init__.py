"""Samplers decide which trajectories are learned from; `make_sampler` builds one by name."""
