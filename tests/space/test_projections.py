"""Every projection keeps the contract; PCA agrees with scikit-learn, UMAP keeps groups together."""

from __future__ import annotations

import subprocess
import sys
from threading import Event, Thread

import numpy as np
import pytest
from sklearn import decomposition

from mmviewer.core.errors import Cancelled, InputError
from mmviewer.core.progress import Progress
from mmviewer.core.space.projection.base import PROJECTIONS, project
from mmviewer.core.types import Embeddings, FloatArray, Modality, Projection


def embeddings(vectors: FloatArray) -> Embeddings:
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    names = tuple(f"item {i}" for i in range(len(vectors)))
    return Embeddings(names, (Modality.IMAGE,) * len(vectors), unit.astype(np.float32), "model")


def groups(per_group: int = 12, width: int = 32) -> tuple[Embeddings, np.ndarray]:
    """Three tight groups in the sphere, and the group of each item."""
    random = np.random.default_rng(1)
    centres = np.repeat(random.normal(size=(3, width)), per_group, axis=0)
    noise = random.normal(scale=0.1, size=centres.shape)
    return embeddings((centres + noise).astype(np.float32)), np.repeat(np.arange(3), per_group)


@pytest.mark.parametrize("key", PROJECTIONS.keys())
def test_contract(key):
    projector = PROJECTIONS.get(key)
    assert projector.key == key
    assert projector.label
    assert projector.explanation.endswith(".")
    data, kind = groups()
    reports: list[tuple] = []
    placed = project(data, key, Progress(lambda *report: reports.append(report)))
    assert placed.items == data.items
    assert placed.method == key
    assert placed.details
    assert placed.coordinates.shape == (36, 2)
    assert placed.coordinates.dtype == np.float32
    assert np.isfinite(placed.coordinates).all()
    np.testing.assert_array_equal(project(data, key).coordinates, placed.coordinates)

    apart = np.linalg.norm(placed.coordinates[:, None] - placed.coordinates[None], axis=-1)
    np.fill_diagonal(apart, np.inf)
    assert (kind[apart.argmin(axis=1)] == kind).all()


@pytest.mark.parametrize("key", PROJECTIONS.keys())
@pytest.mark.parametrize("extra", [0, 1, 3])
def test_few_and_equal_items(key, extra):
    count = PROJECTIONS.get(key).minimum + extra
    random = np.random.default_rng(0)
    for vectors in (random.normal(size=(count, 16)), np.ones((count, 16)), random.normal(size=(count, 2))):
        assert np.isfinite(project(embeddings(vectors), key).coordinates).all()


@pytest.mark.parametrize("key", PROJECTIONS.keys())
def test_too_few_items(key):
    fewer = PROJECTIONS.get(key).minimum - 1
    with pytest.raises(InputError, match="needs at least"):
        project(embeddings(np.ones((fewer, 8), np.float32)), key)


@pytest.mark.parametrize("key", PROJECTIONS.keys())
def test_a_cancel_is_honoured(key):
    cancelled = Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        project(groups()[0], key, Progress(cancelled=cancelled))


def test_not_finite():
    data = groups()[0]
    data.vectors[4, 2] = np.nan
    with pytest.raises(InputError, match="item 5 is not finite"):
        project(data)


def test_unknown_method():
    with pytest.raises(InputError, match="choose one of: pacmap, pca, tsne, umap"):
        project(groups()[0], "map")


@pytest.mark.parametrize("shape", [(40, 8), (8, 40), (300, 64), (9, 1)])
def test_pca_equals_scikit_learn(shape):
    vectors = np.random.default_rng(2).normal(size=shape).astype(np.float32)
    data = Embeddings(("",) * shape[0], (Modality.IMAGE,) * shape[0], vectors)
    placed = project(data, "pca")
    wanted = decomposition.PCA(min(2, shape[1]), svd_solver="full")
    coordinates = wanted.fit_transform(vectors.astype(np.float64))
    np.testing.assert_allclose(placed.coordinates[:, : shape[1]], coordinates, atol=1e-5)
    assert f"{wanted.explained_variance_ratio_.sum():.0%} of the variance" in placed.details


def test_pca_of_one_item():
    placed = project(embeddings(np.ones((1, 4))), "pca")
    np.testing.assert_array_equal(placed.coordinates, [[0, 0]])
    assert "single item" in placed.details


@pytest.mark.parametrize(
    ("key", "step"), [("umap", "UMAP epochs"), ("tsne", "t-SNE iterations"), ("pacmap", "PaCMAP iterations")]
)
def test_steps_are_reported_and_it_stops_between_them(key, step):
    data = embeddings(np.random.default_rng(0).normal(size=(1500, 64)))
    project(groups()[0], key)  # compiled from here on
    epochs: list[float] = []
    cancelled = Event()

    def report(done: float, total: float | None, message: str) -> None:
        if message == step:
            epochs.append(done)
            cancelled.set()

    with pytest.raises(Cancelled):
        project(data, key, Progress(report, cancelled))
    assert len(epochs) == 1


def test_a_cancelled_map_keeps_no_lock_of_the_library():
    """The next one, which the engine makes in another thread, must not wait for it for ever."""
    cancelled = Event()

    def stop(done: float, total: float | None, message: str) -> None:
        if message == "UMAP epochs":
            cancelled.set()

    with pytest.raises(Cancelled):
        project(groups()[0], "umap", Progress(stop, cancelled))
    placed: list[Projection] = []
    thread = Thread(target=lambda: placed.append(project(groups()[0], "umap")), daemon=True)
    thread.start()
    thread.join(120)
    assert len(placed) == 1


def test_the_registry_is_light():
    code = (
        "import sys\n"
        "from mmviewer.core.space.projection.base import PROJECTIONS\n"
        "import mmviewer.core.space.neighbours\n"
        "from mmviewer.core.space import clusters, measures, placing, search\n"
        "import pkgutil\n"
        "for part in (clusters, measures, search):\n"
        "    for module in pkgutil.iter_modules(part.__path__):\n"
        "        __import__(f'{part.__name__}.{module.name}')\n"
        "assert PROJECTIONS.keys() == ['pacmap', 'pca', 'tsne', 'umap']\n"
        "heavy = {'umap', 'pacmap', 'openTSNE', 'faiss', 'numba', 'sklearn', 'scipy', 'torch', 'PySide6'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert result.stdout.strip() == "[]"
