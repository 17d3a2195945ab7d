//! Cross-entropy of logits `[n, classes, s]`: one pass over them forward, one backward, and no array of their size
//! between the two.
//!
//! What is kept of a line of logits is its maximum and the sum of the exponentials above it, from which the backward pass
//! has the softmax again. (One number, their logsumexp, would be as coarse as a large maximum.)

use super::{LossElement, Reduction, check, class, total, weights};
use crate::index::IndexError;
use crate::multiversion;
use crate::parallel;
use crate::reduce::walk::{Share, grain, line};
use crate::softmax::row::{self, Soft, before};
use crate::softmax::strip::{self, across, across_mut, by_parts};
use crate::softmax::wave::{Wave, in_waves};
use crate::softmax::{COST, GROUP, LONGEST, together};
use crate::view::Src;
use std::ops::Range;

/// What a line of logits should say.
#[derive(Clone, Copy)]
pub enum Expected<'a, T> {
    /// A class per line; `ignore` counts nothing.
    Classes { target: &'a [i64], ignore: i64 },
    /// A probability for each logit.
    Probabilities(Src<'a, T>),
}

/// Logits with all that the loss depends on.
#[derive(Clone, Copy)]
pub struct Lines<'a, T> {
    pub logits: Src<'a, T>,
    pub expected: Expected<'a, T>,
    pub weight: Option<&'a [T]>,
    /// The share of a target that is spread over all classes.
    pub smoothing: T,
}

/// A line's numbers.
#[derive(Clone, Copy)]
struct Line<T> {
    top: T,
    /// Of the exponentials, raised.
    sum: T,
}

impl<T: Soft> Line<T> {
    #[inline(always)]
    fn log(self) -> T {
        self.sum.log_lowered()
    }
}

impl<T: LossElement> Lines<'_, T> {
    fn count(&self) -> usize {
        self.logits.shape()[0] * self.logits.shape()[2]
    }

    fn classes(&self) -> usize {
        self.logits.shape()[1]
    }

    fn check(&self) -> Result<(), IndexError> {
        let shape = self.logits.shape();
        assert!(shape.len() == 3 && self.weight.is_none_or(|w| w.len() == shape[1]));
        match self.expected {
            Expected::Classes { target, ignore } => {
                assert_eq!(target.len(), self.count());
                check(target, shape[1], ignore)
            }
            Expected::Probabilities(p) => {
                assert_eq!(p.shape(), shape);
                Ok(())
            }
        }
    }

    /// Where line `i` begins.
    #[inline(always)]
    fn start(view: &Src<T>, i: usize) -> isize {
        let s = view.shape()[2];
        if s == 1 {
            // Two divisions would take as long as a short line.
            return i as isize * view.strides()[0];
        }
        (i / s) as isize * view.strides()[0] + (i % s) as isize * view.strides()[2]
    }

    /// Line `i` of a view in one piece.
    #[inline(always)]
    fn row<'a>(view: &Src<T>, i: usize, keep: &'a mut Vec<T>) -> &'a [T] {
        // SAFETY: a line of the view, which nothing writes.
        unsafe {
            line(
                view.ptr().offset(Self::start(view, i)),
                view.shape()[1],
                view.strides()[1],
                keep,
            )
        }
    }

    #[inline(always)]
    fn weight_of(&self, t: usize) -> T {
        self.weight.map_or(T::ONE, |w| w[t])
    }

    /// Whether lines are taken side by side: images, with a class as target and nothing that asks for all classes.
    fn side_by_side(&self) -> bool {
        let (shape, strides) = (self.logits.shape(), self.logits.strides());
        let plain = matches!(self.expected, Expected::Classes { .. }) && self.smoothing == T::ZERO;
        plain && shape[2] > 1 && strides[2] == 1
    }
}

