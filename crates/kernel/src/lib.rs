//! Words that every layer shares and that need no I/O: typed ids, the clock, actors, phone numbers, e-mail
//! addresses, names, time zones, and the masked forms that may be shown where the value itself may not.
//!
//! **Invariant:** nothing here opens a connection or knows what a lead is.

pub mod actor;
pub mod clock;
pub mod email;
pub mod id;
pub mod mask;
pub mod name;
pub mod phone;
pub mod reference;
pub mod trace;
pub mod zone;

pub use actor::Actor;
pub use clock::Clock;
pub use email::EmailAddress;
pub use id::Id;
pub use mask::mask_contacts;
pub use name::PersonName;
pub use phone::{PhoneKind, PhoneNumber};
pub use trace::TraceParent;
pub use zone::Zone;
