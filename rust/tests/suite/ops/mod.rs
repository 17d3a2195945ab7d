mod conv;
mod matmul;
