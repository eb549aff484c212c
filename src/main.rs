//! sira
fn main() {}
