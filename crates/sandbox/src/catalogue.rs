//! What leads are made of: given names, parts of surnames, campaigns with their ad sets, ads and forms.

/// Common given names, with the letters that break things: ç ğ ı İ ö ş ü.
pub const GIVEN_NAMES: [&str; 20] = [
    "Ayşe", "Barış", "Çağrı", "Defne", "Ece", "Fatih", "Gökhan", "Hülya", "Işıl", "İpek", "Jale", "Kerem",
    "Leyla", "Mehmet", "Nazlı", "Ömer", "Pınar", "Rüya", "Şule", "Ümit",
];
/// First parts of made-up surnames.
pub const SURNAME_HEADS: [&str; 12] =
    ["Ak", "Bay", "Çı", "Dağ", "Gün", "Işık", "Kara", "Öz", "Şen", "Taş", "Ulu", "Yıl"];
/// Last parts of made-up surnames.
pub const SURNAME_TAILS: [&str; 10] =
    ["başar", "çınar", "dere", "gör", "kuş", "lıoğlu", "öğüt", "savaş", "tepeli", "yürek"];

/// The page that owns the forms.
pub const PAGE_ID: &str = "555000700";

/// A form: its id, its name, its language.
pub const FORMS: [(&str, &str, &str); 2] =
    [("555000401", "Başvuru Formu", "tr"), ("555000402", "Contact Form", "en")];

/// The ids of all forms. Meta's own are longer: a lead of one of these forms is of nobody.
pub const FORM_IDS: [&str; 2] = [FORMS[0].0, FORMS[1].0];

/// A campaign: its id and name.
pub const CAMPAIGNS: [(&str, &str); 3] =
    [("555000101", "Yaz Fırsatı"), ("555000102", "Ücretsiz Görüşme"), ("555000103", "Şehir Dışı")];
/// Ad sets of every campaign, by name.
pub const AD_SETS: [&str; 2] = ["Geniş Kitle", "Benzer Kitle"];
/// Ads of every ad set, by name.
pub const ADS: [&str; 2] = ["Görsel A", "Video B"];

/// Check boxes under every form, by the channel that they are about.
pub const CONSENT_BOXES: [&str; 3] = ["call_consent", "whatsapp_consent", "email_consent"];

/// One lead in so many comes without an ad.
pub const ORGANIC_ONE_IN: u32 = 12;
/// Of a hundred check boxes so many are ticked.
pub const TICKED_PERCENT: u32 = 70;
