//! Jobs of promises about time.

pub mod reschedule_calendar;
pub mod reschedule_timers;

pub use reschedule_calendar::RescheduleCalendar;
pub use reschedule_timers::RescheduleTimers;