multiversion! {
    /// The target line: what is expected of each class, by weight.
    fn asked<T: LossElement>(p: &[T], weight: Option<&[T]>, smoothing: T, to: &mut [T]) {
        let n = T::from_f64(to.len() as f64);
        let (keep, spread) = (T::ONE - smoothing, smoothing / n);
        for (i, (to, &p)) in to.iter_mut().zip(p).enumerate() {
            let q = if smoothing == T::ZERO { p } else { p.fma(keep, spread) };
            *to = weight.map_or(q, |w| q * w[i]);
        }
    }
}

/// Losses of lines `range`, with what the backward pass needs of them.
struct Written<T> {
    loss: Share<T>,
    top: Share<T>,
    sum: Share<T>,
}

impl<T: Soft> Written<T> {
    #[inline(always)]
    fn put(&self, i: usize, loss: T, l: Line<T>) {
        // SAFETY: line i is this thread's, and there is an element for each.
        unsafe {
            *self.loss.at(i) = loss;
            *self.top.at(i) = l.top;
            *self.sum.at(i) = l.sum / T::RAISE;
        }
    }
}

/// The losses: each (`out` has one for each line), their sum, or their mean (by the weights of the targets; over all lines
/// for probabilities). `top` and `sum`, one for each line, are for [`cross_entropy_backward`]. Gives the mean's divisor.
pub fn cross_entropy_forward<T: LossElement>(
    lines: &Lines<T>,
    reduction: Reduction,
    out: &mut [T],
    [top, sum]: [&mut [T]; 2],
) -> Result<T, IndexError> {
    lines.check()?;
    let n = lines.count();
    let mut kept = Vec::new();
    let losses = if reduction == Reduction::Each {
        &mut *out
    } else {
        kept.resize(n, T::ZERO);
        &mut kept
    };
    assert!(losses.len() == n && top.len() == n && sum.len() == n);
    let to = Written {
        loss: Share::new(losses.as_mut_ptr()),
        top: Share::new(top.as_mut_ptr()),
        sum: Share::new(sum.as_mut_ptr()),
    };
    let c = lines.classes();
    if lines.side_by_side() {
        let (strips, width) = strips(lines);
        parallel::for_range(strips, grain(COST * c * width), |range| strip_losses(lines, &to, range));
    } else {
        parallel::for_range(n, grain(COST * c), |range| row_losses(lines, &to, range));
    }
    let weights = match lines.expected {
        Expected::Classes { target, ignore } => weights(target, lines.weight, c, ignore),
        Expected::Probabilities(_) => n as f64,
    };
    match reduction {
        Reduction::Each => {}
        Reduction::Mean => out[0] = T::from_f64(total(losses) / weights),
        Reduction::Sum => out[0] = T::from_f64(total(losses)),
    }
    Ok(T::from_f64(weights))
}

/// The numbers of the first lines of `range`, and their logarithms: of short lines a group, of long ones one.
#[inline(always)]
fn find<T: LossElement, L: Wave<T>>(
    l: L,
    lines: &Lines<T>,
    range: Range<usize>,
    rows: usize,
    group: &mut [Line<T>; GROUP],
    logs: &mut [T; GROUP],
    keep: &mut Vec<T>,
) {
    if rows > 1 {
        let count = range.len().min(rows);
        if lines.classes() > LONGEST && lines.logits.strides()[1] == 1 {
            // Each row's sum together with the next one's maximum.
            group[0].top = row::top(l, Lines::row(&lines.logits, range.start, keep));
            for r in 0..count {
                let (mut none, mut other) = (Vec::new(), Vec::new());
                let x = Lines::row(&lines.logits, range.start + r, &mut none);
                let next = Lines::row(&lines.logits, range.start + (r + 1).min(count - 1), &mut other);
                let top = group[r].top;
                let both = row::step::<T, L, { before::GONE }>(l, next, x, top, &mut [], &[], [T::ZERO; 2], &mut []);
                group[r].sum = both[0];
                if r + 1 < count {
                    group[r + 1].top = both[1];
                }
            }
            for (to, line) in logs.iter_mut().zip(group) {
                *to = line.log();
            }
            return;
        }
        for (line, i) in group[..count].iter_mut().zip(range.clone()) {
            line.top = row::top(l, Lines::row(&lines.logits, i, keep));
        }
        for (line, i) in group[..count].iter_mut().zip(range) {
            line.sum = row::sum_above(l, Lines::row(&lines.logits, i, keep), line.top);
        }
    } else {
        let (top, sum) = row::top_and_sum(l, Lines::row(&lines.logits, range.start, keep));
        group[0] = Line { top, sum };
    }
    for (to, line) in logs.iter_mut().zip(group) {
        *to = line.log();
    }
}

