//! Everything that must happen before the transaction: whose lead it seems to be, its key, and the sealing.

use std::borrow::Borrow;
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use sira_kernel::Id;
use uuid::Uuid;

use super::arrival::Arriving;
use super::{ANSWERS, CONTACT, CONTACTS_MAX, LeadError, NAME, NewLead, search, store};
use crate::Db;
use crate::nouns::{EnquiryId, LeadId};
use crate::privacy::{BlindField, Cipher, DataKey, PrivacyError, Subject};

/// A lead ready to be written: sealed under its own key, or under the key of the lead that it seems to join.
/// Holds personal data only sealed or masked, except what [`NewLead`] says of its origin.
pub struct Prepared {
    pub(super) lead: LeadId,
    /// The lead is known, or another one of the same batch makes it, and `lead` is its id; otherwise `lead` is a
    /// candidate that nobody has seen.
    pub(super) known: bool,
    pub(super) enquiry: EnquiryId,
    pub(super) name_sealed: Option<Vec<u8>>,
    pub(super) name_masked: Option<String>,
    pub(super) name_tokens: Vec<i64>,
    pub(super) answers_sealed: Vec<u8>,
    /// In blind-index order, so that two transactions with the same contacts wait for one another instead of
    /// deadlocking.
    pub(super) contacts: Vec<Contact>,
}

pub(super) struct Contact {
    pub(super) id: Uuid,
    pub(super) kind: Kind,
    pub(super) masked: String,
    pub(super) sealed: Vec<u8>,
    pub(super) blind_index: [u8; 32],
    /// A phone number by which SMS and WhatsApp may be tried.
    pub(super) can_text: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Phone,
    Email,
}

impl Kind {
    pub(super) const fn code(self) -> &'static str {
        match self {
            Self::Phone => "phone",
            Self::Email => "email",
        }
    }
}

impl Prepared {
    /// The blind indexes of one kind, in their order.
    pub(super) fn indexes(&self, kind: Kind) -> Vec<&[u8]> {
        self.contacts.iter().filter(|c| c.kind == kind).map(|c| c.blind_index.as_slice()).collect()
    }

    pub(super) fn has_phone(&self) -> bool {
        self.contacts.iter().any(|contact| contact.kind == Kind::Phone)
    }
}

/// A contact before it is sealed.
struct Plain<'a> {
    kind: Kind,
    normal: &'a str,
    masked: String,
    blind_index: [u8; 32],
    can_text: bool,
}

fn contacts_of<'a>(cipher: &Cipher, lead: &'a NewLead) -> Vec<Plain<'a>> {
    let phones = lead.phones.iter().take(CONTACTS_MAX).map(|phone| Plain {
        kind: Kind::Phone,
        normal: phone.e164(),
        masked: phone.masked(),
        blind_index: cipher.blind_index(BlindField::Phone, phone.e164()),
        can_text: phone.can_text(),
    });
    let emails = lead.emails.iter().take(CONTACTS_MAX).map(|email| Plain {
        kind: Kind::Email,
        normal: email.as_str(),
        masked: email.masked(),
        blind_index: cipher.blind_index(BlindField::Email, email.as_str()),
        can_text: false,
    });
    let mut all: Vec<Plain<'a>> = Vec::new();
    for contact in phones.chain(emails) {
        if !all.iter().any(|c| c.kind == contact.kind && c.blind_index == contact.blind_index) {
            all.push(contact);
        }
    }
    all
}

/// [`prepare_all`] for one lead.
pub async fn prepare(db: &Db, cipher: &Cipher, lead: &NewLead) -> Result<Prepared, LeadError> {
    let mut prepared = prepare_all(db, cipher, std::slice::from_ref(lead)).await?;
    Ok(prepared.pop().expect("one for one"))
}

/// Looks up whose contacts these are, makes keys for those that are nobody's, and seals. Answers in the same order.
///
/// The look-up is a hint that saves keys: the transaction checks it and answers [`LeadError::Raced`] when it no
/// longer holds. No transaction is open here, because keys commit by themselves; the key of a candidate that
/// loses its race is an orphan and harmless.
///
/// # Errors
/// [`LeadError::NoUsableContact`] when one of them has no contact and is no test lead: see [`NewLead::is_reachable`].
pub async fn prepare_all(db: &Db, cipher: &Cipher, leads: &[NewLead]) -> Result<Vec<Prepared>, LeadError> {
    prepare_after(db, cipher, leads, &[]).await
}

