//! What is true of a row, whatever the row looks like.
//!
//! The rule is the product's own. A phone decides who somebody is: the row joins the lead that has one of its phones.
//! An e-mail decides only where the row has no usable phone; then it joins the lead that has that e-mail. The same
//! e-mail with another phone is another lead, and a doubtful one. Without either there is no lead.

use std::collections::BTreeMap;
use std::fmt;

/// Why a row is bad: it has no usable phone and no usable e-mail. The code that the product gives, too.
pub const NO_USABLE_CONTACT: &str = "no_usable_contact";

/// What is to become of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// A new lead.
    Created,
    /// No new lead: the person is known by the lead that this row created. Whether that lead is closed by then, and
    /// opened again, is not told here.
    Joined {
        /// The row that created the lead.
        into: u64,
    },
    /// A new lead, which has its e-mail in common with an older lead of another phone. Never merged by itself.
    Doubtful {
        /// The row that created the older lead.
        with: u64,
    },
    /// No lead.
    Bad {
        /// Always [`NO_USABLE_CONTACT`].
        reason: &'static str,
    },
}

impl Verdict {
    /// `created`, `joined`, `doubtful` or `bad`.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Joined { .. } => "joined",
            Self::Doubtful { .. } => "doubtful",
            Self::Bad { .. } => "bad",
        }
    }

    /// The other row that the verdict is about.
    pub const fn of_row(self) -> Option<u64> {
        match self {
            Self::Joined { into: row } | Self::Doubtful { with: row } => Some(row),
            Self::Created | Self::Bad { .. } => None,
        }
    }

    /// The reason of a bad row.
    pub const fn reason(self) -> Option<&'static str> {
        if let Self::Bad { reason } = self { Some(reason) } else { None }
    }

    /// Whether the row makes a lead of its own.
    pub const fn creates(self) -> bool {
        matches!(self, Self::Created | Self::Doubtful { .. })
    }
}

/// The truth about one row. `Debug` shows no contact, so that a log looks as it must in production.
#[derive(Clone, PartialEq, Eq)]
pub struct Truth {
    /// The source row, from 1.
    pub row: u64,
    /// Who it is, as an index; nobody for a bad row.
    pub person: Option<u64>,
    /// What is to become of it.
    pub verdict: Verdict,
    /// The usable phones of the row in E.164, in the row's order.
    pub phones: Vec<String>,
    /// The usable e-mail of the row in its normal form.
    pub email: Option<String>,
    /// The pool whose agent is to own the lead: its campaign's, or the default one. For a joined row that of the lead
    /// which it joins. None for a bad row.
    pub pool: Option<&'static str>,
    /// The status in which the lead is to end, once it was worked on: that of the row that created it. None for a bad
    /// row.
    pub status: Option<&'static str>,
    /// What the consent columns mean, in their order: call, WhatsApp, SMS, e-mail. None where nothing was said.
    pub consents: [Option<bool>; 4],
}

impl fmt::Debug for Truth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Truth")
            .field("row", &self.row)
            .field("person", &self.person)
            .field("verdict", &self.verdict)
            .finish_non_exhaustive()
    }
}

/// Truths, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Rows of the verdict `created`.
    pub created: u64,
    /// Rows of the verdict `joined`.
    pub joined: u64,
    /// Rows of the verdict `doubtful`; each is a lead, too.
    pub doubtful: u64,
    /// Rows of the verdict `bad`.
    pub bad: u64,
    /// Leads, created or doubtful, by the pool that is to own them.
    pub leads_by_pool: BTreeMap<&'static str, u64>,
}

impl Tally {
    /// Counts one more.
    pub fn add(&mut self, truth: &Truth) {
        match truth.verdict {
            Verdict::Created => self.created += 1,
            Verdict::Joined { .. } => self.joined += 1,
            Verdict::Doubtful { .. } => self.doubtful += 1,
            Verdict::Bad { .. } => self.bad += 1,
        }
        if let (true, Some(pool)) = (truth.verdict.creates(), truth.pool) {
            *self.leads_by_pool.entry(pool).or_default() += 1;
        }
    }

    /// All leads.
    pub const fn leads(&self) -> u64 {
        self.created + self.doubtful
    }
}

impl<'a> FromIterator<&'a Truth> for Tally {
    fn from_iter<I: IntoIterator<Item = &'a Truth>>(truths: I) -> Self {
        truths.into_iter().fold(Self::default(), |mut tally, truth| {
            tally.add(truth);
            tally
        })
    }
}
