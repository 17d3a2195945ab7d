// Functions that WGSL lacks, or whose precision it leaves open too widely (Vulkan allows log and tanh any error near 1 and
// 0). Polynomials are those of the CPU's kernels (`kernels/src/elementwise/math.rs`) or Cephes' (Moshier, single precision).
//
// Rules, each of them a trap on some driver: NaN is told by its bits, since `v != v` is folded to false; no sum is written
// that relies on rounding, since `(a + b) - a` is folded to b; infinity and NaN come from numbers, since as constants they
// are refused.
//
// Each function begins at the start of a line with `fn fs_`: shaders take those that they name.

fn fs_inf() -> f32 { return bitcast<f32>(word(127u) | 0x7f800000u); }

fn fs_nan() -> f32 { return bitcast<f32>(word(127u) | 0x7fc00000u); }

fn fs_isnan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }

fn fs_isinf(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) == 0x7f800000u; }

fn fs_isfinite(x: f32) -> bool { return (bitcast<u32>(x) & 0x7f800000u) != 0x7f800000u; }

fn fs_negative(x: f32) -> bool { return (bitcast<u32>(x) & 0x80000000u) != 0u; }

fn fs_ne(a: f32, b: f32) -> bool { return fs_isnan(a) || fs_isnan(b) || a != b; }

fn fs_eq(a: f32, b: f32) -> bool { return !fs_ne(a, b); }

fn fs_lt(a: f32, b: f32) -> bool { return !fs_isnan(a) && !fs_isnan(b) && a < b; }

fn fs_le(a: f32, b: f32) -> bool { return !fs_isnan(a) && !fs_isnan(b) && a <= b; }

fn fs_copysign(x: f32, s: f32) -> f32 {
    return bitcast<f32>((bitcast<u32>(x) & 0x7fffffffu) | (bitcast<u32>(s) & 0x80000000u));
}

fn fs_to_int(x: f32) -> i32 {
    if (fs_isnan(x)) { return -2147483647 - 1; }
    if (x >= 2147483648.0) { return -2147483647 - 1; }
    if (x < -2147483648.0) { return -2147483647 - 1; }
    return i32(x);
}

fn fs_sign(x: f32) -> f32 { return select(select(0.0, -1.0, fs_lt(x, 0.0)), 1.0, fs_lt(0.0, x)); }

fn fs_max(a: f32, b: f32) -> f32 {
    if (fs_isnan(a)) { return a; }
    if (fs_isnan(b)) { return b; }
    return select(b, a, a >= b);
}

fn fs_min(a: f32, b: f32) -> f32 {
    if (fs_isnan(a)) { return a; }
    if (fs_isnan(b)) { return b; }
    return select(b, a, a <= b);
}

fn fs_clamp(x: f32, lo: f32, hi: f32) -> f32 {
    if (fs_isnan(x)) { return x; }
    if (fs_isnan(lo)) { return lo; }
    if (fs_isnan(hi)) { return hi; }
    let y = select(x, lo, x < lo);
    return select(y, hi, y > hi);
}

fn fs_pow2i(k: i32) -> f32 { return bitcast<f32>(bitcast<u32>(k + 127) << 23u); }

fn fs_exp(x: f32) -> f32 {
    if (fs_isnan(x)) { return x; }
    if (x > 88.72284) { return fs_inf(); }
    let c = max(x, -105.0);
    let n = round(c * 1.44269504);
    let r = fma(n, 1.9046543e-09, fma(n, -6.9314718246e-01, c));
    var p = 1.392625039e-03;
    p = fma(p, r, 8.363232948e-03);
    p = fma(p, r, 4.166655242e-02);
    p = fma(p, r, 1.666657627e-01);
    p = fma(p, r, 0.5);
    p = fma(p, r, 1.0);
    p = fma(p, r, 1.0);
    let k = i32(n);
    return p * fs_pow2i(k >> 1u) * fs_pow2i(k - (k >> 1u));
}

fn fs_exp2(x: f32) -> f32 {
    if (fs_isnan(x)) { return x; }
    if (x >= 128.0) { return fs_inf(); }
    let c = max(x, -151.0);
    let n = round(c);
    let r = c - n;
    var q = 1.545336127e-04;
    q = fma(q, r, 1.339109382e-03);
    q = fma(q, r, 9.618082084e-03);
    q = fma(q, r, 5.550356582e-02);
    q = fma(q, r, 2.402265072e-01);
    q = fma(q, r, 6.931471825e-01);
    let k = i32(n);
    return fma(q, r, 1.0) * fs_pow2i(k >> 1u) * fs_pow2i(k - (k >> 1u));
}

