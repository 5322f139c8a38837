"""Mixture density outputs: the density, its gradient, and what is drawn from it."""

import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import multivariate_normal

from helpers import mixture
from helpers.cells import LSTM, Network, central_differences, relative_error
from helpers.mixture import (
    LARGEST_RHO,
    keras_mixture_density,
    mixture_density,
    sample,
    split,
    width,
)


@pytest.fixture
def rng():
    return np.random.default_rng(17)


def drawn(rng, *shape, components=3):
    """Outputs and targets of that shape."""
    a_y = rng.normal(size=(*shape, width(components)))
    steps, ends = 2 * rng.normal(size=(*shape, 2)), rng.integers(0, 2, (*shape, 1))
    return a_y, np.concatenate([steps, ends], axis=-1)


def test_the_loss_is_that_of_the_density_of_scipy(rng):
    a_y, y = drawn(rng, 7)
    losses, _ = mixture_density(a_y, y)
    for a, (*step, end), loss in zip(a_y, y, losses, strict=True):
        log_pi, mu, log_sigma, rho, a_end = split(a)
        assert np.exp(log_pi).sum() == pytest.approx(1)
        p = 0.0
        for k in range(3):
            s_1, s_2 = np.exp(log_sigma[k])
            c = rho[k] * s_1 * s_2
            normal = multivariate_normal(mu[k], [[s_1**2, c], [c, s_2**2]])
            p += np.exp(log_pi[k]) * normal.pdf(step)
        p_end = 1 / (1 + np.exp(-a_end))
        assert loss == pytest.approx(-np.log(p) - np.log(p_end if end else 1 - p_end))


def test_one_round_gaussian_by_hand():
    loss, d_a_y = mixture_density(np.zeros((1, 7)), np.array([[1.0, 0.0, 1.0]]))
    assert loss[0] == pytest.approx(0.5 + np.log(2 * np.pi) + np.log(2))
    assert np.allclose(d_a_y, [[0, -1, 0, 0, 1, 0, -0.5]])


@pytest.mark.parametrize("components", [1, 4])
def test_the_gradient_is_that_of_central_differences(components, rng):
    a_y, y = drawn(rng, 3, 4, components=components)
    _, d_a_y = mixture_density(a_y, y)
    estimate = central_differences(lambda: mixture_density(a_y, y)[0].sum(), a_y)
    assert relative_error(d_a_y, estimate) < 1e-8


def test_it_is_a_loss_for_a_network(rng):
    network = Network.random(rng, LSTM, 3, [4], width(2))
    x, (_, y) = rng.normal(size=(2, 5, 3)), drawn(rng, 2, 5)
    mask = np.arange(5) < np.array([[5], [3]])
    options = {"every_step": True, "loss": mixture_density}
    _, gradients = network.loss_and_gradients(x, y, mask, **options)
    for name, array in network.weights.items():
        estimate = central_differences(
            lambda: network.loss_and_gradients(x, y, mask, **options)[0], array
        )
        assert relative_error(gradients[name], estimate) < 1e-7, name


def test_keras_finds_the_same_loss_and_gradient(rng):
    a_y, y = drawn(rng, 6, 5)
    variable = tf.Variable(a_y)
    with tf.GradientTape() as tape:
        losses = keras_mixture_density(tf.constant(y), variable)
    expected, d_a_y = mixture_density(a_y, y)
    assert np.allclose(losses, expected, atol=1e-10)
    assert relative_error(d_a_y, tape.gradient(losses, variable).numpy()) < 1e-10


def test_correlations_stay_inside_their_bound():
    a_y = np.zeros((2, 7))
    a_y[:, 5] = -50, 50
    rho = split(a_y)[3]
    assert np.allclose(rho[:, 0], [-LARGEST_RHO, LARGEST_RHO])
    assert np.isfinite(mixture_density(a_y, np.ones((2, 3)))[1]).all()


def outputs_of(pi, mu, sigma, rho, p_end, n):
    """Outputs that say these parameters, n times."""
    a_rho = np.arctanh(np.array(rho) / LARGEST_RHO)
    a_end = np.log(p_end / (1 - p_end))
    parts = [np.log(pi), np.ravel(mu), np.log(np.ravel(sigma)), a_rho, [a_end]]
    return np.tile(np.concatenate(parts), (n, 1))


def test_what_is_drawn_has_the_moments_of_the_mixture(rng):
    a_y = outputs_of(
        [0.3, 0.7], [[-9, 0], [9, 1]], [[1, 2], [0.5, 0.5]], [0.8, -0.4], 0.25, 200_000
    )
    y = sample(rng, a_y)
    left = y[:, 0] < 0
    assert left.mean() == pytest.approx(0.3, abs=0.005)
    assert y[:, 2].mean() == pytest.approx(0.25, abs=0.005)
    assert np.allclose(y[left, :2].mean(axis=0), [-9, 0], atol=0.03)
    assert np.allclose(y[left, :2].std(axis=0), [1, 2], rtol=0.02)
    assert np.corrcoef(y[left, :2].T)[0, 1] == pytest.approx(0.8, abs=0.01)
    assert np.corrcoef(y[~left, :2].T)[0, 1] == pytest.approx(-0.4, abs=0.01)


