//! The kinds of minimal filtering, and their transforms of a line: of a window, of a filter, of the sums at the points.
//!
//! All compute with polynomials known at a few points (Cook 1966, Toom 1963; Winograd 1980). The error depends on the points
//! alone (Barabasz, Anderson, Soodhalter and Gregg, ACM TOMS 46(4), 2020, arXiv:1803.10986; Alam, Anderson, Barabasz and
//! Gregg, arXiv:2201.10369). F(4, 3) takes 0, ±a, ±b and infinity: a = 3/4, b = 3/2 have about half of the error of the
//! usual 0, ±1, ±2; F(3, 4) and F(2, 5) take the same. F(4, 2) takes ±a, ±b and infinity: a = 1/2, b = 5/4 err least of a dozen choices. All factors but
//! those of the filters are exact in binary.
//!
//! A stride of two is the sum, or the interleaving, of two convolutions of stride one, with every second tap each: what
//! two taps give is computed by F(4, 2), what one tap gives as it is, four points that share one filter.

use super::transform::Math;
use crate::simd::vec::Lanes;

/// What is computed.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) enum Form {
    /// One tap: nothing is transformed.
    One,
    /// Stride one, two taps.
    Two,
    /// Stride one, three taps.
    Near,
    /// Stride one, four taps.
    Four,
    /// Stride one, five taps.
    Five,
    /// Stride two, three taps.
    Halving,
    /// The gradient of the input with stride two and three taps, or four. The padding is odd.
    Doubling,
    Doubling4,
}

impl Form {
    /// That of so many taps with stride one: of more than five, that which takes fewer products when it is used until all have
    /// had their turn, a half or a third as many as there are taps.
    pub const fn of(taps: usize) -> Form {
        match taps {
            1 => Form::One,
            2 => Form::Two,
            3 => Form::Near,
            4 => Form::Four,
            5 => Form::Five,
            n if 3 * n.div_ceil(3) <= 4 * n.div_ceil(4) => Form::Near,
            _ => Form::Four,
        }
    }

    /// Points of a line.
    pub const fn points(self) -> usize {
        match self {
            Form::One => 1,
            Form::Two => 5,
            Form::Near | Form::Four | Form::Five => 6,
            Form::Halving | Form::Doubling => 9,
            Form::Doubling4 => 10,
        }
    }

    /// Values of a line of a filter; the last one serves all further points.
    pub const fn values(self) -> usize {
        match self {
            Form::Halving | Form::Doubling => 6,
            _ => self.points(),
        }
    }

    /// Taps of a line.
    pub const fn taps(self) -> usize {
        match self {
            Form::One => 1,
            Form::Two => 2,
            Form::Near | Form::Halving | Form::Doubling => 3,
            Form::Four | Form::Doubling4 => 4,
            Form::Five => 5,
        }
    }

    /// Elements of a line that a window sees, and from one window to the next.
    pub const fn window(self) -> [usize; 2] {
        match self {
            Form::One => [1, 1],
            Form::Two | Form::Doubling => [5, 4],
            Form::Near => [6, 4],
            Form::Four => [6, 3],
            Form::Five => [6, 2],
            Form::Halving => [9, 8],
            Form::Doubling4 => [6, 4],
        }
    }

    /// Results of a line.
    pub const fn side(self) -> usize {
        match self {
            Form::One => 1,
            Form::Two | Form::Near | Form::Halving => 4,
            Form::Four => 3,
            Form::Five => 2,
            Form::Doubling | Form::Doubling4 => 8,
        }
    }

    /// One convolution of stride one, and not several that are added or interleaved.
    pub const fn plain(self) -> bool {
        !matches!(self, Form::Halving | Form::Doubling | Form::Doubling4)
    }

    /// The points of a line that take value `i` of the filter.
    pub fn at(self, i: usize) -> std::ops::Range<usize> {
        i..if i + 1 == self.values() { self.points() } else { i + 1 }
    }
}

