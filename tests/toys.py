"""A small data set that every network learns within a few epochs, and what every model must do."""

import keras
import numpy as np

from helpers.data import SequenceDataset, Sequences
from helpers.training import settings_for


def toy_dataset():
    """Strokes whose class is the side to which they go."""

    def sequences(n, seed):
        rng = np.random.default_rng(seed)
        y = np.arange(n) % 3
        x = [
            np.column_stack(
                [np.linspace(0, 1, t), np.linspace(0, k - 1, t) + rng.normal(0, 0.05, t)]
            ).astype(np.float32)
            for k, t in zip(y, rng.integers(3, 20, n), strict=True)
        ]
        files = tuple(f"c/{seed}/{i}.txt" for i in range(n))
        return Sequences(x, y, files, np.array([str(i) for i in range(n)]))

    return SequenceDataset(
        "handwriting", ("a", "b", "c"), sequences(60, 1), sequences(30, 2), "toy", {"a": {}}
    )


def quick(seed=0, architecture=5, layer="SimpleRNN", **changes):
    """Return settings of a run of three epochs."""
    settings = {"scaling": "none", "max_epochs": 3, "patience": 5, **changes}
    return settings_for("handwriting", layer, architecture, seed, **settings)


def assert_learns_through_its_mask(model, short, long, y, folder):
    """More padding changes no output, training lowers the loss, and it comes back from disk."""
    assert np.allclose(model(short), model(long), atol=1e-5)
    before = model.evaluate(short, y, verbose=0)[0]
    model.fit(short, y, epochs=20, verbose=0)
    assert model.evaluate(short, y, verbose=0)[0] < before
    model.save(folder / "model.keras")
    again = keras.models.load_model(folder / "model.keras")
    assert np.allclose(model(short), again(short), atol=1e-6)
