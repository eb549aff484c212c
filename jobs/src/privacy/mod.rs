//! Jobs that make personal data unreadable.

pub mod destroy_keys;

pub use destroy_keys::DestroyKeys;