/// What is computed down, and what across; all sizes but [`Forms::side`] are those of both together.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Forms(pub [Form; 2]);

impl Forms {
    pub const fn both(form: Form) -> Self {
        Self([form; 2])
    }

    pub const fn points(self) -> usize {
        self.0[0].points() * self.0[1].points()
    }

    pub const fn values(self) -> usize {
        self.0[0].values() * self.0[1].values()
    }

    pub const fn taps(self) -> usize {
        self.0[0].taps() * self.0[1].taps()
    }

    /// Lines and columns of results.
    pub const fn side(self) -> [usize; 2] {
        [self.0[0].side(), self.0[1].side()]
    }

    pub const fn plain(self) -> bool {
        self.0[0].plain() && self.0[1].plain()
    }

    /// The points of a tile that take value `i` of the filter.
    pub fn at(self, i: usize) -> impl Iterator<Item = usize> {
        let ([down, across], values) = (self.0, self.0[1].values());
        let (lines, columns) = (down.at(i / values), across.at(i % values));
        lines.flat_map(move |line| columns.clone().map(move |column| line * across.points() + column))
    }
}

const A: f32 = 0.75;
const B: f32 = 1.5;
const A2: f32 = A * A;
const B2: f32 = B * B;
/// What normalises a filter's values at 0, ±a, ±b: one over the product of the distances to the other points.
const AT_0: f32 = 1.0 / (A2 * B2);
const AT_A: f32 = 1.0 / (2.0 * A2 * (A2 - B2));
const AT_B: f32 = 1.0 / (2.0 * B2 * (B2 - A2));

/// The same for F(4, 2).
const C: f32 = 0.5;
const D: f32 = 1.25;
const C2: f32 = C * C;
const D2: f32 = D * D;
const AT_C: f32 = 1.0 / (2.0 * C * (C2 - D2));
const AT_D: f32 = 1.0 / (2.0 * D * (D2 - C2));

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Math<T, L> {
    /// F(4, 2): a window.
    #[inline(always)]
    fn five(self, d: [L::V; 5]) -> [L::V; 5] {
        let (odd_c, even_c) = (self.more(d[3], d[1], -D2), self.more(d[2], d[0], -D2));
        let (odd_d, even_d) = (self.more(d[3], d[1], -C2), self.more(d[2], d[0], -C2));
        [
            self.more(odd_c, even_c, C),
            self.more(odd_c, even_c, -C),
            self.more(odd_d, even_d, D),
            self.more(odd_d, even_d, -D),
            self.more(self.more(d[4], d[2], -(C2 + D2)), d[0], C2 * D2),
        ]
    }

    /// F(4, 2): a filter, of which the first tap meets the element at the result's place.
    #[inline(always)]
    fn two(self, first: L::V, second: L::V) -> [L::V; 5] {
        let (one_c, one_d) = (self.times(first, AT_C), self.times(first, AT_D));
        let (two_c, two_d) = (self.times(second, C * AT_C), self.times(second, D * AT_D));
        [
            self.add(two_c, one_c),
            self.sub(two_c, one_c),
            self.add(two_d, one_d),
            self.sub(two_d, one_d),
            second,
        ]
    }

    /// F(4, 2): results.
    #[inline(always)]
    fn four_of(self, m: [L::V; 5]) -> [L::V; 4] {
        let (sum_c, difference_c) = (self.add(m[0], m[1]), self.sub(m[0], m[1]));
        let (sum_d, difference_d) = (self.add(m[2], m[3]), self.sub(m[2], m[3]));
        [
            self.add(sum_c, sum_d),
            self.more(self.times(difference_c, C), difference_d, D),
            self.more(self.times(sum_c, C2), sum_d, D2),
            self.more(self.more(m[4], difference_c, C2 * C), difference_d, D2 * D),
        ]
    }
}

