//! (ingestion)
