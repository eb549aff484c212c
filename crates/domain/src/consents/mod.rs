//! (consents)