/// A form's windows of `W` elements, known at `P` points.
pub(super) trait Window<T, L: Lanes<T>, const W: usize, const P: usize> {
    /// Elements from one window to the next.
    const STEP: usize;
    fn window(m: Math<T, L>, d: [L::V; W]) -> [L::V; P];
}

/// A form's filters of `K` taps, known by `Q` values.
pub(super) trait Filter<T, L: Lanes<T>, const K: usize, const Q: usize> {
    fn filter(m: Math<T, L>, g: [L::V; K]) -> [L::V; Q];
}

/// A form's results: `O` of them from `P` sums.
pub(super) trait Results<T, L: Lanes<T>, const P: usize, const O: usize> {
    fn results(m: Math<T, L>, sums: [L::V; P]) -> [L::V; O];
}

/// The sizes of a form, as the transforms take them.
macro_rules! sizes {
    ($($name:ident),*) => {$(
        impl $name {
            pub const W: usize = Form::$name.window()[0];
            pub const P: usize = Form::$name.points();
            pub const K: usize = Form::$name.taps();
            pub const Q: usize = Form::$name.values();
            pub const O: usize = Form::$name.side();
        }
    )*};
}
sizes!(One, Two, Near, Four, Five, Halving, Doubling, Doubling4);

/// The gradient of a filter, if no form with as many taps as there are results gives it: the output's gradients are the
/// filter, known at all points of the form, and the sums at its values give the taps.
macro_rules! gradient_sizes {
    ($($name:ident of $form:ident),*) => {$(
        impl $name {
            pub const K: usize = $form::O;
            pub const Q: usize = $form::P;
            pub const P: usize = $form::Q;
            pub const O: usize = $form::K;
        }
    )*};
}
gradient_sizes!(TwoBack of Two, HalvingBack of Halving);

pub(super) struct One;
impl<T, L: Lanes<T>> Window<T, L, 1, 1> for One {
    const STEP: usize = Form::One.window()[1];

    #[inline(always)]
    fn window(_: Math<T, L>, d: [L::V; 1]) -> [L::V; 1] {
        d
    }
}

impl<T, L: Lanes<T>> Filter<T, L, 1, 1> for One {
    #[inline(always)]
    fn filter(_: Math<T, L>, g: [L::V; 1]) -> [L::V; 1] {
        g
    }
}

impl<T, L: Lanes<T>> Results<T, L, 1, 1> for One {
    #[inline(always)]
    fn results(_: Math<T, L>, sums: [L::V; 1]) -> [L::V; 1] {
        sums
    }
}

pub(super) struct Two;
impl<T: Copy + Default + From<f32>, L: Lanes<T>> Window<T, L, 5, 5> for Two {
    const STEP: usize = Form::Two.window()[1];

