//! Typed ids. `Id<Lead>` is not `Id<Agent>`; inside both is a UUIDv7, so that new rows are near one another in
//! an index.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use uuid::{ContextV7, Timestamp, Uuid};

/// The id of a `T`. `T` is a marker and is never constructed.
pub struct Id<T>(Uuid, PhantomData<fn() -> T>);

impl<T> Id<T> {
    /// A new id: a UUIDv7 of the present millisecond.
    #[expect(clippy::new_without_default, reason = "a default that differs each time would surprise")]
    pub fn new() -> Self {
        #[expect(clippy::disallowed_methods, reason = "the one place that makes ids")]
        let uuid = Uuid::now_v7();
        Self(uuid, PhantomData)
    }

    /// New ids of the millisecond of this time, each after the one before it.
    pub fn sequence(at: DateTime<Utc>) -> impl Iterator<Item = Self> {
        let context = ContextV7::new();
        let seconds = u64::try_from(at.timestamp()).unwrap_or_default();
        std::iter::repeat_with(move || {
            let time = Timestamp::from_unix(&context, seconds, at.timestamp_subsec_nanos());
            Self(Uuid::new_v7(time), PhantomData)
        })
    }

    /// The id that a stored UUID stands for.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self(uuid, PhantomData)
    }

    /// The bare UUID, to bind and to store.
    pub const fn uuid(self) -> Uuid {
        self.0
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}
impl<T> Eq for Id<T> {}
impl<T> PartialOrd for Id<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl<T> Ord for Id<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.cmp(&other.0)
    }
}
impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl<T> fmt::Display for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
impl<T> From<Uuid> for Id<T> {
    fn from(uuid: Uuid) -> Self {
        Self::from_uuid(uuid)
    }
}
impl<T> FromStr for Id<T> {
    type Err = uuid::Error;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self::from_uuid)
    }
}
impl<T> Serialize for Id<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}
impl<'de, T> Deserialize<'de> for Id<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Uuid::deserialize(deserializer).map(Self::from_uuid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_is_of_its_time_and_in_order() {
        let at = DateTime::from_timestamp_micros(1_800_000_000_123_456).unwrap();
        let ids: Vec<Id<()>> = Id::sequence(at).take(5000).collect();
        assert!(ids.is_sorted_by(|one, next| one < next));
        for id in [ids[0], ids[4999]] {
            let (seconds, nanos) = id.uuid().get_timestamp().unwrap().to_unix();
            assert_eq!((seconds, nanos), (1_800_000_000, 123_000_000));
        }
    }
}
