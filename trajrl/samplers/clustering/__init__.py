"""k-means over trajectory features, and the labels that come of it."""