in_waves! {
    fn row_losses<T: LossElement>(l: L; lines: &Lines<T>, to: &Written<T>, range: Range<usize>) {
        let c = lines.classes();
        let (mut keep, mut keep_p) = (Vec::new(), Vec::new());
        let smooth = lines.smoothing != T::ZERO;
        let mut asked_for = match lines.expected {
            Expected::Probabilities(_) => vec![T::ZERO; c],
            // Smoothing asks for all classes by their weight.
            Expected::Classes { .. } if smooth => lines.weight.map_or_else(|| vec![T::ONE; c], |w| w.to_vec()),
            Expected::Classes { .. } => Vec::new(),
        };
        let mut all = if smooth { row::sum(l, &asked_for, &asked_for) } else { T::ZERO };
        let mut group = [Line { top: T::ZERO, sum: T::ONE }; GROUP];
        let (mut logs, rows) = ([T::ZERO; GROUP], together(c, 16384));
        for i in range.clone() {
            let r = (i - range.start) % rows;
            if r == 0 {
                find(l, lines, i..range.end, rows, &mut group, &mut logs, &mut keep);
            }
            let x = Lines::row(&lines.logits, i, &mut keep);
            let (line, log, top) = (group[r], logs[r], group[r].top);
            let loss = match lines.expected {
                Expected::Classes { target, ignore } => match class(target[i], c, ignore) {
                    None => T::ZERO,
                    Some(t) => {
                        let loss = lines.weight_of(t) * (log - (x[t] - top));
                        if smooth {
                            let spread = all * log - row::lifted_dot(l, x, &asked_for, -top);
                            let share = lines.smoothing / T::from_f64(c as f64);
                            loss * (T::ONE - lines.smoothing) + spread * share
                        } else {
                            loss
                        }
                    }
                },
                Expected::Probabilities(p) => {
                    let p = Lines::row(&p, i, &mut keep_p);
                    asked(p, lines.weight, lines.smoothing, &mut asked_for);
                    all = row::sum(l, &asked_for, &asked_for);
                    all * log - row::lifted_dot(l, x, &asked_for, -top)
                }
            };
            to.put(i, loss, line);
        }
    }
}

/// How many strips there are, and the lines of a strip.
fn strips<T: LossElement>(lines: &Lines<T>) -> (usize, usize) {
    let shape = lines.logits.shape();
    (shape[0] * shape[2].div_ceil(strip::WIDTH), shape[2].min(strip::WIDTH))
}

multiversion! {
    fn strip_losses<T: LossElement>(lines: &Lines<T>, to: &Written<T>, range: Range<usize>) {
        let s = lines.logits.shape()[2];
        let strips = s.div_ceil(strip::WIDTH);
        for j in range {
            let first = j % strips * strip::WIDTH;
            let line = j / strips * s + first;
            by_parts!(T, strip::WIDTH.min(s - first), |at| strip_of(lines, to, line + at));
        }
    }
}

