//! Messages fit for a toast: a stable code, Turkish and English, how grave it is, and whether trying again helps. Errors
//! and successes carry them in the same form.

use serde::Serialize;
use sira_domain::calls::{Call, CallStatus};
use sira_providers::FailureKind;
use utoipa::ToSchema;

use super::catalogue::Text;

/// How grave it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// It worked.
    Success,
    /// It goes on.
    Info,
    /// It did not happen, and nobody is to blame.
    Warning,
    /// It failed.
    Error,
}

/// What a person may be shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct Message {
    /// Stable; switch on this.
    #[schema(example = "call_ringing")]
    pub code: &'static str,
    /// In Turkish.
    pub tr: &'static str,
    /// In English.
    pub en: &'static str,
    /// How grave it is.
    pub severity: Severity,
    /// Whether doing the same again may work.
    pub retryable: bool,
    /// Seconds to wait before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Message {
    /// Nothing is to be tried again.
    pub const fn new(code: &'static str, severity: Severity, text: Text) -> Self {
        Self { code, tr: text.tr, en: text.en, severity, retryable: false, retry_after: None }
    }

    const fn again(self) -> Self {
        Self { retryable: true, ..self }
    }
}

/// A note was stored.
pub const NOTE_ADDED: Message =
    Message::new("note_added", Severity::Success, Text { tr: "Not kaydedildi.", en: "The note is saved." });