def test_temperature_sharpens_all_three_choices(rng):
    a_y = outputs_of([0.3, 0.7], [[-9, 0], [9, 0]], np.ones((2, 2)), [0, 0], 0.25, 100_000)
    y = sample(rng, a_y, temperature=0.5)
    assert (y[:, 0] < 0).mean() == pytest.approx(0.09 / (0.09 + 0.49), abs=0.005)
    assert y[:, 2].mean() == pytest.approx(1 / (1 + 9), abs=0.005)
    assert y[:, 1].var() == pytest.approx(0.5, rel=0.02)
    assert np.array_equal(sample(rng, a_y[:1], temperature=0), [[9, 0, 0]])


@pytest.mark.parametrize("taken", [0.0, 0.1])
def test_the_mass_of_a_pixel_is_that_of_scipy(taken, rng):
    a_y, y = drawn(rng, 40)
    y[:, :2] = y[:, :2].round()
    log_pi, mu, log_sigma, rho, a_end = split(a_y)
    sigma, rho = mixture.without_noise(log_sigma, rho, taken)
    c = rho * sigma.prod(axis=-1)
    p = np.zeros(40)
    for row, k in np.ndindex(40, 3):
        s_1, s_2 = sigma[row, k]
        normal = multivariate_normal(mu[row, k], [[s_1**2, c[row, k]], [c[row, k], s_2**2]])
        mass = normal.cdf(y[row, :2] + 0.5, lower_limit=y[row, :2] - 0.5)
        p[row] += np.exp(log_pi[row, k]) * mass
    p_end = 1 / (1 + np.exp(-a_end))
    expected = -np.log(p) - np.log(np.where(y[:, 2], p_end, 1 - p_end))
    common = p > 1e-3  # scipy's own error is absolute
    assert common.sum() > 10
    gap = np.abs(mixture.pixel_loss(a_y, y, taken, nodes=512) - expected)[common]
    assert np.median(gap) < 1e-3 and gap.max() < 0.02


def test_all_pixels_together_have_the_mass_one(rng):
    a_y = rng.normal(size=(1, width(2)))
    a_y[0, 6:10] = [-3, -3, 0, 0]  # one component far narrower than a pixel
    grid = np.stack(np.meshgrid(*[np.arange(-12.0, 13)] * 2), axis=-1).reshape(-1, 2)
    y = np.column_stack([np.tile(grid, (2, 1)), np.repeat([0, 1], len(grid))])
    assert np.exp(-mixture.pixel_loss(np.repeat(a_y, len(y), 0), y)).sum() == pytest.approx(1)


def test_the_dequantised_loss_is_a_bound(rng):
    a_y, y = drawn(rng, 20)
    y[:, :2] = y[:, :2].round()
    noisy = [mixture_density(a_y, y + np.append(u, 0))[0] for u in rng.uniform(-0.5, 0.5, (999, 2))]
    assert (np.mean(noisy, axis=0) > mixture.pixel_loss(a_y, y) - 0.05).all()


def test_far_pixels_keep_their_logarithm():
    a_y = np.zeros((1, 7))
    loss = mixture.pixel_loss(a_y, np.array([[100.0, 0, 0]]))
    assert loss[0] == pytest.approx(99.5**2 / 2, rel=0.01)


def test_noise_is_taken_from_both_axes(rng):
    log_sigma, rho = np.log([[0.5, 1.0], [0.2, 0.2]]), np.array([0.6, 0.9])
    sigma, left = mixture.without_noise(log_sigma, rho, 1 / 12)
    assert np.allclose(sigma[0] ** 2, [0.25 - 1 / 12, 1 - 1 / 12])
    assert left[0] * sigma[0].prod() == pytest.approx(0.6 * 0.5)  # the covariance stays
    assert np.allclose(sigma[1], 0.01) and left[1] == LARGEST_RHO
    # Rounding gives the noise back: Sheppard's correction.
    a_y = outputs_of([1.0], [[0.3, 0.1]], [[1, 1]], [0.0], 0.5, 200_000)
    steps = sample(rng, a_y, taken=2 / 12)[:, :2].round()
    assert np.allclose(steps.var(axis=0), 1 - 1 / 12, rtol=0.01)


def test_light_components_are_left_out(rng):
    a_y = outputs_of([0.04, 0.96], [[-9, 0], [9, 0]], np.ones((2, 2)), [0, 0], 0.5, 1000)
    assert (sample(rng, a_y)[:, 0] < 0).any()
    assert not (sample(rng, a_y, least=0.05)[:, 0] < 0).any()
    assert np.isfinite(sample(rng, a_y, least=2.0)).all()  # the heaviest always stays


def test_the_width_is_six_numbers_a_component_and_one():
    assert width(20) == 121 and mixture.split(np.zeros(width(20)))[1].shape == (20, 2)
