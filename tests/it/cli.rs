//! Claims about the command line: the real binary, what it prints, and how it ends.

mod backup;
mod doctor;
mod jobs;
mod lists;
mod manual;
mod mending;
mod queues;
mod reviews;
mod schedules;
mod watch;
