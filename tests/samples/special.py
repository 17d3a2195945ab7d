"""Special functions in float64, for references: series and recurrences that are right to about 1e-14, with no library.

Sources: DLMF (dlmf.nist.gov) 5.11, 5.15, 6.6, 8.7, 8.9, 10.25, 25.11.
"""

from __future__ import annotations

from math import erf, erfc, exp, floor, inf, isnan, lgamma, log, log1p, nan, pi, sqrt, tan
from statistics import NormalDist

import numpy as np

BERNOULLI = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66, -691 / 2730, 7 / 6, -3617 / 510)


def elementwise(f):
    """A function of floats as one of arrays."""
    return np.vectorize(f, otypes=[np.float64])


def zeta(s: float, q: float) -> float:
    """Hurwitz's zeta function by Euler and Maclaurin, for s > 1."""
    if s == 1:
        return inf
    if s < 1:
        return nan
    if q <= 0:
        if q == floor(q):
            return inf
        if s != floor(s):
            return nan
    total, n = 0.0, 0
    while q + n < 15:
        total += (q + n) ** -s
        n += 1
    a = q + n
    total += a ** (1 - s) / (s - 1) + 0.5 * a**-s
    factor, fall = s, a ** (-s - 1)
    factorial = 2.0
    for k, b in enumerate(BERNOULLI, 1):
        total += b * factor * fall / factorial
        factor *= (s + 2 * k - 1) * (s + 2 * k)
        fall /= a * a
        factorial *= (2 * k + 1) * (2 * k + 2)
    return total


def polygamma(n: float, x: float) -> float:
    if n == 0:
        return digamma(x)
    return (-1.0) ** (n + 1) * exp(lgamma(n + 1)) * zeta(n + 1, x)


def digamma(x: float) -> float:
    if x == 0:
        return -inf
    if x < 0:
        return nan if x == floor(x) else digamma(1 - x) - pi / tan(pi * x)
    total = 0.0
    while x < 15:
        total -= 1 / x
        x += 1
    series, power = 0.0, 1.0
    for k, b in enumerate(BERNOULLI, 1):
        power /= x * x
        series += b * power / (2 * k)
    return total + log(x) - 0.5 / x - series


def _bessel(order: int, x: float) -> float:
    term = (x / 2) ** order
    total, k = term, 0
    while abs(term) > 1e-18 * abs(total):
        k += 1
        term *= x * x / 4 / (k * (k + order))
        total += term
    return total


def i0(x: float) -> float:
    return _bessel(0, x)


def i1(x: float) -> float:
    return _bessel(1, x) if x else 0.0


def erfinv(x: float) -> float:
    if abs(x) == 1:
        return inf * x
    if not abs(x) < 1:
        return nan
    y = NormalDist().inv_cdf((x + 1) / 2) / sqrt(2)
    for _ in range(3):
        y -= (erf(y) - x) * sqrt(pi) / 2 * exp(y * y)
    return y


def ndtri(p: float) -> float:
    if p in (0, 1):
        return inf * (2 * p - 1)
    return NormalDist().inv_cdf(p) if 0 < p < 1 else nan


def log_ndtr(x: float) -> float:
    return log(erfc(-x / sqrt(2)) / 2) if x < 1 else log1p(-erfc(x / sqrt(2)) / 2)


def igamma(a: float, x: float) -> float:
    """The regularised lower incomplete gamma function."""
    if isnan(a) or isnan(x) or a < 0 or x < 0:
        return nan
    if x == 0:
        return nan if a == 0 else 0.0
    if a == 0:
        return 1.0
    if x >= a + 1:
        return 1 - igammac(a, x)
    term = total = 1 / a
    n = a
    while abs(term) > 1e-18 * abs(total):
        n += 1
        term *= x / n
        total += term
    return total * exp(-x + a * log(x) - lgamma(a))


def igammac(a: float, x: float) -> float:
    if x < a + 1:
        return 1 - igamma(a, x)
    # Lentz's evaluation of the continued fraction.
    tiny = 1e-300
    b = x + 1 - a
    c, d = 1 / tiny, 1 / b
    h = d
    for i in range(1, 500):
        an = -i * (i - a)
        b += 2
        d = 1 / ((an * d + b) or tiny)
        c = (b + an / c) or tiny
        h *= d * c
        if abs(d * c - 1) < 1e-16:
            break
    return exp(-x + a * log(x) - lgamma(a)) * h
