"""The report's architectures, parameter by parameter."""

import numpy as np
import pytest

from helpers.models import ARCHITECTURES, CELLS, build, count_parameters

FEATURES = {"handwriting": (2, 2.0), "cv_segments": (39, -1.0)}
EVERY = [(d, n, cell) for d in ARCHITECTURES for n in ARCHITECTURES[d] for cell in CELLS]


@pytest.mark.parametrize(("dataset", "number", "cell"), EVERY)
def test_every_architecture_has_the_parameters_of_the_formula(dataset, number, cell):
    features, value = FEATURES[dataset]
    architecture = ARCHITECTURES[dataset][number]
    model = build(cell, architecture, features, 5, value)
    counts = count_parameters(cell, architecture, features, 5)
    layers = [layer.count_params() for layer in model.layers if layer.count_params()]
    assert layers == counts
    assert model.count_params() == sum(counts)


def test_the_table_is_the_reports():
    """Figures 2.2 and 3.2: units and dropout, layer by layer."""
    handwriting = [(a.units, a.dropout) for a in ARCHITECTURES["handwriting"].values()]
    assert handwriting == [
        ((64, 32, 32), (0.2,) * 3),
        ((128, 32, 32), (0.2,) * 3),
        ((64, 32), (0.2,) * 2),
        ((64, 64), (0.2,) * 2),
        ((32, 32, 32), (0.2,) * 3),
    ]
    segments = [(a.units, a.dropout) for a in ARCHITECTURES["cv_segments"].values()]
    assert segments == [
        ((256,), (0.2,)),
        ((256, 256), (0.2, 0.2)),
        ((128,), (0.3,)),
        ((64, 64), (0, 0)),
        ((32, 32), (0.2, 0.2)),
    ]


def test_counts_worked_out_by_hand():
    # 4·64·(64 + 2 + 1) + 4·32·(32 + 64 + 1) + 5·(32 + 1)
    assert count_parameters("LSTM", ARCHITECTURES["handwriting"][3], 2, 5) == [17152, 12416, 165]
    # 3·128·(128 + 39 + 2) + 5·(128 + 1)
    assert count_parameters("GRU", ARCHITECTURES["cv_segments"][3], 39, 5) == [64896, 645]


@pytest.mark.parametrize("cell", CELLS)
def test_dropout_follows_every_layer_that_the_report_lists_it_for(cell):
    import keras

    with_dropout = build(cell, ARCHITECTURES["handwriting"][1], 2, 5, 2.0)
    rates = [layer.rate for layer in with_dropout.layers if isinstance(layer, keras.layers.Dropout)]
    assert rates == [0.2, 0.2, 0.2]
    without = build(cell, ARCHITECTURES["cv_segments"][4], 39, 5, -1.0)
    assert not any(isinstance(layer, keras.layers.Dropout) for layer in without.layers)


def test_the_output_is_a_distribution_for_any_length():
    model = build("GRU", ARCHITECTURES["handwriting"][5], 2, 5, 2.0)
    for length in (1, 3, 50):
        p = model(np.zeros((2, length, 2), np.float32)).numpy()
        assert p.shape == (2, 5) and np.allclose(p.sum(axis=1), 1, atol=1e-6)


def test_the_optimiser_is_the_reports():
    model = build("LSTM", ARCHITECTURES["handwriting"][5], 2, 5, 2.0)
    assert type(model.optimizer).__name__ == "Adam"
    assert float(model.optimizer.learning_rate) == pytest.approx(1e-3)


def test_an_unknown_cell_is_refused():
    with pytest.raises(ValueError, match="'RNN'; expected one of SimpleRNN, LSTM, GRU"):
        build("RNN", ARCHITECTURES["handwriting"][1], 2, 5, 2.0)
    with pytest.raises(ValueError, match="'LRU'; expected one of SimpleRNN, LSTM, GRU"):
        count_parameters("LRU", ARCHITECTURES["handwriting"][1], 2, 5)
