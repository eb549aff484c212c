//! Claims about distribution.
