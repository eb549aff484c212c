//! Every problem that the API answers with: its stable code, its status, and what people read, in Turkish and
//! English. The pages behind a problem's `type` are made of the same rows.

use super::message::Severity;

/// A text in the languages that the product speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Text {
    /// Turkish.
    pub tr: &'static str,
    /// English.
    pub en: &'static str,
}

/// A language that the product speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// Turkish.
    Tr,
    /// English.
    En,
}

impl Text {
    /// The text in this language.
    pub const fn in_language(self, language: Language) -> &'static str {
        match language {
            Language::Tr => self.tr,
            Language::En => self.en,
        }
    }
}

/// A row of the catalogue.
#[derive(Debug, Clone, Copy)]
pub struct Entry {
    /// Stable; clients switch on it.
    pub name: &'static str,
    /// HTTP status.
    pub status: u16,
    /// Whether the very same request may succeed later.
    pub retryable: bool,
    /// What it is.
    pub title: Text,
    /// What to do.
    pub detail: Text,
}

macro_rules! catalogue {
    ($($code:ident $name:literal $status:literal $retryable:literal
        { $title_tr:literal, $title_en:literal } { $detail_tr:literal, $detail_en:literal })*) => {
        /// What kind of problem it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Code { $(#[doc = $title_en] $code,)* }

        impl Code {
            /// All codes.
            pub const ALL: &[Self] = &[$(Self::$code,)*];

            /// The catalogue's row.
            pub const fn entry(self) -> Entry {
                match self {
                    $(Self::$code => Entry {
                        name: $name,
                        status: $status,
                        retryable: $retryable,
                        title: Text { tr: $title_tr, en: $title_en },
                        detail: Text { tr: $detail_tr, en: $detail_en },
                    },)*
                }
            }
        }
    };
}

