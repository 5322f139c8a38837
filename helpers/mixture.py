"""Mixture density outputs: two numbers and an end flag, drawn from what a network says of them.

A step of a pen is drawn from a mixture of ``M`` Gaussians in the plane, and whether it is the last
one from a Bernoulli distribution. Bishop (1994); for handwriting, Graves (2013), section 4.
"""

import numpy as np
from scipy.special import log_ndtr, log_softmax, logsumexp, ndtri_exp

from helpers.cells import sigmoid

# Components thinner than this are no stroke of a pen, and their gradients overflow.
LARGEST_RHO = 0.95


def width(components):
    """Return how many numbers a network gives out for one step: ``6 M + 1``."""
    return 6 * components + 1


def split(a_y):
    """Turn the outputs of a network into the parameters of a mixture.

    Parameters
    ----------
    a_y : array, shape (…, 6 M + 1)
        M logits of the weights, 2M means, 2M logarithms of standard deviations, M numbers that
        a tanh makes correlations of, and the logit of the end.

    Returns
    -------
    log_pi : array, shape (…, M)
    mu, log_sigma : array, shape (…, M, 2)
    rho : array, shape (…, M)
    a_end : array, shape (…)
    """
    components = a_y.shape[-1] // 6
    logits, mu, log_sigma, a_rho, a_end = np.split(
        a_y, np.cumsum([components, 2 * components, 2 * components, components]), axis=-1
    )
    pairs = (*a_y.shape[:-1], components, 2)
    mu, log_sigma = mu.reshape(pairs), log_sigma.reshape(pairs)
    return log_softmax(logits, axis=-1), mu, log_sigma, LARGEST_RHO * np.tanh(a_rho), a_end[..., 0]


def mixture_density(a_y, y):
    """Return minus the log-likelihood of each step, and its gradient by the outputs.

    Graves (2013), equations 23 to 37. A loss for
    :meth:`helpers.cells.Network.loss_and_gradients`.

    Parameters
    ----------
    a_y : array, shape (…, 6 M + 1)
        As in :func:`split`.
    y : array, shape (…, 3)
        The step, and 1 if the sequence ends with it, else 0.

    Returns
    -------
    loss : array, shape (…)
    d_a_y : array, shape (…, 6 M + 1)
    """
    log_pi, mu, log_sigma, rho, a_end = split(a_y)
    end = y[..., 2]
    z = (y[..., None, :2] - mu) / np.exp(log_sigma)
    z_1, z_2 = z[..., 0], z[..., 1]
    c = 1 / (1 - rho**2)
    d = c * (z_1**2 + z_2**2 - 2 * rho * z_1 * z_2)
    log_n = -d / 2 - log_sigma.sum(axis=-1) + np.log(c) / 2 - np.log(2 * np.pi)
    log_p = logsumexp(log_pi + log_n, axis=-1, keepdims=True)
    gamma = np.exp(log_pi + log_n - log_p)
    loss = -log_p[..., 0] + np.logaddexp(0, a_end) - end * a_end

    g = c[..., None] * (z - rho[..., None] * z[..., ::-1])  # minus the slope of log N by z
    d_mu = -gamma[..., None] * g / np.exp(log_sigma)
    d_log_sigma = gamma[..., None] * (1 - z * g)
    d_rho = -gamma * c * (rho * (1 - d) + z_1 * z_2)
    slope = LARGEST_RHO - rho**2 / LARGEST_RHO  # of rho by its pre-activation
    flat = (*a_y.shape[:-1], -1)
    d_a_y = np.concatenate(
        [
            np.exp(log_pi) - gamma,
            d_mu.reshape(flat),
            d_log_sigma.reshape(flat),
            d_rho * slope,
            (sigmoid(a_end) - end)[..., None],
        ],
        axis=-1,
    )
    return loss, d_a_y


def keras_mixture_density(y, a_y):
    """Return what :func:`mixture_density` does, without the gradient, for Keras to differentiate.

    Parameters
    ----------
    y : tensor, shape (…, 3)
    a_y : tensor, shape (…, 6 M + 1)

    Returns
    -------
    tensor, shape (…)
    """
    from keras import ops

    components = a_y.shape[-1] // 6
    logits, mu_1, mu_2, log_sigma_1, log_sigma_2, a_rho = (
        a_y[..., :components],
        *(a_y[..., components + k : 3 * components : 2] for k in range(2)),
        *(a_y[..., 3 * components + k : 5 * components : 2] for k in range(2)),
        a_y[..., 5 * components : -1],
    )
    z_1 = (y[..., :1] - mu_1) * ops.exp(-log_sigma_1)
    z_2 = (y[..., 1:2] - mu_2) * ops.exp(-log_sigma_2)
    rho = LARGEST_RHO * ops.tanh(a_rho)
    c = 1 / (1 - rho**2)
    d = c * (z_1**2 + z_2**2 - 2 * rho * z_1 * z_2)
    log_n = -d / 2 - log_sigma_1 - log_sigma_2 + ops.log(c) / 2 - float(np.log(2 * np.pi))
    log_p = ops.logsumexp(ops.log_softmax(logits) + log_n, axis=-1)
    return ops.softplus(a_y[..., -1]) - y[..., 2] * a_y[..., -1] - log_p


