//! Claims about workflows.