catalogue! {
    MalformedJson "malformed_json" 400 false
        { "Gövde JSON değil", "The body is not JSON" }
        { "İstek gövdesi okunamadı. Geçerli, UTF-8 kodlu bir JSON gönderin.",
          "The request body could not be read. Send valid JSON in UTF-8." }
    InvalidQuery "invalid_query" 400 false
        { "Sorgu parametresi geçersiz", "A query parameter is not valid" }
        { "Bilinmeyen ya da hatalı bir sorgu parametresi var. errors alanına bakın.",
          "A query parameter is unknown or has a wrong value. See errors." }
    InvalidHeader "invalid_header" 400 false
        { "Başlık geçersiz", "A header is not valid" }
        { "Bir istek başlığının biçimi hatalı. errors alanına bakın.",
          "A request header has a wrong form. See errors." }
    CursorInvalid "cursor_invalid" 400 false
        { "İmleç geçersiz", "The cursor is not valid" }
        { "Bu imleç bizden değil ya da değiştirilmiş. Listeyi baştan okuyun.",
          "This cursor is not ours or was changed. Read the list from its beginning." }
    CursorMismatch "cursor_mismatch" 400 false
        { "İmleç başka bir listeye ait", "The cursor belongs to another list" }
        { "İmleç, aynı filtre ve sıralamayla kullanılır. Filtreleri değiştirdiyseniz listeyi baştan okuyun.",
          "A cursor goes with the filters and the sort it was given for. After a change, read from the beginning." }
    IdempotencyKeyRequired "idempotency_key_required" 400 false
        { "Idempotency-Key gerekli", "Idempotency-Key is required" }
        { "Her yeni istek için yeni bir Idempotency-Key gönderin; tekrar denerken aynısını kullanın.",
          "Send a new Idempotency-Key with every new request, and the same one when you try again." }
    Unauthenticated "unauthenticated" 401 false
        { "Oturum gerekli", "Sign in first" }
        { "Erişim belirteci yok, süresi dolmuş ya da geçersiz. Yeniden oturum açın.",
          "The access token is missing, expired or not valid. Sign in again." }
    SignInRefused "sign_in_refused" 401 false
        { "Oturum açılamadı", "Not signed in" }
        { "Kullanıcı adı ya da parola hatalı.", "The username or the password is wrong." }
    SignatureInvalid "signature_invalid" 401 false
        { "İmza doğrulanamadı", "The signature is not right" }
        { "İstek, beklenen gizli anahtarla imzalanmamış.",
          "The request is not signed with the expected secret." }
    Forbidden "forbidden" 403 false
        { "Yetkiniz yok", "Not allowed" }
        { "Bu işlem için rolünüzün yetkisi yok. Gerekiyorsa yöneticinizden isteyin.",
          "Your role does not include this. Ask an administrator if you need it." }
    NotFound "not_found" 404 false
        { "Bulunamadı", "Not found" }
        { "Böyle bir kayıt yok ya da size açık değil.", "There is no such thing, or it is not yours to see." }
    MethodNotAllowed "method_not_allowed" 405 false
        { "Bu yöntem desteklenmiyor", "Method not allowed" }
        { "Bu adres başka bir HTTP yöntemi bekliyor. Allow başlığına bakın.",
          "This address expects another HTTP method. See the Allow header." }
    Timeout "timeout" 408 true
        { "İstek zamanında bitmedi", "The request took too long" }
        { "İstek süresi içinde tamamlanamadı. Aynı Idempotency-Key ile yeniden deneyin.",
          "The request did not end in time. Try again with the same Idempotency-Key." }
    NotSealed "not_sealed" 409 true
        { "Henüz mühürlenmedi", "Not sealed yet" }
        { "Denetim kaydı birkaç saniye içinde mühürlenir. Birazdan yeniden deneyin.",
          "The audit log is sealed within seconds. Try again in a moment." }
    IdempotencyInFlight "idempotency_in_flight" 409 true
        { "Aynı istek sürüyor", "The same request is in flight" }
        { "Bu Idempotency-Key ile bir istek şu anda işleniyor. Birazdan yeniden deneyin.",
          "A request with this Idempotency-Key is being handled. Try again in a moment." }
    NotLeadOwner "not_lead_owner" 403 false
        { "Kayıt sizin değil", "Not your lead" }
        { "Bu kaydı yalnızca sahibi ya da ekibinin yöneticisi arayabilir.",
          "Only the lead's owner, or a manager of the team, may call it." }
    TransitionNotAllowed "transition_not_allowed" 409 false
        { "Bu durum değişikliğine izin yok", "This status does not follow" }
        { "Kaydın durumundan buraya geçilemez ya da rolünüz yetmiyor. allowed alanına bakın.",
          "It does not follow the lead's status, or not for your role. See allowed." }
    NotInQueue "not_in_queue" 409 false
        { "Kayıt yönetici kuyruğunda değil", "The lead is not with the administrators" }
        { "Yalnızca yönetici kuyruğundaki kayıtlar yeniden dağıtılabilir.",
          "Only leads of the administrators' queue can be given out again." }
    ImportWrongState "import_wrong_state" 409 false
        { "Aktarımın durumu buna uygun değil", "The import is not in a state for this" }
        { "Aktarımın durumuna bakın: önce dosya yüklenir, sonra başlatılır; biten aktarım geri alınabilir.",
          "Look at the import's state: the file comes first, then the start; one that has ended can be undone." }
    NoContactColumn "no_contact_column" 422 false
        { "İletişim sütunu eşlenmemiş", "No column is mapped to a contact" }
        { "En az bir sütunu phone ya da email olarak eşleyin.", "Map at least one column to phone or email." }
    FileEmpty "file_empty" 422 false
        { "Dosya boş", "The file is empty" }
        { "Dosyada hiçbir şey yok. Doğru dosyayı seçtiğinizden emin olun.",
          "There is nothing in the file. Make sure that it is the right one." }
    FileWithoutRows "file_without_rows" 422 false
        { "Dosyada satır yok", "The file has no rows" }
        { "Dosyada yalnızca başlıklar var.", "The file has headings and nothing else." }
    FileIsSpreadsheet "file_is_spreadsheet" 422 false
        { "Bu bir Excel dosyası", "This is a spreadsheet" }
        { "Dosyayı CSV UTF-8 olarak kaydedip onu yükleyin.", "Save it as CSV UTF-8 and send that." }
    FileIsCompressed "file_is_compressed" 422 false
        { "Dosya sıkıştırılmış", "The file is compressed" }
        { "Önce dosyayı açın.", "Unpack it first." }
    FileIsDocument "file_is_document" 422 false
        { "Bu bir tablo değil", "This is a document and no table" }
        { "Tabloyu CSV olarak dışa aktarın.", "Export the table as CSV." }
    FileIsBinary "file_is_binary" 422 false
        { "Dosya metin değil", "The file is not text" }
        { "Tabloyu CSV olarak dışa aktarın.", "Export the table as CSV." }
    FileWithoutHeadings "file_without_headings" 422 false
        { "Başlık satırı yok", "There is no row of headings" }
        { "İlk satıra sütun adlarını yazın: ad soyad, telefon, e-posta.",
          "Name the columns in the first line, as in: name,phone,email." }
    FileHasTooManyColumns "file_has_too_many_columns" 422 false
        { "Sütun sayısı çok fazla", "There are too many columns" }
        { "En çok 200 sütun olabilir. Ayraç doğru mu?", "There may be 200 at most. Is the delimiter right?" }
    FileTooLarge "file_too_large" 413 false
        { "Dosya çok büyük", "The file is too large" }
        { "En çok 2 GiB. Dosyayı bölün.", "2 GiB at most. Split the file." }
    LeadUncontactable "lead_uncontactable" 409 false
        { "Numara düzeltilmeden dağıtılamaz", "The number must be corrected first" }
        { "Kaydın numarası yanlış olarak işaretli. Önce doğru numarayı girin.",
          "The lead's number is marked as wrong. Enter the right one first." }
    PhoneTaken "phone_taken" 409 false
        { "Numara başka bir kayda ait", "The number belongs to another lead" }
        { "Bu numarayla başka bir kayıt var. O kayıtla çalışın.",
          "Another lead has this number. Work with that one." }
    LeadMerged "lead_merged" 409 false
        { "Kayıt başka bir kayıtla birleştirilmiş", "The lead is part of another one" }
        { "Bu kayıt başka bir kayıtla birleştirilmiş. mergedInto alanındaki kayıtla çalışın.",
          "This lead was merged into another one. Work with the one that its mergedInto names." }
    AlreadyMerged "already_merged" 409 false
        { "Kayıtlar zaten birleştirilmiş", "The leads are merged already" }
        { "Bu iki kayıt birleştirilmiş. Ayırmak için birleştirmeyi geri alın.",
          "These two leads are one. To part them, take the merge back." }
    NotMerged "not_merged" 409 false
        { "Kayıtlar birleştirilmemiş", "The leads are not merged" }
        { "Geri alınacak bir birleştirme yok.", "There is no merge to take back." }
    UnmergeTooLate "unmerge_too_late" 409 false
        { "Geri alma süresi doldu", "Too late to take it back" }
        { "Bir birleştirme 30 gün içinde geri alınabilir.", "A merge can be taken back for 30 days." }
    SurvivorClosed "survivor_closed" 409 false
        { "Kalacak kayıt kapalı", "The lead that is to stay is closed" }
        { "Açık bir kayıt kapalı bir kayda eklenmez. Açık olanı seçin ya da kapalı olanı yeniden açın.",
          "An open lead is not merged into a closed one. Choose the open one, or open the closed one again." }
    OptedOut "opted_out" 409 false
        { "Kişi aranmak istemiyor", "The person opted out" }
        { "Kişi bu kanaldan iletişimi durdurdu. Bu kanaldan aramayın.",
          "The person said stop on this channel. Do not use it." }
    ConsentMissing "consent_missing" 409 false
        { "İzin yok", "No consent" }
        { "Ticari arama için kişinin onayı gerekir ve kayıtta yok.",
          "A commercial call needs the person's consent, and there is none on record." }
    CoolingOff "cooling_off" 409 false
        { "Bekleme süresi dolmadı", "Cooling-off" }
        { "Bu kaydı bir süre siz arayamazsınız. Kayıt başka bir temsilciye verilecek.",
          "You do not get this lead for a while. It goes to another agent." }
    LeadClosed "lead_closed" 409 false
        { "Kayıt kapalı", "The lead is closed" }
        { "Kapalı kayıt aranmaz. Gerekirse yöneticiniz yeniden açabilir.",
          "A closed lead is not called. Your manager can open it again if need be." }
    TestLead "test_lead" 409 false
        { "Deneme kaydı", "A test lead" }
        { "Deneme kayıtları dağıtılmaz ve aranmaz.", "Test leads are neither given out nor called." }
    NoNumber "no_number" 409 false
        { "Aranacak numara yok", "No number to call" }
        { "Kayıtta geçerli bir telefon numarası yok ya da yanlış olarak işaretli.",
          "The lead has no phone number, or it is marked as wrong." }
    NoLine "no_line" 409 false
        { "Hattınız tanımlı değil", "You have no line" }
        { "Arama yapabilmek için yöneticinizden size bir dahili hat tanımlamasını isteyin.",
          "To place calls, ask your administrator to give you an extension." }
    CallInProgress "call_in_progress" 409 true
        { "Kayıt şu anda aranıyor", "The lead is being called" }
        { "Bu kayıt için süren bir arama var. Bitince yeniden deneyin.",
          "A call to this lead is under way. Try again when it has ended." }
    CallNotOver "call_not_over" 409 true
        { "Arama sürüyor", "The call is not over" }
        { "Sonuç, arama bitince kaydedilir.", "The outcome is recorded when the call has ended." }
    OutcomeOnRecord "outcome_on_record" 409 false
        { "Sonuç zaten kayıtlı", "The outcome is on record" }
        { "Bu aramanın sonucu kaydedilmiş. Düzeltmek için not ekleyin.",
          "The outcome of this call is on record. Add a note to correct it." }
    JobRunning "job_running" 409 true
        { "İş şu anda çalışıyor", "The job runs now" }
        { "Çalışan bir iş buradan durdurulamaz. Bu deneme bitince yeniden deneyin.",
          "A running job cannot be stopped from here. Try again when this attempt has ended." }
    JobReady "job_ready" 409 false
        { "İş zaten hazır", "The job is ready already" }
        { "İş sırada; bir çalışan onu alacak. Yapılacak bir şey yok.",
          "The job is next in its queue, and a worker takes it. There is nothing to do." }
    JobHeld "job_held" 409 false
        { "İş sırasını bekliyor", "The job waits for its gate" }
        { "İş hazır; sınırı yer açınca çalışacak. Sınırlar /ops/gates altında.",
          "The job is due, and runs when its gate lets it through: see /ops/gates." }
    JobDead "job_dead" 409 false
        { "İş durdu", "The job is dead" }
        { "Tüm denemeleri bitti. Yeniden deneyin; o zaman bir çalışan onu alır.",
          "All its attempts failed. Retry it, and a worker takes it." }
    WorkflowNotRetriable "workflow_not_retriable" 409 false
        { "Akış yeniden başlatılamaz", "The workflow cannot be retried" }
        { "Yalnızca başarısız olmuş ya da dışarıdan bitirilmiş bir akış sürdürülebilir.",
          "Only a workflow that failed, or was ended from outside, goes on again." }
    WorkflowKeyTaken "workflow_key_taken" 409 false
        { "Aynı anahtarla bir akış sürüyor", "Another workflow of its key lives" }
        { "Aynı tür ve anahtarla bir akış zaten çalışıyor; önce onu bitirin.",
          "One of the same kind and key runs already; end that one first." }
    BulkEnded "bulk_ended" 409 false
        { "İşlem bitmiş", "It has ended" }
        { "Bu toplu işlem bitmiş ya da hiç olmamış.", "This act on many jobs has ended, or never was." }
    JobEnded "job_ended" 409 false
        { "İş bitmiş", "The job has ended" }
        { "Bitmiş bir iş yeniden denenemez ve iptal edilemez.",
          "A job that has ended can be neither retried nor cancelled." }
    NotQuarantined "not_quarantined" 409 false
        { "Olay karantinada değil", "The event is not in quarantine" }
        { "Olay bekliyor ya da bir kayda dönüştü. Yapılacak bir şey yok.",
          "The event waits to become a lead, or is one. There is nothing to do." }
    WorkflowLives "workflow_lives" 409 false
        { "İş akışı bu işi bekliyor", "A workflow waits for the job" }
        { "Bu iş, süren bir iş akışının adımıdır; iptal edilirse akış sonsuza dek bekler. İşi yeniden deneyin.",
          "The job takes a step of a workflow that lives and would wait for it for ever. Retry it instead." }
    WorkflowEnded "workflow_ended" 409 false
        { "İşin iş akışı bitmiş", "The job's workflow has ended" }
        { "İş, bitmiş bir iş akışının adımıdır ve sürdürülemez. Kaldırmak için iptal edin.",
          "The job takes a step of a workflow that has ended, and cannot go on. Cancel it to put it away." }
    OwnerAtCapacity "owner_at_capacity" 409 false
        { "Temsilcinin kapasitesi dolu", "The agent is at capacity" }
        { "Bu değişiklik, kaydın sahibinin kapasitesini aşıyor. Önce başka bir kaydı kapatın ya da kapasiteyi artırın.",
          "This change exceeds what the lead's owner can carry. Close another lead first, or raise the capacity." }
    PreconditionFailed "precondition_failed" 412 true
        { "Kayıt bu arada değişti", "It changed meanwhile" }
        { "Siz bakarken başkası değiştirdi. Kaydı yeniden okuyun ve değişikliğinizi ETag ile tekrar gönderin.",
          "Somebody changed it since you read it. Read it again and repeat your change with the new ETag." }
    BodyTooLarge "body_too_large" 413 false
        { "Gövde çok büyük", "The body is too large" }
        { "İstek gövdesi bu adresin sınırını aşıyor. Daha küçük parçalar gönderin.",
          "The request body exceeds the limit of this address. Send smaller parts." }
    UnsupportedMediaType "unsupported_media_type" 415 false
        { "İçerik türü desteklenmiyor", "Unsupported content type" }
        { "Content-Type başlığı beklenen türde değil. JSON için application/json kullanın.",
          "The Content-Type header is not the expected one. Use application/json." }
    InvalidBody "invalid_body" 422 false
        { "Gönderilen alanlar geçersiz", "The fields are not valid" }
        { "Bir ya da daha çok alan bilinmiyor, eksik ya da hatalı. errors alanına bakın.",
          "One or more fields are unknown, missing or wrong. See errors." }
    IdempotencyKeyReused "idempotency_key_reused" 422 false
        { "Idempotency-Key başka bir istekte kullanılmış", "The Idempotency-Key was used with another body" }
        { "Bu anahtar farklı bir gövdeyle kullanıldı. Yeni istek için yeni bir anahtar üretin.",
          "This key was used with a different body. Make a new key for a new request." }
    PreconditionRequired "precondition_required" 428 false
        { "If-Match gerekli", "If-Match is required" }
        { "Önce kaydı okuyun, sonra ETag değerini If-Match başlığında gönderin.",
          "Read it first, then send its ETag in the If-Match header." }
    TooManyAttempts "too_many_attempts" 429 true
        { "Çok fazla deneme", "Too many attempts" }
        { "Art arda çok fazla hatalı deneme yapıldı. Belirtilen süre kadar bekleyin.",
          "Too many failed attempts in a row. Wait for the time given." }
    CallerThrottled "caller_throttled" 429 true
        { "Çok sık arama", "Too many calls" }
        { "Kısa sürede çok arama yaptınız. Belirtilen süre kadar bekleyin.",
          "You placed many calls in a short time. Wait for the time given." }
    LeadThrottled "lead_throttled" 429 true
        { "Kayıt çok sık arandı", "The lead was called too often" }
        { "Bu kişi son bir saatte yeterince arandı. Belirtilen süreden sonra deneyin.",
          "This person was called enough within the last hour. Try again after the time given." }
    TooManyStreams "too_many_streams" 429 true
        { "Çok fazla açık canlı bağlantı", "Too many open streams" }
        { "Bu kullanıcının açık canlı bağlantılarının sayısı sınırda. Kullanmadığınız sekmeleri kapatıp yeniden deneyin.",
          "This user has as many live streams open as are allowed. Close tabs that you do not use, and try again." }
    Internal "internal" 500 true
        { "Beklenmeyen bir hata oluştu", "Something went wrong here" }
        { "Hata bizde ve kaydedildi. Yeniden deneyin; sürerse traceId ile bildirin.",
          "The fault is ours and was recorded. Try again; if it stays, report it with the traceId." }
    Unavailable "unavailable" 503 true
        { "Hizmet şu anda yanıt veremiyor", "Not available at the moment" }
        { "Bir bileşene ulaşılamıyor ya da yük fazla. Birazdan yeniden deneyin.",
          "A part of the service is not reachable or is too busy. Try again in a moment." }
}

