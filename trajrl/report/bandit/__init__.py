"""Figures and measures of the bandit laboratory."""
