//! (leads)
