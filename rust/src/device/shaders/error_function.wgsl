// erf, erfc and what GELU is made of. Polynomials were fitted for this file by interpolation at Chebyshev nodes.

// erf for |x| <= 1.
fn fs_erf_near(x: f32) -> f32 {
    let z = x * x;
    var p = -9.673591193859465e-06;
    p = fma(p, z, 0.00011268253729213029);
    p = fma(p, z, -0.0008484396385028958);
    p = fma(p, z, 0.005221053492277861);
    p = fma(p, z, -0.026865437626838684);
    p = fma(p, z, 0.11283782869577408);
    p = fma(p, z, -0.37612637877464294);
    p = fma(p, z, 1.128379225730896);
    return x * p;
}

// exp(-x^2), the square in two parts: the rounding of one would be multiplied by the exponential.
fn fs_exp_square(x: f32) -> f32 {
    let high = bitcast<f32>(bitcast<u32>(x) & 0xfffff000u);
    return fs_exp(-high * high) * fs_exp(-(x - high) * (x + high));
}

// erfc for x >= 0.9: exp(-x^2) t G(t - 0.42) with t = 2 / (2 + x).
fn fs_erfc_far(x: f32) -> f32 {
    let c = min(x, 10.6);
    let t = 2.0 / (2.0 + c);
    let u = t - 0.42;
    var p = -0.062326859682798386;
    p = fma(p, u, -0.0431179441511631);
    p = fma(p, u, 0.09995289891958237);
    p = fma(p, u, 0.05396454408764839);
    p = fma(p, u, -0.1415710747241974);
    p = fma(p, u, -0.12229961156845093);
    p = fma(p, u, 0.1932801455259323);
    p = fma(p, u, 0.5179386138916016);
    p = fma(p, u, 0.6008577346801758);
    p = fma(p, u, 0.4593144357204437);
    return select(fs_exp_square(c) * t * p, 0.0, x > 10.6);
}

fn fs_erf(x: f32) -> f32 {
    if (fs_isnan(x)) { return x; }
    if (abs(x) < 1.0) { return fs_erf_near(x); }
    return fs_copysign(1.0 - fs_erfc_far(abs(x)), x);
}

fn fs_erfc(x: f32) -> f32 {
    if (fs_isnan(x)) { return x; }
    if (abs(x) < 0.9) { return 1.0 - fs_erf_near(x); }
    let y = fs_erfc_far(abs(x));
    return select(y, 2.0 - y, x < 0.0);
}

// The normal distribution function and density.
fn fs_ndtr(x: f32) -> f32 { return 0.5 * fs_erfc(-0.707106781 * x); }

fn fs_npdf(x: f32) -> f32 { return 0.398942280 * fs_exp(-0.5 * x * x); }

fn fs_gelu_slope(x: f32) -> f32 { return fma(x, fs_npdf(x), fs_ndtr(x)); }

// sigmoid(2u) for the u of GELU's tanh form.
fn fs_gelu_gate(x: f32) -> f32 {
    return fs_sigmoid(1.595769122 * x * fma(0.044715 * x, x, 1.0));
}

fn fs_gelu_tanh_slope(x: f32) -> f32 {
    let gate = fs_gelu_gate(x);
    if (abs(x) > 1000.0) { return gate; }
    let slope = 1.595769122 * fma(0.134145 * x, x, 1.0);
    return fma(gate, x * slope * (1.0 - gate), gate);
}
