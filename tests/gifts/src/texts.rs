//! The texts that Kakao has approved for this business: it takes no others.

/// One text in one language.
pub struct Approved {
    subject: &'static str,
    language: &'static str,
    /// As Kakao calls it.
    pub id: &'static str,
    /// Above the text.
    pub title: &'static str,
    /// With gaps: `#{product}`.
    pub content: &'static str,
}

/// What may go into a gap, called the same here and in the executors' settings.
const GAPS: [&str; 8] = ["sender", "recipient", "product", "brand", "price", "message", "send_at", "expires_at"];

impl Approved {
    /// The section of the executors' settings that names it.
    pub fn setting(&self) -> String {
        let gaps = GAPS.iter().filter(|gap| self.content.contains(&format!("#{{{gap}}}")));
        let gaps: Vec<String> = gaps.map(|gap| format!("{gap} = \"{gap}\"")).collect();
        let Approved { subject, language, id, .. } = self;
        format!("\n[templates.{subject}.{language}]\nid = \"{id}\"\nvariables = {{ {} }}\n", gaps.join(", "))
    }
}

const fn ko(subject: &'static str, id: &'static str, title: &'static str, content: &'static str) -> Approved {
    Approved { subject, language: "ko", id, title, content }
}

const fn en(subject: &'static str, id: &'static str, title: &'static str, content: &'static str) -> Approved {
    Approved { subject, language: "en", id, title, content }
}

/// All of them.
pub const APPROVED: [Approved; 20] = [
    ko(
        "gift",
        "GIFT-KO",
        "선물이 도착했어요",
        "#{recipient}님, #{sender}님이 선물을 보냈어요.\n“#{message}”\n#{brand} #{product}\n사용 기한: #{expires_at}",
    ),
    ko(
        "reserved",
        "RESERVED-KO",
        "선물을 예약했어요",
        "#{recipient}님께 드릴 #{product} (#{price})\n보내는 때: #{send_at}",
    ),
    ko("sent", "SENT-KO", "선물을 보냈어요", "#{recipient}님께 #{brand} #{product}을(를) 보냈어요."),
    ko("received", "RECEIVED-KO", "선물을 받았어요", "#{recipient}님이 #{product}을(를) 받았어요."),
    ko(
        "failed",
        "FAILED-KO",
        "선물을 보내지 못했어요",
        "#{recipient}님께 드릴 #{product}을(를) 보내지 못했어요. #{price} 환불 예정",
    ),
    ko("pass_on", "PASS-ON-KO", "선물 링크를 전해 주세요", "#{recipient}님께 #{product} 링크를 직접 전해 주세요."),
    ko("refunded", "REFUNDED-KO", "환불이 끝났어요", "#{recipient}님 선물 #{product}, #{price} 환불 완료"),
    ko(
        "declined",
        "DECLINED-KO",
        "선물을 예약하지 못했어요",
        "결제가 승인되지 않아 #{recipient}님께 드릴 #{product}을(를) 예약하지 못했어요.",
    ),
    ko(
        "arrived",
        "ARRIVED-KO",
        "선물이 도착했어요",
        "#{recipient}님, #{sender}님의 선물 #{product}을(를) 전해 받았어요.",
    ),
    ko(
        "expires_soon",
        "SOON-KO",
        "사용 기한이 다가와요",
        "#{recipient}님, 쓰지 않은 #{product}\n사용 기한: #{expires_at}",
    ),
    en(
        "gift",
        "GIFT-EN",
        "A gift for you",
        "Dear #{recipient}, #{sender} has sent you a gift.\n“#{message}”\n#{product} by #{brand}\nUse it before #{expires_at}",
    ),
    en("reserved", "RESERVED-EN", "Reserved", "#{product} (#{price}) for #{recipient}\nTo be sent: #{send_at}"),
    en("sent", "SENT-EN", "Sent", "#{product} by #{brand} was sent to #{recipient}."),
    en("received", "RECEIVED-EN", "Received", "#{recipient} has received #{product}."),
    en("failed", "FAILED-EN", "Not sent", "#{product} for #{recipient} could not be sent. #{price} will be refunded."),
    en("pass_on", "PASS-ON-EN", "Please pass on", "Please pass the link to #{product} on to #{recipient}."),
    en("refunded", "REFUNDED-EN", "Refunded", "#{price} for #{product} to #{recipient} is refunded."),
    en(
        "declined",
        "DECLINED-EN",
        "Not reserved",
        "The payment was declined: #{product} for #{recipient} is not reserved.",
    ),
    en(
        "arrived",
        "ARRIVED-EN",
        "A gift has arrived",
        "Dear #{recipient}, #{product} from #{sender} was passed on to you.",
    ),
    en(
        "expires_soon",
        "SOON-EN",
        "Expires soon",
        "Dear #{recipient}, #{product} is not used yet.\nBefore #{expires_at}",
    ),
];
