//! What each provider's own codes mean: one table for all of them.
//!
//! Providers throttle, refuse and fail under HTTP statuses of their own taste, so the code decides; the HTTP class
//! only where the code is not known. Codes shift: a new one must not become a crash, only a coarser kind.
//!
//! **Invariant:** nothing else in this crate maps a provider's code to a kind. What needs more than the code, as a
//! subcode or a flag beside it, is decided by that provider's client.

use crate::failure::FailureKind::{
    self, AuthExpired, BadAnswer, BadRequest, ConsentMissing, ContentRejected, Duplicate, InsufficientFunds,
    InvalidNumber, InvalidTemplate, NotFound, OptedOut, PermissionDenied, ProviderDown, QualityLimited,
    RateLimited, Timeout, UnreachableContact, WindowClosed,
};

/// Whose codes they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// The Graph API: `error.code`.
    Meta,
    /// The WhatsApp Cloud API: `error.code`, and `errors[].code` of a status. What it does not know itself is the
    /// Graph API's.
    Whatsapp,
    /// Twilio: `code` of an error, `ErrorCode` of a status.
    Twilio,
    /// NetGSM: `code` of the answer to a send.
    Netgsm,
    /// NetGSM: `status` of a message in a report.
    NetgsmReport,
    /// Verimor: words of the SMS API, and causes of a hang-up that are failures. Busy, unanswered and cancelled calls
    /// are outcomes, and stand in no table of failures.
    Verimor,
    /// Google Ads and Google's sign-in: the name of an error.
    GoogleAds,
    /// İYS: `H` and three digits.
    Iys,
    /// SMTP: the reply code, the enhanced status, or both with a space between: `550 5.1.1`.
    Smtp,
    /// Amazon SES: the type of a notification, or of a bounce.
    Ses,
}

/// What kind of failure a code is; an unknown one is what its HTTP status says, and without a status an answer that
/// cannot be understood.
pub fn classify(api: Api, code: &str, http_status: Option<u16>) -> FailureKind {
    find(api, code).unwrap_or_else(|| http_status.map_or(BadAnswer, by_http_status))
}

/// What kind of failure a code is, if it is known.
pub(crate) fn find(api: Api, code: &str) -> Option<FailureKind> {
    let number = || code.parse().ok();
    match api {
        Api::Meta => meta(number()?),
        Api::Whatsapp => whatsapp(number()?).or_else(|| meta(number()?)),
        Api::Twilio => twilio(number()?),
        Api::Netgsm => netgsm(number()?),
        Api::NetgsmReport => netgsm_report(number()?),
        Api::Verimor => verimor(code),
        Api::GoogleAds => google_ads(code),
        Api::Iys => iys(code),
        Api::Smtp => smtp(code),
        Api::Ses => ses(code),
    }
}

/// What an HTTP status says when nothing else does.
pub(crate) fn by_http_status(status: u16) -> FailureKind {
    match status {
        401 => AuthExpired,
        403 => PermissionDenied,
        404 | 410 => NotFound,
        429 => RateLimited,
        408 | 500.. => ProviderDown,
        400..=499 => BadRequest,
        // An error under a success, or a redirect, which is not followed.
        _ => BadAnswer,
    }
}

fn meta(code: u32) -> Option<FailureKind> {
    let kind = match code {
        // Of the app, the user, the page, the account; and of each business use case.
        4 | 17 | 32 | 613 | 80_000..=80_014 => RateLimited,
        1 | 2 => ProviderDown,
        0 | 104 | 190 => AuthExpired,
        3 | 10 | 200..=299 => PermissionDenied,
        33 | 100 => BadRequest,
        _ => return None,
    };
    Some(kind)
}

fn whatsapp(code: u32) -> Option<FailureKind> {
    let kind = match code {
        // The app, the business account, the number, the pair of numbers, registration.
        4 | 80_007 | 130_429 | 131_056 | 133_016 => RateLimited,
        131_048 | 131_049 | 130_472 | 131_064 => QualityLimited,
        131_000 | 131_016 | 131_057 | 135_000 => ProviderDown,
        // 131030: not in the list of a test number.
        368 | 130_497 | 131_005 | 131_030 | 131_031 => PermissionDenied,
        132_000 | 132_001 | 132_005 | 132_007 | 132_008 | 132_012 | 132_015 | 132_016 | 132_068 | 132_069 => {
            InvalidTemplate
        }
        131_047 => WindowClosed,
        131_026 => UnreachableContact,
        131_021 => InvalidNumber,
        131_050 => OptedOut,
        131_042 => InsufficientFunds,
        131_008 | 131_009 | 131_051 => BadRequest,
        _ => return None,
    };
    Some(kind)
}