    #[inline(always)]
    fn window(m: Math<T, L>, d: [L::V; 5]) -> [L::V; 5] {
        m.five(d)
    }
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Filter<T, L, 2, 5> for Two {
    #[inline(always)]
    fn filter(m: Math<T, L>, g: [L::V; 2]) -> [L::V; 5] {
        m.two(g[0], g[1])
    }
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Results<T, L, 5, 4> for Two {
    #[inline(always)]
    fn results(m: Math<T, L>, sums: [L::V; 5]) -> [L::V; 4] {
        m.four_of(sums)
    }
}

/// F(2, 4): the gradient of two taps from four results.
pub(super) struct TwoBack;
impl<T: Copy + Default + From<f32>, L: Lanes<T>> Filter<T, L, 4, 5> for TwoBack {
    #[inline(always)]
    fn filter(m: Math<T, L>, g: [L::V; 4]) -> [L::V; 5] {
        let even_c = m.more(m.times(g[0], AT_C), g[2], C2 * AT_C);
        let even_d = m.more(m.times(g[0], AT_D), g[2], D2 * AT_D);
        let odd_c = m.more(m.times(g[1], C * AT_C), g[3], C2 * C * AT_C);
        let odd_d = m.more(m.times(g[1], D * AT_D), g[3], D2 * D * AT_D);
        [
            m.add(odd_c, even_c),
            m.sub(odd_c, even_c),
            m.add(odd_d, even_d),
            m.sub(odd_d, even_d),
            g[3],
        ]
    }
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Results<T, L, 5, 2> for TwoBack {
    #[inline(always)]
    fn results(m: Math<T, L>, sums: [L::V; 5]) -> [L::V; 2] {
        let difference = m.more(sums[4], m.sub(sums[0], sums[1]), C);
        [
            m.add(m.add(sums[0], sums[1]), m.add(sums[2], sums[3])),
            m.more(difference, m.sub(sums[2], sums[3]), D),
        ]
    }
}

pub(super) struct Near;
impl<T: Copy + Default + From<f32>, L: Lanes<T>> Window<T, L, 6, 6> for Near {
    const STEP: usize = Form::Near.window()[1];

    #[inline(always)]
    fn window(m: Math<T, L>, d: [L::V; 6]) -> [L::V; 6] {
        let (even_a, odd_a) = (m.more(d[4], d[2], -B2), m.more(d[3], d[1], -B2));
        let (even_b, odd_b) = (m.more(d[4], d[2], -A2), m.more(d[3], d[1], -A2));
        [
            m.more(m.more(d[4], d[2], -(A2 + B2)), d[0], A2 * B2),
            m.more(even_a, odd_a, A),
            m.more(even_a, odd_a, -A),
            m.more(even_b, odd_b, B),
            m.more(even_b, odd_b, -B),
            m.more(m.more(d[5], d[3], -(A2 + B2)), d[1], A2 * B2),
        ]
    }
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Filter<T, L, 3, 6> for Near {
    #[inline(always)]
    fn filter(m: Math<T, L>, g: [L::V; 3]) -> [L::V; 6] {
        let even_a = m.more(m.times(g[0], AT_A), g[2], A2 * AT_A);
        let even_b = m.more(m.times(g[0], AT_B), g[2], B2 * AT_B);
        [
            m.times(g[0], AT_0),
            m.more(even_a, g[1], A * AT_A),
            m.more(even_a, g[1], -A * AT_A),
            m.more(even_b, g[1], B * AT_B),
            m.more(even_b, g[1], -B * AT_B),
            g[2],
        ]
    }
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Results<T, L, 6, 4> for Near {
    #[inline(always)]
    fn results(m: Math<T, L>, sums: [L::V; 6]) -> [L::V; 4] {
        let (sum_a, difference_a) = (m.add(sums[1], sums[2]), m.sub(sums[1], sums[2]));
        let (sum_b, difference_b) = (m.add(sums[3], sums[4]), m.sub(sums[3], sums[4]));
        [
            m.add(sums[0], m.add(sum_a, sum_b)),
            m.more(m.times(difference_a, A), difference_b, B),
            m.more(m.times(sum_a, A2), sum_b, B2),
            m.more(m.more(sums[5], difference_a, A2 * A), difference_b, B2 * B),
        ]
    }
}

pub(super) struct Four;
impl<T: Copy + Default + From<f32>, L: Lanes<T>> Window<T, L, 6, 6> for Four {
    const STEP: usize = Form::Four.window()[1];

    #[inline(always)]
    fn window(m: Math<T, L>, d: [L::V; 6]) -> [L::V; 6] {
        Near::window(m, d)
    }
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Filter<T, L, 4, 6> for Four {
    #[inline(always)]
    fn filter(m: Math<T, L>, g: [L::V; 4]) -> [L::V; 6] {
        let even_a = m.more(m.times(g[0], AT_A), g[2], A2 * AT_A);
        let even_b = m.more(m.times(g[0], AT_B), g[2], B2 * AT_B);
        let odd_a = m.more(m.times(g[1], A * AT_A), g[3], A2 * A * AT_A);
        let odd_b = m.more(m.times(g[1], B * AT_B), g[3], B2 * B * AT_B);
        [
            m.times(g[0], AT_0),
            m.add(even_a, odd_a),
            m.sub(even_a, odd_a),
            m.add(even_b, odd_b),
            m.sub(even_b, odd_b),
            g[3],
        ]
    }
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Results<T, L, 6, 3> for Four {
    #[inline(always)]
    fn results(m: Math<T, L>, sums: [L::V; 6]) -> [L::V; 3] {
        let (sum_a, difference_a) = (m.add(sums[1], sums[2]), m.sub(sums[1], sums[2]));
        let (sum_b, difference_b) = (m.add(sums[3], sums[4]), m.sub(sums[3], sums[4]));
        [
            m.add(sums[0], m.add(sum_a, sum_b)),
            m.more(m.times(difference_a, A), difference_b, B),
            m.more(m.more(sums[5], sum_a, A2), sum_b, B2),
        ]
    }
}

pub(super) struct Five;
impl<T: Copy + Default + From<f32>, L: Lanes<T>> Window<T, L, 6, 6> for Five {
    const STEP: usize = Form::Five.window()[1];

    #[inline(always)]
    fn window(m: Math<T, L>, d: [L::V; 6]) -> [L::V; 6] {
        Near::window(m, d)
    }
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Filter<T, L, 5, 6> for Five {
    #[inline(always)]
    fn filter(m: Math<T, L>, g: [L::V; 5]) -> [L::V; 6] {
        let even_a = m.more(m.more(m.times(g[0], AT_A), g[2], A2 * AT_A), g[4], A2 * A2 * AT_A);
        let even_b = m.more(m.more(m.times(g[0], AT_B), g[2], B2 * AT_B), g[4], B2 * B2 * AT_B);
        let odd_a = m.more(m.times(g[1], A * AT_A), g[3], A2 * A * AT_A);
        let odd_b = m.more(m.times(g[1], B * AT_B), g[3], B2 * B * AT_B);
        [
            m.times(g[0], AT_0),
            m.add(even_a, odd_a),
            m.sub(even_a, odd_a),
            m.add(even_b, odd_b),
            m.sub(even_b, odd_b),
            g[4],
        ]
    }
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Results<T, L, 6, 2> for Five {
    #[inline(always)]
    fn results(m: Math<T, L>, sums: [L::V; 6]) -> [L::V; 2] {
        let (sum_a, difference_a) = (m.add(sums[1], sums[2]), m.sub(sums[1], sums[2]));
        let (sum_b, difference_b) = (m.add(sums[3], sums[4]), m.sub(sums[3], sums[4]));
        [
            m.add(sums[0], m.add(sum_a, sum_b)),
            m.more(m.more(sums[5], difference_a, A), difference_b, B),
        ]
    }
}

/// Result j sees elements 2j, 2j + 1 and 2j + 2: the outer ones by F(4, 2).
pub(super) struct Halving;
impl<T: Copy + Default + From<f32>, L: Lanes<T>> Window<T, L, 9, 9> for Halving {
    const STEP: usize = Form::Halving.window()[1];

    #[inline(always)]
    fn window(m: Math<T, L>, d: [L::V; 9]) -> [L::V; 9] {
        let v = m.five([d[0], d[2], d[4], d[6], d[8]]);
        [v[0], v[1], v[2], v[3], v[4], d[1], d[3], d[5], d[7]]
    }
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Filter<T, L, 3, 6> for Halving {
    #[inline(always)]
    fn filter(m: Math<T, L>, g: [L::V; 3]) -> [L::V; 6] {
        let v = m.two(g[0], g[2]);
        [v[0], v[1], v[2], v[3], v[4], g[1]]
    }
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Results<T, L, 9, 4> for Halving {
    #[inline(always)]
    fn results(m: Math<T, L>, s: [L::V; 9]) -> [L::V; 4] {
        let y = m.four_of([s[0], s[1], s[2], s[3], s[4]]);
        [
            m.add(y[0], s[5]),
            m.add(y[1], s[6]),
            m.add(y[2], s[7]),
            m.add(y[3], s[8]),
        ]
    }
}

/// The gradient of three taps from four results: of the outer ones as of two, of the middle one the sum of four products.
pub(super) struct HalvingBack;
impl<T: Copy + Default + From<f32>, L: Lanes<T>> Filter<T, L, 4, 9> for HalvingBack {
    #[inline(always)]
    fn filter(m: Math<T, L>, g: [L::V; 4]) -> [L::V; 9] {
        let v = TwoBack::filter(m, g);
        [v[0], v[1], v[2], v[3], v[4], g[0], g[1], g[2], g[3]]
    }
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Results<T, L, 6, 3> for HalvingBack {
    #[inline(always)]
    fn results(m: Math<T, L>, s: [L::V; 6]) -> [L::V; 3] {
        let outer = TwoBack::results(m, [s[0], s[1], s[2], s[3], s[4]]);
        [outer[0], s[5], outer[1]]
    }
}

/// Result 2j sees element j through the middle tap; result 2j + 1 sees j through the last, j + 1 through the first.
pub(super) struct Doubling;
impl<T: Copy + Default + From<f32>, L: Lanes<T>> Window<T, L, 5, 9> for Doubling {
    const STEP: usize = Form::Doubling.window()[1];

    #[inline(always)]
    fn window(m: Math<T, L>, d: [L::V; 5]) -> [L::V; 9] {
        let v = m.five(d);
        [v[0], v[1], v[2], v[3], v[4], d[0], d[1], d[2], d[3]]
    }
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Filter<T, L, 3, 6> for Doubling {
    #[inline(always)]
    fn filter(m: Math<T, L>, g: [L::V; 3]) -> [L::V; 6] {
        let v = m.two(g[2], g[0]);
        [v[0], v[1], v[2], v[3], v[4], g[1]]
    }
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Results<T, L, 9, 8> for Doubling {
    #[inline(always)]
    fn results(m: Math<T, L>, s: [L::V; 9]) -> [L::V; 8] {
        let y = m.four_of([s[0], s[1], s[2], s[3], s[4]]);
        [s[5], y[0], s[6], y[1], s[7], y[2], s[8], y[3]]
    }
}

/// Result 2j sees elements j and j + 1 through taps 3 and 1; result 2j + 1 sees j + 1 and j + 2 through 2 and 0.
pub(super) struct Doubling4;
impl<T: Copy + Default + From<f32>, L: Lanes<T>> Window<T, L, 6, 10> for Doubling4 {
    const STEP: usize = Form::Doubling4.window()[1];

    #[inline(always)]
    fn window(m: Math<T, L>, d: [L::V; 6]) -> [L::V; 10] {
        let a = m.five([d[0], d[1], d[2], d[3], d[4]]);
        let b = m.five([d[1], d[2], d[3], d[4], d[5]]);
        [a[0], a[1], a[2], a[3], a[4], b[0], b[1], b[2], b[3], b[4]]
    }
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Filter<T, L, 4, 10> for Doubling4 {
    #[inline(always)]
    fn filter(m: Math<T, L>, g: [L::V; 4]) -> [L::V; 10] {
        let (a, b) = (m.two(g[3], g[1]), m.two(g[2], g[0]));
        [a[0], a[1], a[2], a[3], a[4], b[0], b[1], b[2], b[3], b[4]]
    }
}

impl<T: Copy + Default + From<f32>, L: Lanes<T>> Results<T, L, 10, 8> for Doubling4 {
    #[inline(always)]
    fn results(m: Math<T, L>, s: [L::V; 10]) -> [L::V; 8] {
        let a = m.four_of([s[0], s[1], s[2], s[3], s[4]]);
        let b = m.four_of([s[5], s[6], s[7], s[8], s[9]]);
        [a[0], b[0], a[1], b[1], a[2], b[2], a[3], b[3]]
    }
}