fn fs_expm1(x: f32) -> f32 {
    if (fs_isnan(x) || x == 0.0) { return x; }
    if (x > 88.72284) { return fs_inf(); }
    let c = max(x, -20.0);
    let n = round(c * 1.44269504);
    let r = fma(n, 1.9046543e-09, fma(n, -6.9314718246e-01, c));
    var q = 1.989107986e-04;
    q = fma(q, r, 1.393373124e-03);
    q = fma(q, r, 8.333310485e-03);
    q = fma(q, r, 4.166646302e-02);
    q = fma(q, r, 1.666666716e-01);
    q = fma(q, r, 0.5);
    let p = fma(r * r, q, r);
    let half = fs_pow2i(i32(n) - 1);
    return fma(half, p, half - 0.5) * 2.0;
}

// log(1 + f) for f within [sqrt(1/2) - 1, sqrt(2) - 1]: twice the series of artanh(f / (2 + f)).
fn fs_log_near(f: f32) -> f32 {
    let s = f / (2.0 + f);
    let z = s * s;
    var q = 0.15331674;
    q = fma(q, z, 0.18182890);
    q = fma(q, z, 0.22222211);
    q = fma(q, z, 0.28571428);
    q = fma(q, z, 0.4);
    q = fma(q, z, 0.66666667);
    // 2s = f - s f: no error of the quotient at full weight.
    return f - s * (f - z * q);
}

// (exponent, log of the mantissa) of a positive number.
fn fs_log_parts(x: f32) -> vec2<f32> {
    let tiny = x < 1.17549435e-38;
    let scaled = select(x, x * 8388608.0, tiny);
    let bits = bitcast<u32>(scaled) - 0x3f3504f3u;
    let e = f32(bitcast<i32>(bits) >> 23u) - select(0.0, 23.0, tiny);
    let m = bitcast<f32>((bits & 0x007fffffu) + 0x3f3504f3u);
    return vec2<f32>(e, fs_log_near(m - 1.0));
}

fn fs_log_edges(x: f32, y: f32) -> f32 {
    if (fs_isnan(x)) { return x; }
    if (x == 0.0) { return -fs_inf(); }
    if (x < 0.0) { return fs_nan(); }
    return select(y, x, fs_isinf(x));
}

fn fs_log(x: f32) -> f32 {
    let p = fs_log_parts(x);
    return fs_log_edges(x, fma(p.x, 0.693359375, fma(p.x, -2.12194440e-4, p.y)));
}

fn fs_log2(x: f32) -> f32 {
    let p = fs_log_parts(x);
    return fs_log_edges(x, fma(p.y, 1.44269504, p.x));
}

fn fs_log10(x: f32) -> f32 {
    let p = fs_log_parts(x);
    return fs_log_edges(x, fma(p.x, 0.301025391, fma(p.x, 4.60503907e-06, p.y * 0.434294482)));
}

fn fs_log1p(x: f32) -> f32 {
    if (x == 0.0) { return x; }
    if (x > -0.2928932 && x < 0.4142135) { return fs_log_near(x); }
    return fs_log(1.0 + x);
}

fn fs_sigmoid(x: f32) -> f32 {
    return 1.0 / (1.0 + fs_exp(-x));
}

fn fs_logsigmoid(x: f32) -> f32 {
    if (fs_isnan(x)) { return x; }
    return min(x, 0.0) - fs_log1p(fs_exp(-abs(x)));
}

fn fs_tanh(x: f32) -> f32 {
    if (fs_isnan(x)) { return x; }
    let a = abs(x);
    if (a > 10.0) { return fs_copysign(1.0, x); }
    let t = fs_expm1(2.0 * a);
    return fs_copysign(t / (t + 2.0), x);
}

fn fs_sinh(x: f32) -> f32 {
    if (fs_isnan(x)) { return x; }
    let a = abs(x);
    if (a > 80.0) { return fs_copysign(fs_exp(a - 0.693147181), x); }
    let t = fs_expm1(a);
    return fs_copysign(0.5 * (t + t / (t + 1.0)), x);
}

fn fs_cosh(x: f32) -> f32 {
    let a = abs(x);
    if (a > 80.0) { return fs_exp(a - 0.693147181); }
    let t = fs_exp(a);
    return 0.5 * (t + 1.0 / t);
}

