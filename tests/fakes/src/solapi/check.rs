//! Which messages SOLAPI takes.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::{PF_ID, SENDER};
use crate::inbox::Link;

/// An approved text with gaps.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Template {
    pub(super) template_id: String,
    pub(super) content: String,
    pub(super) title: Option<String>,
}

/// A message that is taken, as the recipient will read it.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) to: String,
    /// `ATA`, `SMS` or `LMS`.
    pub(super) kind: &'static str,
    pub(super) subject: Option<String>,
    pub(super) text: String,
    pub(super) links: Vec<Link>,
    pub(super) custom_fields: BTreeMap<String, String>,
}

/// Why one is not.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The request is not as published.
    Invalid(String),
    /// A published status code and its text.
    Code(&'static str, &'static str),
}

fn code<T>(code: &'static str, text: &'static str) -> Result<T, Refusal> {
    Err(Refusal::Code(code, text))
}

/// Bytes in EUC-KR.
fn bytes(text: &str) -> usize {
    text.chars().map(|c| if c.is_ascii() { 1 } else { 2 }).sum()
}

fn text_of(value: &Value) -> Option<String> {
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

pub(super) fn check(message: &Value, templates: &BTreeMap<String, Template>) -> Result<Accepted, Refusal> {
    if !message.is_object() {
        return Err(Refusal::Invalid("message: an object expected".into()));
    }
    let (Some(to), Some(from)) = (text_of(&message["to"]), text_of(&message["from"])) else {
        return code("1010", "필수 입력 값 미입력");
    };
    if !(8..=12).contains(&to.len()) || !to.starts_with('0') || !to.bytes().all(|b| b.is_ascii_digit()) {
        return code("1011", "Format Error");
    }
    if from != SENDER {
        return code("1062", "발신번호 미등록");
    }
    let custom_fields = custom_fields(&message["customFields"])?;
    let subject = text_of(&message["subject"]);
    let accepted = |kind, subject, text, links| Accepted { to, kind, subject, text, links, custom_fields };
    match message["type"].as_str() {
        Some("ATA") => {
            let (title, text, links) = alimtalk(&message["kakaoOptions"], templates)?;
            Ok(accepted("ATA", title, text, links))
        }
        Some(kind @ ("SMS" | "LMS")) => {
            let Some(text) = text_of(&message["text"]) else { return code("1010", "필수 입력 값 미입력") };
            let (kind, max) = if kind == "SMS" { ("SMS", 90) } else { ("LMS", 2_000) };
            if message["kakaoOptions"].is_object() {
                return code("1033", "kakaoOptions은 메시지가 ATA 나 CTA인 경우에만 사용가능합니다.");
            }
            if kind == "SMS" && subject.is_some() {
                return code("1013", "제목은 문자 타입이 'SMS'일 경우 사용이 불가능합니다.");
            }
            if subject.as_deref().is_some_and(|subject| bytes(subject) > 40) {
                return code("1014", "제목은 40byte까지 사용 가능합니다.");
            }
            if bytes(&text) > max {
                return code("1031", "SMS는 90byte LMS, MMS는 2000byte까지 사용 가능 합니다.");
            }
            Ok(accepted(kind, subject, text, Vec::new()))
        }
        _ => code("1025", "잘못된 메시지 타입"),
    }
}

fn custom_fields(fields: &Value) -> Result<BTreeMap<String, String>, Refusal> {
    let Some(fields) = fields.as_object() else { return Ok(BTreeMap::new()) };
    let field = |(name, value): (&String, &Value)| {
        let value = value.as_str().filter(|value| value.chars().count() <= 100 && name.chars().count() <= 30);
        value.map(|value| (name.clone(), value.to_owned()))
    };
    match fields.iter().map(field).collect() {
        Some(fields) => Ok(fields),
        None => code("1032", "유효한 커스텀 필드 값이 아닙니다."),
    }
}

type Shown = (Option<String>, String, Vec<Link>);

fn alimtalk(options: &Value, templates: &BTreeMap<String, Template>) -> Result<Shown, Refusal> {
    if options["pfId"] != PF_ID {
        return code("1041", "유효한 플러스 친구 값이 아닙니다.");
    }
    let Some(id) = text_of(&options["templateId"]) else {
        return code("1042", "유효한 템플릿 아이디가 아닙니다.");
    };
    let mut variables = BTreeMap::new();
    for (name, value) in options["variables"].as_object().into_iter().flatten() {
        match value.as_str() {
            Some(value) if name.starts_with("#{") && name.ends_with('}') => variables.insert(name.as_str(), value),
            _ => return Err(Refusal::Invalid(format!("variables: texts by #{{name}} expected, not {name}"))),
        };
    }
    let mut links = Vec::new();
    let buttons = options["buttons"].as_array().map(Vec::as_slice).unwrap_or_default();
    if buttons.len() > 5 {
        return code("1050", "버튼은 최대 5개까지 사용 가능합니다.");
    }
    for button in buttons {
        let (Some(label), Some(url)) = (text_of(&button["buttonName"]), text_of(&button["linkMo"])) else {
            return code("1044", "유효한 버튼 값이 아닙니다.");
        };
        if url.len() > 100 {
            return code("1048", "버튼 URL 값은 최대 100자까지 사용 가능합니다.");
        }
        if label.chars().count() > 14 {
            return code("1049", "버튼 명은 최대 14자까지 사용 가능합니다.");
        }
        links.push(Link { label, url });
    }
    let Some(template) = templates.get(&id) else {
        // Not one of ours to know: what goes into it is all there is to show.
        let list: Vec<_> =
            variables.iter().map(|(name, value)| format!("{}: {value}", &name[2..name.len() - 1])).collect();
        return Ok((Some(id), list.join("\n"), links));
    };
    // In one pass, so that a value which looks like a gap stays as it is.
    let (mut text, mut rest) = (String::new(), template.content.as_str());
    while let Some((before, from)) = rest.split_once("#{") {
        let Some((name, after)) = from.split_once('}') else { break };
        let Some(value) = variables.get(format!("#{{{name}}}").as_str()) else {
            return code("1043", "등록한 템플릿과 내용이 다릅니다.");
        };
        text.push_str(before);
        text.push_str(value);
        rest = after;
    }
    text.push_str(rest);
    Ok((template.title.clone(), text, links))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn sms(text: &str) -> Value {
        json!({ "to": "01012345678", "from": SENDER, "type": "SMS", "text": text, "customFields": { "k": "v" } })
    }

    fn code_of(message: &Value) -> &'static str {
        match check(message, &BTreeMap::new()) {
            Ok(_) => "",
            Err(Refusal::Code(code, _)) => code,
            Err(Refusal::Invalid(_)) => "invalid",
        }
    }

    #[test]
    fn messages_are_refused_with_the_published_codes() {
        assert_eq!(code_of(&sms("선물")), "");
        let with = |key: &str, value: Value| {
            let mut message = sms("선물");
            message[key] = value;
            code_of(&message)
        };
        assert_eq!(with("to", json!("")), "1010");
        assert_eq!(with("to", json!("010-1234-5678")), "1011");
        assert_eq!(with("from", json!("0299999999")), "1062");
        assert_eq!(with("type", json!("FAX")), "1025");
        assert_eq!(with("subject", json!("제목")), "1013");
        assert_eq!(with("text", json!("가".repeat(46))), "1031");
        assert_eq!(with("customFields", json!({ "k": "v".repeat(101) })), "1032");
        assert_eq!(with("kakaoOptions", json!({})), "1033");
        assert_eq!(code_of(&json!(null)), "invalid");
    }

    #[test]
    fn gaps_of_a_template_are_filled_once() {
        let content = "#{name}님이 #{gift} 선물을 보냈어요";
        let template = Template { template_id: "T".into(), content: content.into(), title: None };
        let templates = [("T".to_owned(), template)].into();
        let message = |variables: Value| {
            json!({ "to": "01012345678", "from": SENDER, "type": "ATA",
                    "kakaoOptions": { "pfId": PF_ID, "templateId": "T", "variables": variables } })
        };
        let accepted = check(&message(json!({ "#{name}": "#{gift}", "#{gift}": "커피" })), &templates).expect("taken");
        assert_eq!(accepted.text, "#{gift}님이 커피 선물을 보냈어요");
        let refused = check(&message(json!({ "#{name}": "김" })), &templates).expect_err("a gap");
        assert!(matches!(refused, Refusal::Code("1043", _)));
    }
}