/// The outcome of a call was stored.
pub const OUTCOME_RECORDED: Message = Message::new(
    "outcome_recorded",
    Severity::Success,
    Text { tr: "Görüşme sonucu kaydedildi.", en: "The outcome of the call is saved." },
);
/// An import waits for its file.
pub const IMPORT_CREATED: Message = Message::new(
    "import_created",
    Severity::Info,
    Text { tr: "Şimdi dosyayı yükleyin.", en: "Now send the file." },
);
/// A file is here and can be read.
pub const IMPORT_CHECKED: Message = Message::new(
    "import_checked",
    Severity::Success,
    Text {
        tr: "Dosya okundu. Eşlemeyi onaylayıp başlatın.",
        en: "The file can be read. Confirm the mapping and start.",
    },
);
/// An import runs.
pub const IMPORT_STARTED: Message = Message::new(
    "import_started",
    Severity::Info,
    Text { tr: "Aktarım başladı.", en: "The import has begun." },
);
/// An import's leads are being taken back.
pub const IMPORT_UNDOING: Message = Message::new(
    "import_undoing",
    Severity::Info,
    Text { tr: "Aktarım geri alınıyor.", en: "The import is being undone." },
);
/// A bad row is a lead's enquiry.
pub const ROW_MENDED: Message = Message::new(
    "row_mended",
    Severity::Success,
    Text { tr: "Satır düzeltildi ve aktarıldı.", en: "The row is mended and imported." },
);
/// An event left the quarantine.
pub const EVENT_RELEASED: Message = Message::new(
    "event_released",
    Severity::Success,
    Text { tr: "Olay yeniden deneniyor.", en: "The event is tried again." },
);
/// A job is due again.
pub const JOB_RETRIED: Message = Message::new(
    "job_retried",
    Severity::Success,
    Text { tr: "İş yeniden sıraya alındı.", en: "The job is due again." },
);
/// Nothing more of a queue is claimed.
pub const QUEUE_PAUSED: Message = Message::new(
    "queue_paused",
    Severity::Success,
    Text { tr: "Kuyruk durduruldu.", en: "The queue is paused." },
);
/// A queue's jobs run again.
pub const QUEUE_RESUMED: Message = Message::new(
    "queue_resumed",
    Severity::Success,
    Text { tr: "Kuyruk sürüyor.", en: "The queue goes on." },
);
/// A job is due at another time.
pub const JOB_RESCHEDULED: Message = Message::new(
    "job_rescheduled",
    Severity::Success,
    Text { tr: "İşin zamanı değişti.", en: "The job is due at its new time." },
);
/// Many jobs are acted on.
pub const BULK_STARTED: Message = Message::new(
    "bulk_started",
    Severity::Info,
    Text {
        tr: "İşlem başladı; ne kadar ilerlediğini izleyebilirsiniz.",
        en: "It has begun; watch how far it has come.",
    },
);
/// An act on many jobs goes no further.
pub const BULK_STOPPED: Message = Message::new(
    "bulk_stopped",
    Severity::Success,
    Text { tr: "İşlem durduruldu. Yapılanlar kaldı.", en: "It is stopped. What was done stays done." },
);
/// A workflow has ended.
pub const WORKFLOW_CANCELLED: Message = Message::new(
    "workflow_cancelled",
    Severity::Success,
    Text { tr: "Akış bitirildi.", en: "The workflow has ended." },
);
/// A workflow goes on.
pub const WORKFLOW_RETRIED: Message = Message::new(
    "workflow_retried",
    Severity::Success,
    Text { tr: "Akış sürüyor.", en: "The workflow goes on." },
);
/// A queue or a gate has these limits from now on.
pub const LIMITS_EDITED: Message = Message::new(
    "limits_edited",
    Severity::Success,
    Text { tr: "Sınırlar değişti.", en: "The limits are changed." },
);
/// A gate's breaker is closed.
pub const GATE_RESET: Message = Message::new(
    "gate_reset",
    Severity::Success,
    Text { tr: "Bekleyen işler yeniden denenecek.", en: "What waited is let through again." },
);
/// A schedule fires as it was told from now on.
pub const SCHEDULE_EDITED: Message = Message::new(
    "schedule_edited",
    Severity::Success,
    Text { tr: "Zamanlama değiştirildi.", en: "The schedule is changed." },
);
/// A schedule fires no more.
pub const SCHEDULE_PAUSED: Message = Message::new(
    "schedule_paused",
    Severity::Success,
    Text { tr: "Zamanlama durduruldu.", en: "The schedule is paused." },
);
/// A schedule fires again.
pub const SCHEDULE_RESUMED: Message = Message::new(
    "schedule_resumed",
    Severity::Success,
    Text { tr: "Zamanlama sürüyor.", en: "The schedule goes on." },
);
/// A schedule's job was enqueued beside its slots.
pub const SCHEDULE_RUN: Message = Message::new(
    "schedule_run",
    Severity::Success,
    Text { tr: "İş sıraya alındı.", en: "The job is enqueued." },
);
/// An equal job waited, and is due.
pub const JOB_MERGED: Message = Message::new(
    "job_merged",
    Severity::Success,
    Text { tr: "Bekleyen aynı iş öne alındı.", en: "An equal job waited; it is due now." },
);
/// A job was ended.
pub const JOB_CANCELLED: Message = Message::new(
    "job_cancelled",
    Severity::Success,
    Text { tr: "İş iptal edildi.", en: "The job is cancelled." },
);
/// An import is to be stopped.
pub const OPERATION_CANCELLED: Message = Message::new(
    "operation_cancelled",
    Severity::Info,
    Text { tr: "İşlem durduruluyor.", en: "The operation is being stopped." },
);
/// A lead went back to its pool.
pub const LEAD_REDISTRIBUTED: Message = Message::new(
    "lead_redistributed",
    Severity::Success,
    Text { tr: "Kayıt yeniden dağıtıma verildi.", en: "The lead is given out again." },
);
/// Two leads are one.
pub const LEADS_MERGED: Message = Message::new(
    "leads_merged",
    Severity::Success,
    Text { tr: "Kayıtlar birleştirildi.", en: "The leads are merged." },
);
/// Two leads are two.
pub const LEADS_KEPT_APART: Message = Message::new(
    "leads_kept_apart",
    Severity::Success,
    Text { tr: "Kayıtlar ayrı tutuldu.", en: "The leads are kept apart." },
);
/// A merge was taken back.
pub const LEADS_UNMERGED: Message = Message::new(
    "leads_unmerged",
    Severity::Success,
    Text { tr: "Birleştirme geri alındı.", en: "The merge is taken back." },
);
/// A wrong number was replaced.
pub const CONTACT_CORRECTED: Message = Message::new(
    "contact_corrected",
    Severity::Success,
    Text { tr: "Telefon numarası düzeltildi.", en: "The phone number is corrected." },
);
/// A follow-up is done.
pub const FOLLOW_UP_DONE: Message = Message::new(
    "follow_up_done",
    Severity::Success,
    Text { tr: "Takip tamamlandı.", en: "The follow-up is done." },
);

