//! What leads are made of: names, countries, cities, operations, campaigns, words for yes and no.

/// Common given names, with the letters that break things: ç ğ ı İ ö ş ü.
pub(crate) const GIVEN_NAMES_TURKISH: [&str; 24] = [
    "Ayşe", "Barış", "Çağrı", "Defne", "Ece", "Fatih", "Gökhan", "Hülya", "Işıl", "İpek", "Jale", "Kerem",
    "Leyla", "Mehmet", "Nazlı", "Ömer", "Pınar", "Rüya", "Şule", "Ümit", "Tuğba", "Volkan", "Yiğit",
    "Zeynep",
];
/// First parts of made-up surnames.
pub(crate) const SURNAME_HEADS_TURKISH: [&str; 12] =
    ["Ak", "Bay", "Çı", "Dağ", "Gün", "Işık", "Kara", "Öz", "Şen", "Taş", "Ulu", "Yıl"];
/// Last parts of made-up surnames.
pub(crate) const SURNAME_TAILS_TURKISH: [&str; 10] =
    ["başar", "çınar", "dere", "gör", "kuş", "lıoğlu", "öğüt", "savaş", "tepeli", "yürek"];
/// Given names from elsewhere.
pub(crate) const GIVEN_NAMES_FOREIGN: [&str; 20] = [
    "Alice", "Anna", "Ben", "Clara", "Daniel", "Emma", "Felix", "Grace", "Hannah", "Jack", "Jonas", "Laura",
    "Lukas", "Maria", "Nora", "Oliver", "Paula", "Sophie", "Thomas", "William",
];
/// First parts of made-up surnames from elsewhere.
pub(crate) const SURNAME_HEADS_FOREIGN: [&str; 10] =
    ["Ash", "Brook", "Elm", "Fair", "Grün", "Holl", "Linden", "Mühl", "Stone", "Winter"];
/// Last parts of made-up surnames from elsewhere.
pub(crate) const SURNAME_TAILS_FOREIGN: [&str; 10] =
    ["bach", "berry", "dale", "feld", "ham", "hurst", "mark", "stein", "well", "wick"];

/// Domains that belong to nobody (RFC 2606).
pub(crate) const EMAIL_DOMAINS: [&str; 3] = ["example.com", "example.org", "example.net"];

/// A country that leads come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Country {
    Turkiye,
    UnitedKingdom,
    UnitedStates,
    Germany,
}

impl Country {
    /// All countries, each with its share among persons without a phone, of a hundred. Of others the number decides.
    pub(crate) const SHARES: [(Self, u32); 4] =
        [(Self::Turkiye, 80), (Self::UnitedKingdom, 7), (Self::UnitedStates, 5), (Self::Germany, 8)];

    /// ISO 3166.
    pub(crate) const fn iso(self) -> &'static str {
        match self {
            Self::Turkiye => "TR",
            Self::UnitedKingdom => "GB",
            Self::UnitedStates => "US",
            Self::Germany => "DE",
        }
    }

    /// The calling code, without a plus.
    pub(crate) const fn calling_code(self) -> &'static str {
        match self {
            Self::Turkiye => "90",
            Self::UnitedKingdom => "44",
            Self::UnitedStates => "1",
            Self::Germany => "49",
        }
    }

    /// Languages of its leads, each with its share of a hundred.
    pub(crate) const fn languages(self) -> &'static [(&'static str, u32)] {
        match self {
            Self::Turkiye => &[("tr", 94), ("en", 6)],
            Self::UnitedKingdom | Self::UnitedStates => &[("en", 90), ("tr", 10)],
            Self::Germany => &[("de", 65), ("tr", 35)],
        }
    }

    /// Some of its cities.
    pub(crate) const fn cities(self) -> &'static [&'static str] {
        match self {
            Self::Turkiye => &[
                "İstanbul",
                "Ankara",
                "İzmir",
                "Bursa",
                "Antalya",
                "Adana",
                "Muğla",
                "Eskişehir",
                "Diyarbakır",
                "Şanlıurfa",
                "Trabzon",
                "Kayseri",
            ],
            Self::UnitedKingdom => &["London", "Leeds", "Manchester", "Glasgow"],
            Self::UnitedStates => &["New York", "Chicago", "Houston", "Seattle"],
            Self::Germany => &["Berlin", "Hamburg", "Köln", "München"],
        }
    }
}