/// Losses of `W` lines that lie side by side.
#[inline(always)]
fn strip_of<T: LossElement, const W: usize>(lines: &Lines<T>, to: &Written<T>, first: usize) {
    let Expected::Classes { target, ignore } = lines.expected else {
        return;
    };
    let (c, step) = (lines.classes(), lines.logits.strides()[1]);
    let x = lines.logits.ptr().wrapping_offset(Lines::start(&lines.logits, first));
    // SAFETY: W lines of the view.
    let (top, sum) = unsafe {
        let top = strip::tops::<T, W>(x, c, step);
        // Of -inf alone the exponentials are 0, not NaN.
        (
            top,
            strip::sums(x, c, step, &top.map(|v| if v == -T::INF { T::ZERO } else { v })),
        )
    };
    for i in 0..W {
        let l = Line {
            top: top[i],
            sum: sum[i],
        };
        let loss = class(target[first + i], c, ignore).map_or(T::ZERO, |t| {
            // SAFETY: the class was checked.
            let x = unsafe { *x.offset(t as isize * step + i as isize) };
            lines.weight_of(t) * (l.log() - (x - l.top))
        });
        to.put(first + i, loss, l);
    }
}

/// The gradient of [`cross_entropy_forward`] with respect to the logits, in `gx` (contiguous, of their shape). `grad` is as
/// long as its `out`, `divisor` what it gave, `top` and `sum` what it wrote.
pub fn cross_entropy_backward<T: LossElement>(
    lines: &Lines<T>,
    reduction: Reduction,
    grad: &[T],
    divisor: T,
    [top, sum]: [&[T]; 2],
    gx: &mut [T],
) -> Result<(), IndexError> {
    lines.check()?;
    let (n, c) = (lines.count(), lines.classes());
    assert!(top.len() == n && sum.len() == n && gx.len() == n * c);
    assert!(grad.len() == if reduction == Reduction::Each { n } else { 1 });
    let back = Back {
        lines,
        reduction,
        grad,
        divisor,
        top,
        sum,
        gx: Share::new(gx.as_mut_ptr()),
    };
    if lines.side_by_side() {
        let (strips, width) = strips(lines);
        parallel::for_range(strips, grain(COST * c * width), |range| strip_gradients(&back, range));
    } else {
        parallel::for_range(n, grain(COST * c), |range| row_gradients(&back, range));
    }
    Ok(())
}

struct Back<'a, T> {
    lines: &'a Lines<'a, T>,
    reduction: Reduction,
    grad: &'a [T],
    divisor: T,
    top: &'a [T],
    sum: &'a [T],
    gx: Share<T>,
}

impl<T: LossElement> Back<'_, T> {
    /// The gradient of line i's loss.
    #[inline(always)]
    fn of(&self, i: usize) -> T {
        match self.reduction {
            Reduction::Each => self.grad[i],
            Reduction::Mean => self.grad[0] / self.divisor,
            Reduction::Sum => self.grad[0],
        }
    }

    /// What turns raised exponentials of line i into probabilities.
    #[inline(always)]
    fn scale(&self, i: usize) -> T {
        T::ONE / (self.sum[i] * T::RAISE)
    }
}

