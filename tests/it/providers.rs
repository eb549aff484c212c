//! Claims about providers.
