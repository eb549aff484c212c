//! (campaigns)
