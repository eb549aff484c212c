//! Claims about the command line: the real binary, what it prints, and how it ends.

mod jobs;
mod lists;
mod reviews;
