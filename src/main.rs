//! The command `netckpt`.

fn main() {}