/// The same, as if the batch `before` had been written already: for batches that follow one another, so that one is prepared
/// while the one before it is written. Good for nothing if that one was prepared anew after a lost race.
///
/// # Errors
/// As [`prepare_all`].
pub async fn prepare_after(
    db: &Db,
    cipher: &Cipher,
    leads: &[NewLead],
    before: &[Arriving<'_>],
) -> Result<Vec<Prepared>, LeadError> {
    if leads.iter().any(|lead| !lead.is_reachable() && !lead.is_test) {
        return Err(LeadError::NoUsableContact);
    }
    let plain: Vec<Vec<Plain<'_>>> = leads.iter().map(|lead| contacts_of(cipher, lead)).collect();
    let whose = find_all(db, leads, &plain, before).await?;
    let keys = keys_of(db, cipher, &whose).await?;
    let sealed = leads.iter().zip(plain).zip(whose).map(|((lead, plain), whose)| {
        let key = keys.get(&whose.lead).ok_or(PrivacyError::Missing)?;
        Ok(seal(cipher, key, whose, lead, plain))
    });
    sealed.collect()
}

/// Whose enquiry it is.
#[derive(Clone, Copy)]
struct Whose {
    lead: LeadId,
    /// Somebody has it, or an earlier enquiry makes it, of this batch or the one before.
    known: bool,
    /// It has its key: it was there before this batch.
    stored: bool,
}

/// Decides in the order of the batches, as if each enquiry came after those before it.
///
/// Of several numbers the one that is known longest decides. An address decides only where there is no number, and
/// belongs to an open lead before a closed one, and then to the newest.
async fn find_all(
    db: &Db,
    leads: &[NewLead],
    plain: &[Vec<Plain<'_>>],
    before: &[Arriving<'_>],
) -> Result<Vec<Whose>, sqlx::Error> {
    let (stored_phones, stored_emails) = find_stored(db, leads, plain).await?;
    let mut seen = Seen::default();
    for one in before.iter().filter(|one| !one.lead.is_test) {
        let Prepared { lead, known, .. } = *one.prepared;
        seen.add(lead, known, &one.prepared.indexes(Kind::Phone), &one.prepared.indexes(Kind::Email));
    }
    let mut new = HashSet::new();
    let mut all: Vec<Whose> = Vec::with_capacity(leads.len());
    for (lead, plain) in leads.iter().zip(plain) {
        if lead.is_test {
            all.push(Whose { lead: LeadId::new(), known: false, stored: false });
            continue;
        }
        // A stored number is older than any that was seen; a lead that was seen is newer than any that is stored.
        let found = if of_kind(plain, Kind::Phone).next().is_some() {
            best(&stored_phones, plain, Kind::Phone).or_else(|| best(&seen.phones, plain, Kind::Phone))
        } else {
            best(&seen.emails, plain, Kind::Email).or_else(|| best(&stored_emails, plain, Kind::Email))
        };
        let whose = match found {
            Some(id) => Whose { lead: id, known: true, stored: !new.contains(&id) },
            None => Whose { lead: LeadId::new(), known: false, stored: false },
        };
        if !whose.known {
            new.insert(whose.lead);
        }
        let (phones, emails): (Vec<_>, Vec<_>) =
            (of_kind(plain, Kind::Phone).collect(), of_kind(plain, Kind::Email).collect());
        seen.add(whose.lead, whose.known, &phones, &emails);
        all.push(whose);
    }
    Ok(all)
}

/// Who came before in these batches, by contact.
#[derive(Default)]
struct Seen<'a> {
    phones: Owners<&'a [u8], usize>,
    emails: Owners<&'a [u8], Reverse<usize>>,
    count: usize,
}

impl<'a> Seen<'a> {
    fn add(&mut self, lead: LeadId, known: bool, phones: &[&'a [u8]], emails: &[&'a [u8]]) {
        let place = self.count;
        self.count += 1;
        for index in phones {
            self.phones.entry(index).or_insert((place, lead));
        }
        for index in emails {
            if known {
                self.emails.entry(index).or_insert((Reverse(place), lead));
            } else {
                self.emails.insert(index, (Reverse(place), lead));
            }
        }
    }
}

/// What a blind index belongs to, with its rank among others: the lowest decides.
type Owners<Index, Rank> = HashMap<Index, (Rank, LeadId)>;

fn best<Index: Borrow<[u8]> + Eq + Hash, Rank: Ord>(
    owners: &Owners<Index, Rank>,
    plain: &[Plain<'_>],
    kind: Kind,
) -> Option<LeadId> {
    let found = of_kind(plain, kind).filter_map(|index| owners.get(index));
    found.min_by(|(a, _), (b, _)| a.cmp(b)).map(|(_, lead)| *lead)
}

async fn find_stored(
    db: &Db,
    leads: &[NewLead],
    plain: &[Vec<Plain<'_>>],
) -> Result<(store::Phones, store::Emails), sqlx::Error> {
    let (mut phones, mut emails): (Vec<&[u8]>, Vec<&[u8]>) = (Vec::new(), Vec::new());
    for (_, plain) in leads.iter().zip(plain).filter(|(lead, _)| !lead.is_test) {
        let before = phones.len();
        phones.extend(of_kind(plain, Kind::Phone));
        if phones.len() == before {
            emails.extend(of_kind(plain, Kind::Email));
        }
    }
    let mut conn = db.read().await?;
    let phones = store::find_by_phones(&mut conn, &phones).await?;
    Ok((phones, store::find_by_emails(&mut conn, &emails).await?))
}

async fn keys_of(
    db: &Db,
    cipher: &Cipher,
    whose: &[Whose],
) -> Result<HashMap<LeadId, DataKey>, PrivacyError> {
    let subjects = |stored: bool| -> Vec<Subject> {
        let of = whose.iter().filter(|whose| whose.stored == stored).map(|whose| whose.lead);
        of.collect::<HashSet<_>>().into_iter().map(Subject::Lead).collect()
    };
    let mut keys = cipher.keys(&subjects(true)).await?;
    keys.extend(cipher.create_keys(&subjects(false), db.clock().now()).await?);
    let named = keys.into_iter().map(|key| (LeadId::from_uuid(key.subject().uuid()), key));
    Ok(named.collect())
}

fn of_kind<'a>(plain: &'a [Plain<'_>], kind: Kind) -> impl Iterator<Item = &'a [u8]> {
    plain.iter().filter(move |contact| contact.kind == kind).map(|contact| contact.blind_index.as_slice())
}

fn seal(cipher: &Cipher, key: &DataKey, whose: Whose, lead: &NewLead, plain: Vec<Plain<'_>>) -> Prepared {
    let id = whose.lead;
    let enquiry = EnquiryId::new();
    let answers = serde_json::to_vec(&lead.answers).expect("strings are always JSON");
    // Ids are made in the order of preference, which is how "the first phone" is found again.
    let mut contacts: Vec<Contact> = plain
        .into_iter()
        .map(|contact| {
            let row = Id::<Contact>::new().uuid();
            Contact {
                id: row,
                kind: contact.kind,
                sealed: key.seal(CONTACT, row, contact.normal.as_bytes()),
                masked: contact.masked,
                blind_index: contact.blind_index,
                can_text: contact.can_text,
            }
        })
        .collect();
    contacts.sort_by_key(|contact| (contact.kind, contact.blind_index));
    Prepared {
        lead: id,
        known: whose.known,
        enquiry,
        name_sealed: lead.name.as_ref().map(|name| key.seal(NAME, id.uuid(), name.as_str().as_bytes())),
        name_masked: lead.name.as_ref().map(sira_kernel::PersonName::masked),
        name_tokens: lead.name.as_ref().map(|name| search::name_tokens(cipher, name)).unwrap_or_default(),
        answers_sealed: key.seal(ANSWERS, enquiry.uuid(), &answers),
        contacts,
    }
}
