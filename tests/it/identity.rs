//! Claims about identity.
