//! Claims about http.
