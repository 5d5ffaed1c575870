"""Minari data sets, in and out."""
