//! People, each derived from the seed and an index: nobody is stored.
//!
//! Those with a phone have the indexes from 0; behind them stand those with an e-mail only.
//!
//! **Invariant:** no two people share a phone or an e-mail. A phone is a slot of the number space for the index; an
//! e-mail has the index in it.

use rand::Rng;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;

use crate::catalogue::{self as c, Country};
use crate::dirt;
use crate::numbers::{Number, Scatter};
use crate::seeds::{self, Stream};

/// One in so many people with a phone has a second one.
pub const TWO_NUMBERS_ONE_IN: u64 = 25;
/// One in so many people with a phone has no e-mail.
pub const NO_EMAIL_ONE_IN: u64 = 4;

/// Somebody who does not exist.
pub(crate) struct Person {
    /// None, one or two.
    pub(crate) numbers: Vec<Number>,
    /// In normal form.
    pub(crate) email: Option<String>,
    pub(crate) name: Name,
    pub(crate) language: &'static str,
    pub(crate) country: Country,
    pub(crate) city: &'static str,
    pub(crate) operation: &'static str,
    /// How the person spells phone, e-mail and name the first time.
    pub(crate) phone_style: usize,
    pub(crate) email_style: usize,
    pub(crate) name_style: usize,
}

/// A name in its two parts.
pub(crate) struct Name {
    pub(crate) given: &'static str,
    pub(crate) surname: String,
}

/// Everybody in a file.
#[derive(Debug, Clone)]
pub(crate) struct People {
    seed: u64,
    /// Those with a phone: the indexes below this.
    with_phone: u64,
    scatter: Scatter,
}

impl People {
    pub(crate) fn new(seed: u64, with_phone: u64) -> Self {
        Self { seed, with_phone, scatter: Scatter::new(seed) }
    }

    /// Phone numbers that so many people with a phone take.
    pub(crate) const fn numbers_of(with_phone: u64) -> u64 {
        with_phone + with_phone.div_ceil(TWO_NUMBERS_ONE_IN)
    }

    pub(crate) fn has_phone(&self, index: u64) -> bool {
        index < self.with_phone
    }

    /// Everybody without a phone has an e-mail, and so has the very first person.
    pub(crate) fn has_email(&self, index: u64) -> bool {
        if !self.has_phone(index) || index == 0 {
            return true;
        }
        let group = index / NO_EMAIL_ONE_IN;
        index % NO_EMAIL_ONE_IN != seeds::hash(self.seed, Stream::NoEmail, group) % NO_EMAIL_ONE_IN
    }

    /// First numbers are dealt from the front of the space, second ones from its back, one to a group of people.
    fn numbers(&self, index: u64) -> Vec<Number> {
        if !self.has_phone(index) {
            return Vec::new();
        }
        let mut numbers = vec![self.scatter.number(index)];
        let group = index / TWO_NUMBERS_ONE_IN;
        let chosen = seeds::hash(self.seed, Stream::SecondNumber, group) % TWO_NUMBERS_ONE_IN;
        if index % TWO_NUMBERS_ONE_IN == chosen {
            numbers.push(self.scatter.number(crate::NUMBERS - 1 - group));
        }
        numbers
    }

    /// The person's e-mail in normal form.
    pub(crate) fn email(&self, index: u64) -> Option<String> {
        self.person(index).email
    }

    pub(crate) fn person(&self, index: u64) -> Person {
        let mut rng = seeds::rng(self.seed, Stream::Person, index);
        let numbers = self.numbers(index);
        let any = weighted(&mut rng, Country::SHARES, |(_, share)| share).0;
        let country = numbers.first().map_or(any, |number| number.country);
        let language = language(&mut rng, country);
        let name = name(&mut rng, language);
        let domain = c::EMAIL_DOMAINS.choose(&mut rng).expect("the list is not empty");
        let email = self.has_email(index).then(|| {
            let local = format!("{}.{}", name.given, name.surname);
            let local: String = local.chars().map(dirt::latin).collect();
            format!("{}.{index}@{domain}", local.to_ascii_lowercase())
        });
        let phone_styles = numbers.first().map_or(1, dirt::phone_styles);
        Person {
            email,
            name,
            language,
            country,
            city: country.cities().choose(&mut rng).expect("the list is not empty"),
            operation: operation(&mut rng, language),
            phone_style: rng.random_range(0..phone_styles),
            email_style: rng.random_range(0..dirt::EMAIL_STYLES),
            name_style: rng.random_range(0..dirt::NAME_STYLES),
            numbers,
        }
    }
}

/// A language of the country.
pub(crate) fn language(rng: &mut StdRng, country: Country) -> &'static str {
    weighted(rng, country.languages().iter().copied(), |(_, share)| share).0
}

/// A made-up name, Turkish or not.
pub(crate) fn name(rng: &mut StdRng, language: &str) -> Name {
    let mut pick = |list: &[&'static str]| *list.choose(rng).expect("the lists are not empty");
    if language == "tr" {
        let surname = format!("{}{}", pick(&c::SURNAME_HEADS_TURKISH), pick(&c::SURNAME_TAILS_TURKISH));
        Name { given: pick(&c::GIVEN_NAMES_TURKISH), surname }
    } else {
        let surname = format!("{}{}", pick(&c::SURNAME_HEADS_FOREIGN), pick(&c::SURNAME_TAILS_FOREIGN));
        Name { given: pick(&c::GIVEN_NAMES_FOREIGN), surname }
    }
}

/// What the person asks for, in the person's words.
pub(crate) fn operation(rng: &mut StdRng, language: &str) -> &'static str {
    let (turkish, other, _) = weighted(rng, c::OPERATIONS, |(_, _, share)| share);
    if language == "tr" { turkish } else { other }
}

/// One of the things, each as often as its share says.
pub(crate) fn weighted<T: Copy>(
    rng: &mut StdRng,
    things: impl IntoIterator<Item = T, IntoIter: Clone>,
    share: impl Fn(T) -> u32,
) -> T {
    let things = things.into_iter();
    let total: u32 = things.clone().map(&share).sum();
    let mut left = rng.random_range(0..total);
    for thing in things {
        let share = share(thing);
        if left < share {
            return thing;
        }
        left -= share;
    }
    unreachable!("what is left is below the sum of all shares")
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn nobody_shares_a_contact() {
        let people = People::new(7, 20_000);
        let (mut phones, mut emails, mut typed) = (HashSet::new(), HashSet::new(), 0);
        for index in 0..22_000 {
            let person = people.person(index);
            assert_eq!(person.email.is_some(), people.has_email(index));
            assert_eq!(!person.numbers.is_empty(), people.has_phone(index));
            typed += person.numbers.len();
            phones.extend(person.numbers.iter().map(Number::e164));
            assert!(person.email.is_none_or(|email| email.is_ascii() && emails.insert(email)));
        }
        assert_eq!(phones.len(), typed);
        assert_eq!(typed as u64, People::numbers_of(20_000));
        let emails = emails.len() as u64;
        assert!((17_000..=17_001).contains(&emails), "one in {NO_EMAIL_ONE_IN} has none: {emails}");
    }

    #[test]
    fn all_numbers_can_be_dealt_out() {
        let with_phone = crate::NUMBERS * TWO_NUMBERS_ONE_IN / (TWO_NUMBERS_ONE_IN + 1);
        let people = People::new(3, with_phone);
        assert!(People::numbers_of(with_phone) <= crate::NUMBERS);
        let all: Vec<String> = (0..with_phone).flat_map(|i| people.numbers(i)).map(|n| n.e164()).collect();
        assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len());
    }
}