in_waves! {
    fn row_gradients<T: LossElement>(l: L; b: &Back<T>, range: Range<usize>) {
        let lines = b.lines;
        let (c, s) = (lines.classes(), lines.logits.shape()[2]);
        let (mut keep, mut keep_p) = (Vec::new(), Vec::new());
        let smooth = lines.smoothing != T::ZERO;
        let mut asked_for = match lines.expected {
            Expected::Probabilities(_) => vec![T::ZERO; c],
            Expected::Classes { .. } if smooth => lines.weight.map_or_else(|| vec![T::ONE; c], |w| w.to_vec()),
            Expected::Classes { .. } => Vec::new(),
        };
        let all = if smooth { row::sum(l, &asked_for, &asked_for) } else { T::ZERO };
        let mut apart = vec![T::ZERO; if s == 1 { 0 } else { c }];
        for i in range {
            let x = Lines::row(&lines.logits, i, &mut keep);
            let first = if s == 1 { i * c } else { i / s * c * s + i % s };
            // SAFETY: line i of the result, which is this thread's.
            let to = unsafe { std::slice::from_raw_parts_mut(b.gx.at(first), if s == 1 { c } else { 0 }) };
            let to = if s == 1 { to } else { &mut apart[..] };
            let (g, top, scale) = (b.of(i), b.top[i], b.scale(i));
            match lines.expected {
                Expected::Classes { target, ignore } => match class(target[i], c, ignore) {
                    None => to.fill(T::ZERO),
                    Some(t) => {
                        let own = g * lines.weight_of(t);
                        if smooth {
                            let own = own * (T::ONE - lines.smoothing);
                            let by = g * (lines.smoothing / T::from_f64(c as f64));
                            row::differences(l, x, &asked_for, [top, scale, by.fma(all, own), by], to);
                            to[t] = to[t] - own;
                        } else {
                            row::probabilities(l, x, [top, scale, own], to);
                            to[t] = to[t] - own;
                        }
                    }
                },
                Expected::Probabilities(p) => {
                    let p = Lines::row(&p, i, &mut keep_p);
                    asked(p, lines.weight, lines.smoothing, &mut asked_for);
                    let all = row::sum(l, &asked_for, &asked_for);
                    row::differences(l, x, &asked_for, [top, scale, g * all, g], to);
                }
            }
            if s != 1 {
                for (k, &v) in apart.iter().enumerate() {
                    // SAFETY: as above.
                    unsafe { *b.gx.at(first + k * s) = v };
                }
            }
        }
    }
}

multiversion! {
    fn strip_gradients<T: LossElement>(b: &Back<T>, range: Range<usize>) {
        let s = b.lines.logits.shape()[2];
        let strips = s.div_ceil(strip::WIDTH);
        for j in range {
            let first = j % strips * strip::WIDTH;
            let line = j / strips * s + first;
            by_parts!(T, strip::WIDTH.min(s - first), |at| strip_gradient(b, line + at));
        }
    }
}

/// Gradients of `W` lines that lie side by side.
#[inline(always)]
fn strip_gradient<T: LossElement, const W: usize>(b: &Back<T>, first: usize) {
    let lines = b.lines;
    let Expected::Classes { target, ignore } = lines.expected else {
        return;
    };
    let (c, s) = (lines.classes(), lines.logits.shape()[2]);
    let step = lines.logits.strides()[1];
    let x = lines.logits.ptr().wrapping_offset(Lines::start(&lines.logits, first));
    let to = b.gx.get().wrapping_add(first / s * c * s + first % s);
    let (mut own, mut top, mut scale) = ([T::ZERO; W], [T::ZERO; W], [T::ZERO; W]);
    for i in 0..W {
        own[i] = class(target[first + i], c, ignore).map_or(T::ZERO, |t| b.of(first + i) * lines.weight_of(t));
        (top[i], scale[i]) = (b.top[first + i], b.scale(first + i));
    }
    // A line that counts nothing has gradient 0, whatever its logits are.
    let counts: [bool; W] = std::array::from_fn(|i| class(target[first + i], c, ignore).is_some());
    for k in 0..c {
        // SAFETY: element k of W lines, of the view and of the result, which are this thread's.
        let (x, to) = unsafe { (across::<T, W>(x, k, step), across_mut::<T, W>(to, k, s as isize)) };
        let mut out = [T::ZERO; W];
        for i in 0..W {
            let v = (x[i] - top[i]).exp_raised() * scale[i] * own[i];
            out[i] = if counts[i] { v } else { T::ZERO };
        }
        *to = out;
    }
    for i in 0..W {
        if let Some(t) = class(target[first + i], c, ignore) {
            // SAFETY: the class was checked.
            let at = unsafe { &mut *to.add(t * s + i) };
            *at = *at - own[i];
        }
    }
}