/// What a call's state says to the agent who waits for it.
pub fn of_call(call: &Call) -> Message {
    if let (CallStatus::Failed, Some(failure)) = (call.session.status, &call.session.failure) {
        let kind = FailureKind::ALL.into_iter().find(|kind| kind.name() == failure);
        let message = of_failure(kind.unwrap_or(FailureKind::BadAnswer));
        let retry_after = call.retry_after_s.and_then(|seconds| u64::try_from(seconds).ok());
        return Message { retry_after, ..message };
    }
    of_status(call.session.status)
}

fn of_status(status: CallStatus) -> Message {
    use Severity::{Error, Info, Success, Warning};
    let new = |code, severity, tr, en| Message::new(code, severity, Text { tr, en });
    match status {
        CallStatus::Queued => {
            new("call_queued", Info, "Arama sıraya alındı.", "The call is about to be placed.")
        }
        CallStatus::Initiated => {
            new("call_initiated", Info, "Önce sizin hattınız aranıyor.", "Your own line is being rung first.")
        }
        CallStatus::Ringing => {
            new("call_ringing", Info, "Karşı taraf çalıyor.", "The other side is ringing.")
        }
        CallStatus::InProgress => new("call_in_progress", Success, "Görüşme başladı.", "You are connected."),
        CallStatus::Completed => new("call_completed", Success, "Görüşme tamamlandı.", "The call has ended."),
        CallStatus::Busy => {
            new("call_busy", Warning, "Karşı taraf meşgul.", "The other side is busy.").again()
        }
        CallStatus::NoAnswer => {
            new("call_no_answer", Warning, "Karşı taraf cevap vermedi.", "The other side did not answer.")
                .again()
        }
        CallStatus::Canceled => new(
            "call_canceled",
            Warning,
            "Hattınız açılmadan arama sona erdi.",
            "The call ended before your line was answered.",
        )
        .again(),
        CallStatus::Failed => {
            new("call_failed", Error, "Arama yapılamadı.", "The call could not be made.").again()
        }
        CallStatus::Expired => new(
            "call_expired",
            Warning,
            "Aramanın nasıl bittiği öğrenilemedi. Sonucu siz kaydedin.",
            "How the call ended could not be learnt. Record its outcome yourself.",
        ),
        CallStatus::Unknown => new(
            "call_unknown",
            Warning,
            "Aramanın yapılıp yapılmadığı bilinmiyor; kendiliğinden tekrar aranmadı. Emin olup yeniden deneyin.",
            "Whether the call was made is not known, and it was not tried again. Make sure, then try again.",
        ),
    }
}