fn fs_asinh(x: f32) -> f32 {
    if (fs_isnan(x) || fs_isinf(x)) { return x; }
    let a = abs(x);
    if (a > 1e9) { return fs_copysign(fs_log(a) + 0.693147181, x); }
    return fs_copysign(fs_log1p(a + a * a / (1.0 + sqrt(a * a + 1.0))), x);
}

fn fs_acosh(x: f32) -> f32 {
    if (fs_isnan(x) || x < 1.0) { return fs_nan(); }
    if (x > 1e9) { return fs_log(x) + 0.693147181; }
    let t = x - 1.0;
    return fs_log1p(t + sqrt(t * (t + 2.0)));
}

fn fs_atanh(x: f32) -> f32 {
    let a = abs(x);
    if (fs_isnan(x) || a > 1.0) { return fs_nan(); }
    if (a == 1.0) { return fs_copysign(fs_inf(), x); }
    return fs_copysign(0.5 * fs_log1p(2.0 * a / (1.0 - a)), x);
}

// 32 bits of 2 / pi / 4.
fn fs_two_over_pi(i: i32) -> u32 {
    switch (i) {
        case 0: { return 0x28be60dbu; }
        case 1: { return 0x9391054au; }
        case 2: { return 0x7f09d5f4u; }
        case 3: { return 0x7d4d3770u; }
        case 4: { return 0x36d8a566u; }
        case 5: { return 0x4f10e410u; }
        default: { return 0u; }
    }
}

// What is left of a large argument (from 2^13 on) above its nearest multiple of pi / 2, and the quadrant modulo 4: its
// 24 bits times the 96 bits of 2 / pi that count (Payne and Hanek, 1983).
fn fs_reduce_large(x: f32) -> vec2<f32> {
    let bits = bitcast<u32>(x);
    let m = (bits << 8u) | 0x80000000u;
    let e = i32((bits >> 23u) & 0xffu) - 126;
    let i = e >> 5u;
    let f = u32(e & 31);
    var hi = fs_two_over_pi(i - 1);
    var mid = fs_two_over_pi(i);
    var lo = fs_two_over_pi(i + 1);
    if (f > 0u) {
        hi = (hi << f) | (mid >> (32u - f));
        mid = (mid << f) | (lo >> (32u - f));
        lo = (lo << f) | (fs_two_over_pi(i + 2) >> (32u - f));
    }
    // The product's upper 64 bits of 96: two of the quadrant, then its fraction.
    var low = m * mid + fs_mul_high(m, lo);
    var high = m * hi + fs_mul_high(m, mid) + select(0u, 1u, low < m * mid);
    var q = high >> 30u;
    high &= 0x3fffffffu;
    var sign = 1.0;
    if (high >= 0x20000000u) {
        // Nearer to the next: one minus it.
        q += 1u;
        sign = -1.0;
        high = 0x3fffffffu - high + select(0u, 1u, low == 0u);
        low = ~low + 1u;
    }
    let r = sign * (f32(high) * 4294967296.0 + f32(low)) * 3.4061215800304574e-19;
    let turned = (bits & 0x80000000u) != 0u;
    return vec2<f32>(select(r, -r, turned), f32(select(q & 3u, (4u - (q & 3u)) & 3u, turned)));
}

// (sin, cos); the quadrant is taken off in three exact steps, or by a long product.
fn fs_sincos(x: f32) -> vec2<f32> {
    if (!fs_isfinite(x)) { return vec2<f32>(fs_nan(), fs_nan()); }
    var n = round(x * 0.636619772);
    var r = fma(n, -7.549789949e-08, fma(n, -4.837512970e-04, fma(n, -1.5703125, x)));
    if (abs(x) >= 8192.0) {
        let large = fs_reduce_large(x);
        r = large.x;
        n = large.y;
    }
    let z = r * r;
    let s = fma(r * z, fma(fma(-1.9515295891e-4, z, 8.3321608736e-3), z, -1.6666654611e-1), r);
    let c = fma(z * z, fma(fma(2.443315711809948e-5, z, -1.388731625493765e-3), z, 4.166664568298827e-2), fma(z, -0.5, 1.0));
    let q = bitcast<u32>(i32(n));
    let odd = (q & 1u) != 0u;
    let a = select(s, c, odd);
    let b = select(c, s, odd);
    return vec2<f32>(select(a, -a, (q & 2u) != 0u), select(b, -b, ((q + 1u) & 2u) != 0u));
}