fn twilio(code: u32) -> Option<FailureKind> {
    let kind = match code {
        429 | 20_429 => RateLimited,
        20_003 => AuthExpired,
        20_403 | 21_408 => PermissionDenied,
        30_003 | 30_005 | 30_006 => UnreachableContact,
        // 13224 is also a carrier's outage: one delayed retry may be allowed.
        13_224 | 21_211 | 21_217 | 21_614 => InvalidNumber,
        21_610 => OptedOut,
        30_007 => ContentRejected,
        _ => return None,
    };
    Some(kind)
}

fn netgsm(code: u32) -> Option<FailureKind> {
    let kind = match code {
        20 => ContentRejected,
        // The password, or an address that is not on the list.
        30 => AuthExpired,
        // 40: no such sender name.
        40 | 70 => BadRequest,
        // The account is not set up for sends under İYS, or has no brand there: nothing of this contact.
        50 | 51 => PermissionDenied,
        60 => InsufficientFunds,
        // 85: too many to one number within a minute.
        80 | 85 => RateLimited,
        100 | 101 => ProviderDown,
        _ => return None,
    };
    Some(kind)
}

/// 0 and 1 are pending and sent: no failures.
fn netgsm_report(status: u32) -> Option<FailureKind> {
    let kind = match status {
        2 => UnreachableContact,
        3 => InvalidNumber,
        // Not handed to the operator; an error on the way; İYS could not be asked.
        4 | 12 | 17 => ProviderDown,
        11 => ContentRejected,
        13 => Duplicate,
        14 => InsufficientFunds,
        15 => OptedOut,
        16 => ConsentMissing,
        _ => return None,
    };
    Some(kind)
}

fn verimor(word: &str) -> Option<FailureKind> {
    let kind = match word {
        "429" => RateLimited,
        "EXPIRED" => UnreachableContact,
        _ if word.starts_with("EC_ABSENT_") => UnreachableContact,
        "INVALID_DESTINATION_ADDRESS" | "UNALLOCATED_NUMBER" => InvalidNumber,
        "NOT_ALLOWED_BY_IYS" => ConsentMissing,
        _ if word.starts_with("BLACKLISTED_") => OptedOut,
        "REJECTED" | "FORBIDDEN_MESSAGE" => ContentRejected,
        "MUKERRER_RAPORLAMA" | "DOUBLE_SEND_ERROR" => Duplicate,
        "INSUFFICIENT_CREDITS" => InsufficientFunds,
        _ => return None,
    };
    Some(kind)
}

fn google_ads(name: &str) -> Option<FailureKind> {
    let kind = match name {
        "RESOURCE_EXHAUSTED" | "RESOURCE_TEMPORARILY_EXHAUSTED" => RateLimited,
        _ if name.starts_with("EXCESSIVE_") => RateLimited,
        "invalid_grant" | "AuthenticationError" => AuthExpired,
        "ACCESS_PROHIBITED" => PermissionDenied,
        _ => return None,
    };
    Some(kind)
}

fn iys(code: &str) -> Option<FailureKind> {
    let kind = match code {
        "H083" | "H124" => RateLimited,
        "H192" => Timeout,
        "H015" | "H101" | "H102" | "H103" | "H123" | "H179" | "H412" | "H470" => ProviderDown,
        "H251" | "H351" => AuthExpired,
        "H121" | "H166" => InvalidNumber,
        "H174" => Duplicate,
        _ => return None,
    };
    Some(kind)
}

/// The enhanced status says more than the reply code, except about our own sign-in.
fn smtp(code: &str) -> Option<FailureKind> {
    let mut parts = code.split_ascii_whitespace().peekable();
    let reply: Option<u16> = parts.next_if(|part| !part.contains('.')).and_then(|part| part.parse().ok());
    if matches!(reply, Some(530 | 534 | 535)) {
        return Some(AuthExpired);
    }
    let enhanced = parts.next().and_then(|part| part.split_once('.'));
    let kind = match (reply, enhanced) {
        (_, Some(("5", "1.1"))) => InvalidNumber,
        (_, Some((_, "2.2"))) | (Some(552), _) => UnreachableContact,
        (_, Some(("5", detail))) if detail.starts_with("7.") => ContentRejected,
        (Some(400..=499), _) | (None, Some(("4", _))) => ProviderDown,
        (Some(500..=599), _) | (None, Some(("5", _))) => UnreachableContact,
        _ => return None,
    };
    Some(kind)
}

