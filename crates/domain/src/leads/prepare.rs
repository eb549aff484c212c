//! Everything that must happen before the transaction: whose lead it seems to be, its key, and the sealing.

use sira_kernel::Id;
use uuid::Uuid;

use super::{ANSWERS, CONTACT, CONTACTS_MAX, LeadError, NAME, NewLead, store};
use crate::Db;
use crate::nouns::{EnquiryId, LeadId};
use crate::privacy::{BlindField, Cipher, DataKey, Subject};

/// A lead ready to be written: sealed under its own key, or under the key of the lead that it seems to join.
/// Holds personal data only sealed or masked, except what [`NewLead`] says of its origin.
pub struct Prepared {
    pub(super) lead: LeadId,
    /// The lead is known and `lead` is its id; otherwise `lead` is a candidate that nobody has seen.
    pub(super) known: bool,
    pub(super) enquiry: EnquiryId,
    pub(super) name_sealed: Option<Vec<u8>>,
    pub(super) name_masked: Option<String>,
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
}

fn contacts_of<'a>(cipher: &Cipher, lead: &'a NewLead) -> Vec<Plain<'a>> {
    let phones = lead.phones.iter().take(CONTACTS_MAX).map(|phone| Plain {
        kind: Kind::Phone,
        normal: phone.e164(),
        masked: phone.masked(),
        blind_index: cipher.blind_index(BlindField::Phone, phone.e164()),
    });
    let emails = lead.emails.iter().take(CONTACTS_MAX).map(|email| Plain {
        kind: Kind::Email,
        normal: email.as_str(),
        masked: email.masked(),
        blind_index: cipher.blind_index(BlindField::Email, email.as_str()),
    });
    let mut all: Vec<Plain<'a>> = Vec::new();
    for contact in phones.chain(emails) {
        if !all.iter().any(|c| c.kind == contact.kind && c.blind_index == contact.blind_index) {
            all.push(contact);
        }
    }
    all
}

/// Looks up whose contacts these are, makes a key when they are nobody's, and seals.
///
/// The look-up is a hint that saves keys: the transaction checks it and answers [`LeadError::Raced`] when it no
/// longer holds. No transaction is open here, because keys commit by themselves; the key of a candidate that
/// loses its race is an orphan and harmless.
///
/// # Errors
/// [`LeadError::NoUsableContact`], unless it is a test lead.
pub async fn prepare(db: &Db, cipher: &Cipher, lead: &NewLead) -> Result<Prepared, LeadError> {
    let plain = contacts_of(cipher, lead);
    if plain.is_empty() && !lead.is_test {
        return Err(LeadError::NoUsableContact);
    }
    let known = if lead.is_test { None } else { find_known(db, &plain).await? };
    let id = known.unwrap_or_else(LeadId::new);
    let key = match known {
        Some(_) => cipher.key(Subject::Lead(id)).await?,
        None => cipher.create_key(Subject::Lead(id), db.clock().now()).await?,
    };
    Ok(seal(&key, id, known.is_some(), lead, plain))
}

async fn find_known(db: &Db, contacts: &[Plain<'_>]) -> Result<Option<LeadId>, sqlx::Error> {
    let indexes = |kind: Kind| -> Vec<&[u8]> {
        contacts.iter().filter(|c| c.kind == kind).map(|c| c.blind_index.as_slice()).collect()
    };
    let (phones, emails) = (indexes(Kind::Phone), indexes(Kind::Email));
    let mut conn = db.read().await?;
    if phones.is_empty() {
        store::find_by_email(&mut conn, &emails).await
    } else {
        store::find_by_phone(&mut conn, &phones).await
    }
}

fn seal(key: &DataKey, id: LeadId, known: bool, lead: &NewLead, plain: Vec<Plain<'_>>) -> Prepared {
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
            }
        })
        .collect();
    contacts.sort_by_key(|contact| (contact.kind, contact.blind_index));
    Prepared {
        lead: id,
        known,
        enquiry,
        name_sealed: lead.name.as_ref().map(|name| key.seal(NAME, id.uuid(), name.as_str().as_bytes())),
        name_masked: lead.name.as_ref().map(sira_kernel::PersonName::masked),
        answers_sealed: key.seal(ANSWERS, enquiry.uuid(), &answers),
        contacts,
    }
}