/// What a provider's failure says to the person who waits.
pub fn of_failure(kind: FailureKind) -> Message {
    use FailureKind as K;
    use Severity::{Error, Warning};
    let new = |code, severity, tr, en| Message::new(code, severity, Text { tr, en });
    match kind {
        K::RateLimited => new(
            "provider_rate_limited",
            Warning,
            "Sağlayıcının sınırına ulaşıldı. Birazdan yeniden deneyin.",
            "The provider's limit is reached. Try again in a moment.",
        )
        .again(),
        K::QualityLimited => new(
            "provider_quality_limited",
            Warning,
            "Sağlayıcı bu gönderimi şimdilik kısıtlıyor. Yarın yeniden deneyin.",
            "The provider holds this back for now. Try again tomorrow.",
        ),
        K::Timeout => new(
            "provider_timeout",
            Warning,
            "Sağlayıcı zamanında yanıt vermedi; ne olduğu soruluyor.",
            "The provider did not answer in time; it is being asked what happened.",
        ),
        K::ProviderDown => new(
            "provider_down",
            Error,
            "Sağlayıcıya ulaşılamıyor. Birazdan yeniden deneyin.",
            "The provider is not reachable. Try again in a moment.",
        )
        .again(),
        K::AuthExpired => new(
            "provider_auth_expired",
            Error,
            "Sağlayıcı bağlantısının yetkisi sona ermiş. Yöneticinize bildirin.",
            "The connection to the provider has expired. Tell your administrator.",
        ),
        K::PermissionDenied => new(
            "provider_permission_denied",
            Error,
            "Sağlayıcı bu işleme izin vermiyor. Yöneticinize bildirin.",
            "The provider does not permit this. Tell your administrator.",
        ),
        K::InvalidTemplate => new(
            "invalid_template",
            Error,
            "Şablon onaylı değil ya da değişkenleri eksik. Başka bir şablon seçin.",
            "The template is not approved or lacks variables. Choose another one.",
        ),
        K::WindowClosed => new(
            "window_closed",
            Warning,
            "24 saatlik yazışma süresi doldu. Bir şablonla yazın.",
            "The 24-hour window is over. Write with a template.",
        ),
        K::UnreachableContact => new(
            "unreachable_contact",
            Warning,
            "Kişiye ulaşılamıyor. Başka bir kanal deneyin.",
            "The person cannot be reached. Try another channel.",
        ),
        K::InvalidNumber => new(
            "invalid_number",
            Error,
            "Numara geçerli değil. Kaydı Yanlış Numara olarak işaretleyin.",
            "The number is not valid. Mark the lead as Wrong number.",
        ),
        K::ConsentMissing => new(
            "consent_missing",
            Warning,
            "Kişinin bu kanal için izni yok.",
            "The person has not agreed to this channel.",
        ),
        K::OptedOut => new(
            "opted_out",
            Warning,
            "Kişi bu kanaldan aranmak istemiyor.",
            "The person does not want to be contacted on this channel.",
        ),
        K::ContentRejected => new(
            "content_rejected",
            Error,
            "Sağlayıcı içeriği reddetti. Metni değiştirin.",
            "The provider rejected the content. Change the text.",
        ),
        K::Duplicate => new("duplicate", Warning, "Bu işlem zaten yapılmıştı.", "This was done already."),
        K::InsufficientFunds => new(
            "insufficient_funds",
            Error,
            "Sağlayıcı hesabında bakiye yetersiz. Yöneticinize bildirin.",
            "The provider's account has no credit. Tell your administrator.",
        ),
        K::NotFound | K::BadRequest | K::BadAnswer => new(
            "provider_error",
            Error,
            "Sağlayıcı isteği anlamadı. Sürerse yöneticinize bildirin.",
            "The provider did not understand the request. If it stays, tell your administrator.",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_and_every_failure_has_a_message_in_both_languages() {
        let states = CallStatus::ALL.into_iter().map(of_status);
        let all: Vec<Message> = states.chain(FailureKind::ALL.into_iter().map(of_failure)).collect();
        for message in &all {
            assert!(message.tr.ends_with('.') && message.en.ends_with('.'), "{}", message.code);
            assert_ne!(message.tr, message.en);
            assert!(message.code.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{}", message.code);
        }
        // A message says that trying again helps exactly where the taxonomy lets a person do so.
        for kind in [FailureKind::RateLimited, FailureKind::ProviderDown] {
            assert!(of_failure(kind).retryable, "{kind:?}");
        }
        for kind in [FailureKind::Timeout, FailureKind::OptedOut, FailureKind::InvalidNumber] {
            assert!(!of_failure(kind).retryable, "{kind:?}");
        }
    }
}