/// An operation, as it is called in Turkish and in every other language, and its share of a hundred.
pub(crate) const OPERATIONS: [(&str, &str, u32); 8] = [
    ("Saç Ekimi", "Hair Transplant", 38),
    ("Diş Tedavisi", "Dental", 22),
    ("Burun Estetiği", "Rhinoplasty", 13),
    ("Göz Lazer", "Eye Laser", 8),
    ("Mide Küçültme", "Gastric Sleeve", 7),
    ("Liposuction", "Liposuction", 5),
    ("Meme Estetiği", "Breast Surgery", 5),
    ("Sakal Ekimi", "Beard Transplant", 2),
];

/// A campaign: its id, name, channel and language.
pub(crate) struct Campaign {
    pub(crate) id: &'static str,
    pub(crate) name: &'static str,
    pub(crate) channel: &'static str,
    pub(crate) language: &'static str,
}

const fn campaign(
    id: &'static str,
    name: &'static str,
    channel: &'static str,
    language: &'static str,
) -> Campaign {
    Campaign { id, name, channel, language }
}

/// Every campaign is in one language.
pub(crate) const CAMPAIGNS: [Campaign; 9] = [
    campaign("555010101", "Yaz Fırsatı", "meta", "tr"),
    campaign("555010102", "Ücretsiz Görüşme", "meta", "tr"),
    campaign("555010103", "Şehir Dışı", "meta", "tr"),
    campaign("555010104", "Arama: Saç Ekimi", "google_ads", "tr"),
    campaign("555010105", "Summer Offer", "meta", "en"),
    campaign("555010106", "Free Consultation; Abroad", "meta", "en"),
    campaign("555010107", "Search: Dental", "google_ads", "en"),
    campaign("555010108", "Sommerangebot", "meta", "de"),
    campaign("555010109", "Suche: Haartransplantation", "google_ads", "de"),
];
/// Ad sets of every campaign, by name. One has a comma and quotation marks in it, for those who read the file.
pub(crate) const AD_SETS: [&str; 3] = ["Geniş Kitle", "Benzer Kitle", "Yeniden Hedef, \"sıcak\""];
/// Ads of every ad set, by name.
pub(crate) const ADS: [&str; 3] = ["Görsel A", "Video B", "Karusel C"];

/// A form: its id, its name, its language.
pub(crate) const FORMS: [(&str, &str, &str); 3] = [
    ("555010401", "Başvuru Formu", "tr"),
    ("555010402", "Contact Form", "en"),
    ("555010403", "Kontaktformular", "de"),
];

/// The ids of all forms. Platforms' own are longer: a lead of one of these forms is of nobody.
pub const FORM_IDS: [&str; 3] = [FORMS[0].0, FORMS[1].0, FORMS[2].0];

/// Statuses, by our codes, each with its share of a hundred.
pub(crate) const STATUSES: [(&str, u32); 10] = [
    ("new", 40),
    ("no_answer", 18),
    ("interested", 10),
    ("not_interested", 9),
    ("wrong_number", 4),
    ("blocked", 1),
    ("qualified", 6),
    ("proposal", 4),
    ("sale", 3),
    ("lost", 5),
];

/// What stands in a consent column, what it means, and its share of a hundred.
pub(crate) const CONSENT_WORDS: [(&str, Option<bool>, u32); 11] = [
    ("evet", Some(true), 26),
    ("Evet", Some(true), 6),
    ("EVET", Some(true), 4),
    ("1", Some(true), 14),
    ("true", Some(true), 12),
    ("hayir", Some(false), 6),
    ("hayır", Some(false), 6),
    ("Hayır", Some(false), 3),
    ("0", Some(false), 7),
    ("false", Some(false), 4),
    ("", None, 12),
];
