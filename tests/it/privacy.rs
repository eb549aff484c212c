//! Claims about privacy.
