"""Pickled trajectories, read without running code."""
