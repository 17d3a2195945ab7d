//! The records that the class's slots stand for, each found once.

use crate::call::Common;

macro_rules! op {
    ($name:ident, $key:literal) => {
        pub static $name: Common = Common::new($key);
    };
}
op!(ADD, "add");
op!(SUB, "sub");
op!(MUL, "mul");
op!(DIV, "div");
op!(FLOOR_DIVIDE, "floor_divide");
op!(REMAINDER, "remainder");
op!(RREMAINDER, "remainder.scalar");
op!(POW, "pow");
op!(RPOW, "pow.scalar");
op!(MATMUL, "matmul");
op!(AND, "bitwise_and");
op!(OR, "bitwise_or");
op!(XOR, "bitwise_xor");
op!(SHL, "bitwise_left_shift");
op!(SHR, "bitwise_right_shift");
op!(RSHL, "bitwise_left_shift.scalar");
op!(RSHR, "bitwise_right_shift.scalar");
op!(EQ, "eq");
op!(NE, "ne");
op!(LT, "lt");
op!(LE, "le");
op!(GT, "gt");
op!(GE, "ge");
op!(NEG, "neg");
op!(ABS, "abs");
op!(NOT, "bitwise_not");
op!(SELECT, "select");