impl Entry {
    /// How grave it is: what somebody else or time mends is a warning.
    pub const fn severity(&self) -> Severity {
        match self.status {
            408 | 409 | 412 | 428 | 429 | 503 => Severity::Warning,
            _ => Severity::Error,
        }
    }
}

impl Code {
    /// The code with this stable name.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.entry().name == name)
    }

    /// The code that stands for a bare status, as the framework answers with.
    pub fn of_status(status: u16) -> Self {
        match status {
            400 => Self::MalformedJson,
            401 => Self::Unauthenticated,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            405 => Self::MethodNotAllowed,
            408 => Self::Timeout,
            413 => Self::BodyTooLarge,
            415 => Self::UnsupportedMediaType,
            422 => Self::InvalidBody,
            503 => Self::Unavailable,
            _ => Self::Internal,
        }
    }
}

/// The language of an `Accept-Language` header: the first of ours in the order of preference, else English.
pub fn language(accept_language: Option<&str>) -> Language {
    // Weights are read as they stand in nearly every header: best first, ties in order.
    let mut best = (Language::En, 0.0_f32);
    for part in accept_language.unwrap_or_default().split(',').take(LANGUAGES_MAX) {
        let mut pieces = part.split(';').map(str::trim);
        let tag = pieces.next().unwrap_or_default().to_ascii_lowercase();
        let weight = pieces.find_map(|p| p.strip_prefix("q=")).map_or(1.0, |q| q.parse().unwrap_or(0.0));
        let found = match tag.split('-').next() {
            Some("tr") => Language::Tr,
            Some("en") => Language::En,
            _ => continue,
        };
        if weight > best.1 {
            best = (found, weight);
        }
    }
    best.0
}

/// Entries of an `Accept-Language` header that are looked at.
const LANGUAGES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_found_again() {
        for code in Code::ALL {
            assert_eq!(Code::of_name(code.entry().name), Some(*code), "{}", code.entry().name);
        }
    }

    #[test]
    fn the_preferred_language_of_ours_is_taken() {
        for (header, expected) in [
            (None, Language::En),
            (Some("tr"), Language::Tr),
            (Some("tr-TR,tr;q=0.9,en;q=0.8"), Language::Tr),
            (Some("de, en;q=0.5, tr;q=0.7"), Language::Tr),
            (Some("en-US,tr;q=0.3"), Language::En),
            (Some("tr;q=nonsense"), Language::En),
            (Some("fr"), Language::En),
        ] {
            assert_eq!(language(header), expected, "{header:?}");
        }
    }
}
