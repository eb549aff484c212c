//! The places for open streams: so many of one user, so many of this process.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sira_domain::nouns::UserId;

/// Counts open streams. Clones count together.
#[derive(Debug, Clone, Default)]
pub struct Places(Arc<Mutex<Taken>>);

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_user: HashMap<UserId, usize>,
}

/// The place of one stream; dropped, it is free again.
#[derive(Debug)]
pub struct Place {
    places: Places,
    user: UserId,
}

/// There is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// For this user.
    User,
    /// For anybody in this process.
    Process,
}

impl Places {
    /// Takes a place, while fewer than these are taken by this user and by all.
    pub fn take(&self, user: UserId, user_max: usize, all_max: usize) -> Result<Place, Full> {
        let mut taken = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.by_user.get(&user).copied().unwrap_or_default() >= user_max {
            return Err(Full::User);
        }
        if taken.all >= all_max {
            return Err(Full::Process);
        }
        taken.all += 1;
        *taken.by_user.entry(user).or_default() += 1;
        metrics::gauge!("sira_live_streams").set(taken.all as f64);
        Ok(Place { places: self.clone(), user })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.lock().unwrap_or_else(PoisonError::into_inner);
        taken.all -= 1;
        if let Some(of_user) = taken.by_user.get_mut(&self.user) {
            *of_user -= 1;
            if *of_user == 0 {
                taken.by_user.remove(&self.user);
            }
        }
        metrics::gauge!("sira_live_streams").set(taken.all as f64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_by_user_and_in_all_and_come_back() {
        let (places, user, other) = (Places::default(), UserId::new(), UserId::new());
        let take = |user| places.take(user, 2, 3);
        let first = take(user).unwrap();
        let _second = take(user).unwrap();
        assert_eq!(take(user).unwrap_err(), Full::User);
        let third = take(other).unwrap();
        assert_eq!(take(other).unwrap_err(), Full::Process);
        drop(first);
        let _fourth = take(other).unwrap();
        assert_eq!(take(user).unwrap_err(), Full::Process);
        drop(third);
        assert!(take(user).is_ok());
        let taken = places.0.lock().unwrap();
        assert_eq!((taken.all, taken.by_user.len()), (2, 2), "the last one was let go at once");
    }
}
