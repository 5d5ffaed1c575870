"""Replay buffers in zarr, in."""
