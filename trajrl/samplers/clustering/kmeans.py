"""k-means by FAISS with all that could vary set explicitly: seed, threads, restarts, points per centre.

The same seed gives the same centres and labels.  Centres that no point is nearest to are dropped, so that
every label has a member.  faiss is imported here only, inside the function that fits.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from trajrl.core.extras import install

ITERATIONS = 20
BLOCK_ROWS = 1 << 16


def fit_centres(
    x: np.ndarray, clusters: int, seed: int, restarts: int = 20, threads: int = 1, max_points: int = 50_000
) -> np.ndarray:
    """Return centres (C', d), C' <= clusters, of points (n, d); the best of `restarts` starts by inertia."""
    if clusters < 1:
        raise ValueError(f"k-means makes at least 1 cluster; got {clusters}")
    if len(x) < clusters:
        raise ValueError(f"{clusters} clusters need at least {clusters} points; there are {len(x)}")
    if not np.isfinite(x).all():
        raise ValueError("k-means got features that are not numbers; `store doctor` on the source finds them")
    points = np.ascontiguousarray(x, np.float32)
    if clusters == 1:
        return points.mean(0, keepdims=True)
    centres = _train(points, clusters, seed, restarts, threads, max_points)
    used = np.bincount(nearest(points, centres), minlength=clusters) > 0
    return centres[used]


def nearest(x: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Return the label (n,) of the centre nearest to each point; ties go to the first."""
    half = 0.5 * np.square(centres, dtype=np.float64).sum(1)  # (C,)
    label = np.empty(len(x), np.int64)
    for first in range(0, len(x), BLOCK_ROWS):
        block = x[first : first + BLOCK_ROWS].astype(np.float64)
        label[first : first + BLOCK_ROWS] = (block @ centres.T.astype(np.float64) - half).argmax(1)
    return label


def _train(
    x: np.ndarray, clusters: int, seed: int, restarts: int, threads: int, max_points: int
) -> np.ndarray:
    """Run FAISS on a fixed number of threads and give its thread setting back."""
    faiss = _faiss()
    before = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(threads)
    most = max(1, -(-min(len(x), max_points) // clusters))  # FAISS draws clusters * most points by its seed
    try:
        kmeans = faiss.Kmeans(
            x.shape[1], clusters, niter=ITERATIONS, nredo=restarts, seed=seed % (1 << 31), verbose=False,
            min_points_per_centroid=1, max_points_per_centroid=most,
        )  # fmt: skip
        kmeans.train(x)
        return np.array(kmeans.centroids)  # (C, d)
    finally:
        faiss.omp_set_num_threads(before)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise ImportError(f"clustering needs faiss, which comes with trajrl: {install()}") from error
    return faiss
