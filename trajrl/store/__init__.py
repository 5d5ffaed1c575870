"""Whole episodes in flat columns, on disk or in memory, and the windows drawn from them."""