fn ses(kind: &str) -> Option<FailureKind> {
    let kind = match kind {
        "Complaint" => OptedOut,
        "Permanent" => InvalidNumber,
        "Transient" => UnreachableContact,
        _ => return None,
    };
    Some(kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by hand from the providers' documents, kind by kind; not from the code above.
    const TABLE: &[(Api, FailureKind, &[&str])] = &[
        (Api::Meta, RateLimited, &["4", "17", "32", "613", "80000", "80004", "80005", "80007", "80014"]),
        (Api::Whatsapp, RateLimited, &["4", "80007", "130429", "131056", "133016"]),
        (
            Api::GoogleAds,
            RateLimited,
            &[
                "RESOURCE_EXHAUSTED",
                "RESOURCE_TEMPORARILY_EXHAUSTED",
                "EXCESSIVE_SHORT_TERM_QUERY_RESOURCE_CONSUMPTION",
                "EXCESSIVE_LONG_TERM_QUERY_RESOURCE_CONSUMPTION",
            ],
        ),
        (Api::Twilio, RateLimited, &["429", "20429"]),
        (Api::Netgsm, RateLimited, &["80", "85"]),
        (Api::Verimor, RateLimited, &["429"]),
        (Api::Iys, RateLimited, &["H124", "H083"]),
        (Api::Whatsapp, QualityLimited, &["131048", "131049", "130472", "131064"]),
        (Api::Iys, Timeout, &["H192"]),
        (Api::Meta, ProviderDown, &["1", "2"]),
        (Api::Whatsapp, ProviderDown, &["131000", "131016", "131057", "135000", "1", "2"]),
        (Api::Netgsm, ProviderDown, &["100", "101"]),
        (Api::NetgsmReport, ProviderDown, &["4", "12", "17"]),
        (Api::Iys, ProviderDown, &["H015", "H101", "H102", "H103", "H123", "H179", "H412", "H470"]),
        (Api::Smtp, ProviderDown, &["421", "450", "451", "452", "4.3.2", "421 4.7.0"]),
        (Api::Meta, AuthExpired, &["0", "190", "104"]),
        (Api::Whatsapp, AuthExpired, &["0", "190"]),
        (Api::GoogleAds, AuthExpired, &["invalid_grant", "AuthenticationError"]),
        (Api::Twilio, AuthExpired, &["20003"]),
        (Api::Netgsm, AuthExpired, &["30"]),
        (Api::Iys, AuthExpired, &["H251", "H351"]),
        (Api::Smtp, AuthExpired, &["535", "535 5.7.8", "530 5.7.0"]),
        (Api::Meta, PermissionDenied, &["3", "10", "200", "230", "299"]),
        (Api::Whatsapp, PermissionDenied, &["131005", "131030", "131031", "368", "130497", "200"]),
        (Api::GoogleAds, PermissionDenied, &["ACCESS_PROHIBITED"]),
        (Api::Twilio, PermissionDenied, &["20403", "21408"]),
        (Api::Netgsm, PermissionDenied, &["50", "51"]),
        (
            Api::Whatsapp,
            InvalidTemplate,
            &[
                "132000", "132001", "132005", "132007", "132008", "132012", "132015", "132016", "132068",
                "132069",
            ],
        ),
        (Api::Whatsapp, WindowClosed, &["131047"]),
        (Api::Whatsapp, UnreachableContact, &["131026"]),
        (Api::Twilio, UnreachableContact, &["30003", "30005", "30006"]),
        (Api::Verimor, UnreachableContact, &["EC_ABSENT_SUBSCRIBER", "EC_ABSENT_SUBSCRIBER_SM", "EXPIRED"]),
        (Api::NetgsmReport, UnreachableContact, &["2"]),
        (Api::Smtp, UnreachableContact, &["452 4.2.2", "552 5.2.2", "552", "5.2.2", "554"]),
        (Api::Ses, UnreachableContact, &["Transient"]),
        (Api::Twilio, InvalidNumber, &["21211", "21217", "21614", "13224"]),
        (Api::Whatsapp, InvalidNumber, &["131021"]),
        (Api::NetgsmReport, InvalidNumber, &["3"]),
        (Api::Verimor, InvalidNumber, &["INVALID_DESTINATION_ADDRESS", "UNALLOCATED_NUMBER"]),
        (Api::Iys, InvalidNumber, &["H121", "H166"]),
        (Api::Smtp, InvalidNumber, &["550 5.1.1", "5.1.1"]),
        (Api::Ses, InvalidNumber, &["Permanent"]),
        (Api::Verimor, ConsentMissing, &["NOT_ALLOWED_BY_IYS"]),
        (Api::NetgsmReport, ConsentMissing, &["16"]),
        (Api::Twilio, OptedOut, &["21610"]),
        (Api::Whatsapp, OptedOut, &["131050"]),
        (Api::NetgsmReport, OptedOut, &["15"]),
        (Api::Verimor, OptedOut, &["BLACKLISTED_DESTINATION_ADDRESS"]),
        (Api::Ses, OptedOut, &["Complaint"]),
        (Api::Twilio, ContentRejected, &["30007"]),
        (Api::Netgsm, ContentRejected, &["20"]),
        (Api::NetgsmReport, ContentRejected, &["11"]),
        (Api::Verimor, ContentRejected, &["REJECTED", "FORBIDDEN_MESSAGE"]),
        (Api::Smtp, ContentRejected, &["550 5.7.1", "5.7.26"]),
        (Api::Verimor, Duplicate, &["MUKERRER_RAPORLAMA", "DOUBLE_SEND_ERROR"]),
        (Api::NetgsmReport, Duplicate, &["13"]),
        (Api::Iys, Duplicate, &["H174"]),
        (Api::Whatsapp, InsufficientFunds, &["131042"]),
        (Api::Netgsm, InsufficientFunds, &["60"]),
        (Api::NetgsmReport, InsufficientFunds, &["14"]),
        (Api::Verimor, InsufficientFunds, &["INSUFFICIENT_CREDITS"]),
        (Api::Meta, BadRequest, &["100", "33"]),
        (Api::Whatsapp, BadRequest, &["131008", "131009", "131051", "100", "33"]),
        (Api::Netgsm, BadRequest, &["70", "40"]),
    ];

    #[test]
    fn every_documented_code_has_its_kind_whatever_the_http_status() {
        for (api, kind, codes) in TABLE {
            for code in *codes {
                for status in [None, Some(200), Some(400), Some(403), Some(500)] {
                    assert_eq!(classify(*api, code, status), *kind, "{api:?} {code} under {status:?}");
                }
            }
        }
    }

    #[test]
    fn an_unknown_code_is_what_the_http_class_says() {
        let apis = [
            (Api::Meta, "987654"),
            (Api::Meta, "79999"),
            (Api::Meta, "80015"),
            (Api::Meta, "300"),
            (Api::Meta, "190/463"),
            (Api::Whatsapp, "139999"),
            (Api::Twilio, "0"),
            (Api::Netgsm, "00"),
            (Api::NetgsmReport, "0"),
            (Api::NetgsmReport, "1"),
            (Api::Verimor, "USER_BUSY"),
            (Api::Verimor, "NO_ANSWER"),
            (Api::Verimor, "ORIGINATOR_CANCEL"),
            (Api::GoogleAds, "QUERY_ERROR"),
            (Api::Iys, "H999"),
            (Api::Smtp, "250"),
            (Api::Ses, "Delivery"),
        ];
        let statuses = [
            (Some(400), BadRequest),
            (Some(401), AuthExpired),
            (Some(403), PermissionDenied),
            (Some(404), NotFound),
            (Some(408), ProviderDown),
            (Some(410), NotFound),
            (Some(422), BadRequest),
            (Some(429), RateLimited),
            (Some(500), ProviderDown),
            (Some(503), ProviderDown),
            (Some(200), BadAnswer),
            (Some(302), BadAnswer),
            (None, BadAnswer),
        ];
        for (api, code) in apis {
            for code in [code, "", " ", "-1", "99999999999999999999"] {
                for (status, kind) in statuses {
                    assert_eq!(classify(api, code, status), kind, "{api:?} {code:?} under {status:?}");
                }
            }
        }
    }
}