fn fs_sin(x: f32) -> f32 {
    if (x == 0.0) { return x; }
    return fs_sincos(x).x;
}

fn fs_cos(x: f32) -> f32 { return fs_sincos(x).y; }

fn fs_tan(x: f32) -> f32 {
    if (x == 0.0) { return x; }
    let p = fs_sincos(x);
    return p.x / p.y;
}

fn fs_asin_near(x: f32) -> f32 {
    let z = x * x;
    var p = 4.2163199048e-2;
    p = fma(p, z, 2.4181311049e-2);
    p = fma(p, z, 4.5470025998e-2);
    p = fma(p, z, 7.4953002686e-2);
    p = fma(p, z, 1.6666752422e-1);
    return fma(x * z, p, x);
}

fn fs_asin(x: f32) -> f32 {
    let a = abs(x);
    if (fs_isnan(x) || a > 1.0) { return fs_nan(); }
    if (a <= 0.5) { return fs_asin_near(x); }
    return fs_copysign(1.57079633 - 2.0 * fs_asin_near(sqrt(0.5 * (1.0 - a))), x);
}

fn fs_acos(x: f32) -> f32 {
    let a = abs(x);
    if (fs_isnan(x) || a > 1.0) { return fs_nan(); }
    if (a <= 0.5) { return 1.57079633 - fs_asin_near(x); }
    let y = 2.0 * fs_asin_near(sqrt(0.5 * (1.0 - a)));
    return select(y, 3.14159265 - y, x < 0.0);
}

fn fs_atan(x: f32) -> f32 {
    if (fs_isnan(x)) { return x; }
    let a = abs(x);
    var base = 0.0;
    var t = a;
    if (a > 2.41421356) {
        base = 1.57079633;
        t = select(-1.0 / a, 0.0, fs_isinf(a));
    } else if (a > 0.41421356) {
        base = 0.785398163;
        t = (a - 1.0) / (a + 1.0);
    }
    let z = t * t;
    var p = 8.05374449538e-2;
    p = fma(p, z, -1.38776856032e-1);
    p = fma(p, z, 1.99777106478e-1);
    p = fma(p, z, -3.33329491539e-1);
    return fs_copysign(base + fma(t * z, p, t), x);
}

fn fs_atan2(y: f32, x: f32) -> f32 {
    if (fs_isnan(x) || fs_isnan(y)) { return fs_nan(); }
    let back = fs_negative(x);
    if (y == 0.0) { return fs_copysign(select(0.0, 3.14159265, back), y); }
    if (x == 0.0) { return fs_copysign(1.57079633, y); }
    if (fs_isinf(x)) {
        let at = select(0.0, 0.785398163, fs_isinf(y));
        return fs_copysign(select(at, 3.14159265 - at, back), y);
    }
    if (fs_isinf(y)) { return fs_copysign(1.57079633, y); }
    let a = fs_atan(abs(y) / abs(x));
    return fs_copysign(select(a, 3.14159265 - a, back), y);
}

fn fs_hypot(a: f32, b: f32) -> f32 {
    if (fs_isinf(a) || fs_isinf(b)) { return fs_inf(); }
    let x = max(abs(a), abs(b));
    let y = min(abs(a), abs(b));
    if (fs_isnan(a) || fs_isnan(b)) { return fs_nan(); }
    if (x == 0.0) { return 0.0; }
    let q = y / x;
    return x * sqrt(fma(q, q, 1.0));
}

// The power of a positive number by its logarithm: the exponent and the mantissa's part are multiplied apart.
fn fs_pow_positive(x: f32, y: f32) -> f32 {
    let p = fs_log_parts(x);
    let whole = p.x * y;
    let n = round(whole);
    let rest = fma(p.x, y, -n) + p.y * 1.44269504 * y;
    if (n > 300.0 || n < -300.0) { return fs_exp2(clamp(n + rest, -400.0, 400.0)); }
    let k = i32(n);
    return fs_exp2(rest) * fs_pow2i(clamp(k >> 1u, -126, 127)) * fs_pow2i(clamp(k - (k >> 1u), -126, 127));
}

