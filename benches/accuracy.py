"""How exact the float64 functions are, in units of the last place, on samples.

    python benches/accuracy.py                 1,000,000 arguments per function and range
    python benches/accuracy.py --only erf,pow --samples 100000

The reference is NumPy's long double (the C library's, 64 bits of mantissa on x86-64; elsewhere it may be no wider than
a double, and then this says so and stops); for functions that NumPy has not, mpmath on a thousandth of the samples.
Below the smallest normal number the unit is that number's. The float32 functions have a test over all arguments:
`cargo test --release -p firesteel-kernels every_float -- --ignored --nocapture`.
"""

import argparse
import sys
from operator import attrgetter

import firesteel as fs
import numpy as np


def uniform(low, high):
    return lambda rng, n: rng.uniform(low, high, n)


def powers(low, high, signs=(-1, 1)):
    """Numbers of all sizes from 2**low to 2**high."""
    return lambda rng, n: (
        np.ldexp(1 + rng.random(n), rng.integers(low, high, n).astype(np.int32)) * rng.choice(signs, n)
    )


def near(point, low, high):
    return lambda rng, n: point + powers(low, high)(rng, n)


ALL = powers(-1074, 1023)
EXP = [uniform(-750, 750), uniform(-2, 2), ALL]
LOG = [powers(-1074, 1023, (1,)), uniform(0, 4), near(1, -52, -2)]
ANGLE = [uniform(-10, 10), uniform(-1e9, 1e9), ALL]
UNIT = [uniform(-1, 1), powers(-60, -1), lambda rng, n: 1 - powers(-52, -1, (1,))(rng, n)]
LINE = [uniform(-4, 4), ALL, powers(-40, 20)]

# name: ranges, and NumPy's name
FUNCTIONS = {
    "exp": (EXP, "exp"),
    "exp2": ([uniform(-1080, 1030), ALL], "exp2"),
    "expm1": (EXP, "expm1"),
    "sinh": (EXP, "sinh"),
    "cosh": (EXP, "cosh"),
    "tanh": (EXP, "tanh"),
    "log": (LOG, "log"),
    "log2": (LOG, "log2"),
    "log10": (LOG, "log10"),
    "log1p": ([uniform(-1, 4), powers(-60, 2, (1,)), powers(-1074, 1023, (1,))], "log1p"),
    "sin": (ANGLE, "sin"),
    "cos": (ANGLE, "cos"),
    "tan": (ANGLE, "tan"),
    "asin": (UNIT, "arcsin"),
    "acos": (UNIT, "arccos"),
    "atan": (LINE, "arctan"),
    "asinh": (LINE, "arcsinh"),
    "acosh": ([lambda rng, n: 1 + powers(-52, 2, (1,))(rng, n), powers(0, 1023, (1,))], "arccosh"),
    "atanh": (UNIT, "arctanh"),
}


def wide(name):
    return lambda x, *y: getattr(np, name)(x.astype(np.longdouble), *(v.astype(np.longdouble) for v in y))


def sigmoid(x):
    e = np.exp(-np.abs(x.astype(np.longdouble)))
    return np.where(x < 0, e, 1) / (1 + e)


def by_mpmath(formula):
    def reference(x):
        import mpmath

        mpmath.mp.dps = 40
        values = [formula(mpmath, mpmath.mpf(float(v))) for v in x]
        high = np.array([float(v) for v in values])
        low = np.array([float(v - mpmath.mpf(h)) if np.isfinite(h) else 0.0 for v, h in zip(values, high, strict=True)])
        return high.astype(np.longdouble) + low

    return reference


def upper_tail(m, x):
    return m.erfc(-x / m.sqrt(2)) / 2


def erfinv(m, y):
    """Newton's method on erfc, in which arguments near 1 keep their digits."""
    a = abs(y)
    if a == 0 or a >= 1:
        return y * m.inf if a == 1 else y
    x = m.erfinv(a) if a < 0.9 else m.findroot(lambda t: m.log(m.erfc(t)) - m.log(1 - a), m.sqrt(-m.log(1 - a)))
    return m.sign(y) * x


def ndtri(m, p):
    q = min(p, 1 - p)
    if q > 0.05:
        x = m.erfinv(1 - 2 * q)
    else:
        x = m.findroot(lambda t: m.log(m.erfc(t)) - m.log(2 * q), m.sqrt(-m.log(4 * q)))
    return m.sqrt(2) * (x if p > 0.5 else -x)


def log_ndtr(m, x):
    return m.log(upper_tail(m, x)) if x < 1 else m.log1p(-upper_tail(m, -x))


SPECIAL = {
    "sigmoid": (EXP, sigmoid, 1),
    "erf": ([uniform(-6, 6), powers(-60, 3)], by_mpmath(lambda m, x: m.erf(x)), 1000),
    "erfc": ([uniform(-6, 26), powers(-60, 4)], by_mpmath(lambda m, x: m.erfc(x)), 1000),
    "gelu": ([uniform(-37, 6), uniform(-1, 1)], by_mpmath(lambda m, x: x * upper_tail(m, x)), 1000),
    "erfinv": ([uniform(-1, 1), powers(-60, -1)], by_mpmath(erfinv), 1000),
    "special.ndtri": ([uniform(0, 1), powers(-52, -1, (1,))], by_mpmath(ndtri), 1000),
    "special.log_ndtr": ([uniform(-45, 8), uniform(-2, 2)], by_mpmath(log_ndtr), 1000),
    "lgamma": ([uniform(0.5, 4.5)], by_mpmath(lambda m, x: m.loggamma(x)), 1000),
}


def ulps(got, want):
    """The largest distance, and where."""
    high = want.astype(np.float64)
    unit = np.spacing(np.maximum(np.abs(high), np.finfo(np.float64).tiny))
    off = np.abs(got.astype(np.longdouble) - want) / unit
    wrong = (np.isnan(got) != np.isnan(high)) | (np.isinf(got) != np.isinf(high))
    off = np.where(wrong, np.inf, np.where(np.isfinite(high), off, 0)).astype(np.float64)
    at = int(np.argmax(off))
    return off[at], at


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if np.finfo(np.longdouble).nmant < 63:
        sys.exit("long double is no wider than a double here")
    only = set(filter(None, options.only.split(",")))
    table = {name: (ranges, wide(f), 1) for name, (ranges, f) in FUNCTIONS.items()} | SPECIAL
    rng = np.random.default_rng(0)
    np.seterr(all="ignore")
    for name, (ranges, reference, thin) in table.items():
        if only and name not in only:
            continue
        x = np.concatenate([r(rng, options.samples // thin) for r in ranges])
        function = fs.nn.functional.gelu if name == "gelu" else attrgetter(name)(fs)
        off, at = ulps(function(fs.from_numpy(x)).numpy(), reference(x))
        print(f"{name:16} {len(x):>9,} samples: at most {off:.3f} ulp, at {x[at]!r}")
    if not only or "pow" in only:
        n = options.samples
        x = np.concatenate([powers(-1074, 1023, (1,))(rng, n), uniform(0, 4)(rng, n), near(1, -40, -1)(rng, n)])
        y = np.concatenate([uniform(-3, 3)(rng, n), uniform(-40, 40)(rng, n), powers(-3, 50)(rng, n)])
        off, at = ulps(fs.pow(fs.from_numpy(x), fs.from_numpy(y)).numpy(), wide("power")(x, y))
        print(f"{'pow':8} {len(x):>9,} samples: at most {off:.3f} ulp, at {x[at]!r} ** {y[at]!r}")


if __name__ == "__main__":
    main()