def without_noise(log_sigma, rho, taken):
    """Return standard deviations and correlations after noise on both axes is taken away.

    Parameters
    ----------
    log_sigma : array, shape (…, 2)
    rho : array, shape (…)
    taken : float
        The variance of the noise; what is left of a variance is at least 1e-4.

    Returns
    -------
    sigma : array, shape (…, 2)
    rho : array, shape (…)
    """
    if not taken:
        return np.exp(log_sigma), rho
    covariance = rho * np.exp(log_sigma.sum(axis=-1))
    sigma = np.sqrt(np.maximum(np.exp(2 * log_sigma) - taken, 1e-4))
    return sigma, np.clip(covariance / sigma.prod(axis=-1), -LARGEST_RHO, LARGEST_RHO)


def pixel_loss(a_y, y, taken=0.0, nodes=16):
    """Return minus the log-probability of whole steps: the mass of each one's pixel.

    It is what a pen gives to a step that draws from the density and rounds. The mass is exact along
    one axis, and along the other a mean over nodes of equal mass.

    Parameters
    ----------
    a_y : array, shape (N, 6 M + 1)
    y : array, shape (N, 3)
        Whole numbers, and the end.
    taken : float
        As in :func:`without_noise`.
    nodes : int

    Returns
    -------
    array, shape (N,)
    """
    log_pi, mu, log_sigma, rho, a_end = split(a_y)
    sigma, rho = without_noise(log_sigma, rho, taken)
    low, high = ((y[:, None, :2] + side - mu) / sigma for side in (-0.5, 0.5))
    log_mass, log_low, log_high, sign = _log_mass(low[..., 0], high[..., 0])
    share = (np.arange(nodes) + 0.5) / nodes
    log_low, log_high, sign = (a[..., None] for a in (log_low, log_high, sign))
    z = sign * ndtri_exp(np.logaddexp(log_low + np.log1p(-share), log_high + np.log(share)))
    rest = np.sqrt(1 - rho**2)[..., None]
    sides = ((side[..., 1:] - rho[..., None] * z) / rest for side in (low, high))
    log_mass += logsumexp(_log_mass(*sides)[0], axis=-1) - np.log(nodes)
    log_p = logsumexp(log_pi + log_mass, axis=-1)
    return np.logaddexp(0, a_end) - y[:, 2] * a_end - log_p


def _log_mass(low, high):
    """Return the log-mass of a standard normal between two numbers, and how it was computed.

    Both ends are taken on the negative side if that is nearer, where no digit is lost: the logs of
    the mass below each end there, and the sign of the exchange.
    """
    sign = np.where(low > 0, -1.0, 1.0)
    low, high = np.where(low > 0, -high, low), np.where(low > 0, -low, high)
    log_low, log_high = log_ndtr(low), log_ndtr(high)
    with np.errstate(divide="ignore"):  # two ends that are one in floats have no mass between them
        log_mass = log_high + np.log1p(-np.exp(log_low - log_high))
    return log_mass, log_low, log_high, sign


def sample(rng, a_y, temperature=1.0, taken=0.0, least=0.0):
    """Draw one step from each mixture.

    Parameters
    ----------
    rng : numpy.random.Generator
    a_y : array, shape (N, 6 M + 1)
    temperature : float
        Divides the logits of the weights and of the end, and multiplies the variances; at 0 the
        mean of the heaviest component is taken. Ha and Eck (2018), equation 8.
    taken : float
        As in :func:`without_noise`.
    least : float
        Components that weigh less are never drawn, except the heaviest.

    Returns
    -------
    array, shape (N, 3)
        As ``y`` of :func:`mixture_density`.
    """
    log_pi, mu, log_sigma, rho, a_end = split(a_y)
    rows = np.arange(len(a_y))
    if not temperature:
        return np.column_stack([mu[rows, log_pi.argmax(axis=1)], a_end > 0])
    heavy = np.exp(log_pi) >= np.minimum(least, np.exp(log_pi.max(axis=1, keepdims=True)))
    noisy = log_pi / temperature + rng.gumbel(size=log_pi.shape)
    chosen = np.where(heavy, noisy, -np.inf).argmax(axis=1)
    sigma, rho = without_noise(log_sigma[rows, chosen], rho[rows, chosen], taken)
    u = rng.normal(size=(len(a_y), 2)) * np.sqrt(temperature)
    u[:, 1] = rho * u[:, 0] + np.sqrt(1 - rho**2) * u[:, 1]
    end = rng.random(len(a_y)) < sigmoid(a_end / temperature)
    return np.column_stack([mu[rows, chosen] + sigma * u, end])
