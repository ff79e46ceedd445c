"""SAP's Gaussian kernels, collapsed into one symmetric filter."""

import numpy as np

SIZES = (5, 7, 11, 15, 19)
SIGMAS = (1.0, 3.0, 5.0, 7.0, 10.0)
KERNELS = ("nest25", "zip5")


def gaussian(size: int, sigma: float) -> np.ndarray:
    """float64 [size], size odd: a sampled Gaussian that sums to one (ADT paper, arXiv 2203.09487, eq. 9)."""
    position = np.arange(size) - size // 2
    kernel = np.exp(-(position**2) / (2 * sigma**2))
    return kernel / kernel.sum()


def kernel_pairs(kernels: str) -> list[tuple[int, float]]:
    """(size, sigma) of each kernel: `nest25` every pair, as in Han et al.'s code; `zip5` as eq. 8 indexes them."""
    if kernels == "nest25":
        return [(size, sigma) for size in SIZES for sigma in SIGMAS]
    if kernels == "zip5":
        return list(zip(SIZES, SIGMAS, strict=True))
    raise ValueError(f"kernels {kernels!r} is none of {', '.join(KERNELS)}")


def smoothing_taps(kernels: str = "nest25") -> np.ndarray:
    """float64 [19]: the mean of all kernels.

    Convolution is linear, so one convolution with the mean equals the mean of the convolutions, at the borders too
    (zero extension). The taps are positive and sum to one: the smoothed perturbation never leaves the L-inf ball.
    """
    taps = np.zeros(max(SIZES))
    pairs = kernel_pairs(kernels)
    for size, sigma in pairs:
        margin = (len(taps) - size) // 2
        taps[margin : margin + size] += gaussian(size, sigma) / len(pairs)
    return taps