fn fs_pow(x: f32, y: f32) -> f32 {
    if (y == 0.0 || x == 1.0) { return 1.0; }
    if (fs_isnan(x) || fs_isnan(y)) { return fs_nan(); }
    let m = abs(x);
    let whole = trunc(y) == y;
    let odd = whole && trunc(y * 0.5) != y * 0.5;
    if (fs_isinf(y)) {
        if (m == 1.0) { return 1.0; }
        return select(0.0, fs_inf(), (m > 1.0) == (y > 0.0));
    }
    var power = 0.0;
    if (m == 0.0 || fs_isinf(m)) {
        power = select(0.0, fs_inf(), (m == 0.0) == (y < 0.0));
    } else {
        power = fs_pow_positive(m, y);
    }
    if (fs_negative(x)) {
        if (!whole && !fs_isinf(x) && x != 0.0) { return fs_nan(); }
        if (odd) { return -power; }
    }
    return power;
}

fn fs_int_pow(x: i32, y: i32) -> i32 {
    if (y < 0) {
        if (x == 1) { return 1; }
        if (x == -1) { return select(1, -1, (y & 1) != 0); }
        return 0;
    }
    var base = x;
    var left = y;
    var made = 1;
    while (left > 0) {
        if ((left & 1) != 0) { made *= base; }
        base *= base;
        left = left >> 1u;
    }
    return made;
}

// The remainder with the dividend's sign. Quotients beyond 2^24 lose digits.
fn fs_fmod(a: f32, b: f32) -> f32 {
    if (fs_isnan(a) || fs_isnan(b) || fs_isinf(a) || b == 0.0) { return fs_nan(); }
    if (fs_isinf(b)) { return a; }
    let m = abs(b);
    var r = fma(-trunc(abs(a) / m), m, abs(a));
    if (r < 0.0) { r += m; }
    if (r >= m) { r -= m; }
    return fs_copysign(r, a);
}

fn fs_remainder(a: f32, b: f32) -> f32 {
    let m = fs_fmod(a, b);
    if (fs_isnan(m)) { return m; }
    return select(m, m + b, m != 0.0 && (b < 0.0) != (m < 0.0));
}

fn fs_floor_divide(a: f32, b: f32) -> f32 {
    if (b == 0.0) { return a / b; }
    let m = fs_fmod(a, b);
    if (fs_isnan(m)) { return m; }
    var q = (a - m) / b;
    if (m != 0.0 && (b < 0.0) != (m < 0.0)) { q -= 1.0; }
    if (q == 0.0) { return fs_copysign(0.0, a / b); }
    let f = floor(q);
    return select(f, f + 1.0, q - f > 0.5);
}

fn fs_softplus(x: f32, beta: f32, threshold: f32) -> f32 {
    let z = x * beta;
    if (fs_lt(threshold, z)) { return x; }
    return fs_log1p(fs_exp(z)) / beta;
}

// tanh(softplus(x)) = n / (n + 2) with n = e^x (e^x + 2).
fn fs_tanh_softplus(x: f32) -> f32 {
    if (fs_lt(20.0, x)) { return 1.0; }
    let e = fs_exp(x);
    let n = e * (e + 2.0);
    return n / (n + 2.0);
}

fn fs_silu_slope(x: f32) -> f32 {
    let s = fs_sigmoid(x);
    return s * fma(x, 1.0 - s, 1.0);
}

fn fs_mish_slope(x: f32) -> f32 {
    let t = fs_tanh_softplus(x);
    return fma(x * fs_sigmoid(x), 1.0 - t * t, t);
}

fn fs_logsigmoid_slope(x: f32) -> f32 {
    let e = fs_exp(-abs(x));
    let far = e / (1.0 + e);
    return select(far, 1.0 - far, fs_lt(x, 0.0));
}

fn fs_lerp(a: f32, b: f32, w: f32) -> f32 {
    if (fs_lt(abs(w), 0.5)) { return fma(w, b - a, a); }
    return fma(a - b, 1.0 - w, b);
}

fn fs_xlogy(a: f32, b: f32) -> f32 {
    if (fs_isnan(b)) { return b; }
    if (a == 0.0) { return 0.0; }
    return a * fs_log(b);
}

fn fs_xlog1py(a: f32, b: f32) -> f32 {
    if (fs_isnan(b)) { return b; }
    if (a == 0.0) { return 0.0; }
    return a * fs_log1p(b);
}

fn fs_logaddexp(a: f32, b: f32) -> f32 {
    if (fs_isnan(a) || fs_isnan(b)) { return fs_nan(); }
    let m = max(a, b);
    if (fs_isinf(m)) { return m; }
    return m + fs_log1p(fs_exp(-abs(a - b)));
}
