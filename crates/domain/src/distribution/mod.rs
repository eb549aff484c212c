//! (distribution)
