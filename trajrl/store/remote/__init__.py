"""Stores that lie elsewhere: table first, then blocks on demand into a bounded, verified cache on disk."""
