mod cache;
mod every;
