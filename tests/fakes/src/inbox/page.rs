//! The inbox as a page: no script, nothing loaded, the newest at the bottom as on a phone.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use jiff::tz::TimeZone;

use super::Message;

const STYLE: &str = r#"
:root { color-scheme: light dark; --back: #b9cddb; --card: #fff; --text: #1b1b1d; --faint: #55606a; --line: #e4e7ea;
  --yellow: #fae100; --brown: #3a1d1d; --link: #0b57b0; --bar: #a9c0d0; }
@media (prefers-color-scheme: dark) { :root { --back: #20262c; --card: #2f363d; --text: #f2f3f5; --faint: #aab4bd;
  --line: #454d55; --link: #8ab8ff; --bar: #181d22; } }
* { box-sizing: border-box; }
html, body { margin: 0; height: 100%; }
body { background: var(--back); color: var(--text); word-break: keep-all; overflow-wrap: anywhere; line-height: 1.5;
  font-family: -apple-system, "Apple SD Gothic Neo", "Noto Sans CJK KR", "Noto Sans KR", "Malgun Gothic", Roboto, sans-serif; }
.phone { max-width: 30rem; height: 100%; margin: 0 auto; display: flex; flex-direction: column; }
header { background: var(--bar); padding: .8rem 1rem; flex: none; }
header h1 { font-size: 1.05rem; margin: 0; }
header p { margin: 0; font-size: .8rem; color: var(--faint); }
main { flex: 1; overflow-y: auto; display: flex; flex-direction: column-reverse; padding: .6rem .8rem 1.2rem; gap: .9rem; }
article { max-width: 88%; align-self: flex-start; }
.who { font-size: .78rem; color: var(--faint); margin: 0 0 .2rem .2rem; }
.row { display: flex; align-items: flex-end; gap: .4rem; }
.bubble { background: var(--card); border-radius: .3rem 1rem 1rem 1rem; overflow: hidden; box-shadow: 0 1px 1px #0002; min-width: 0; }
.head { background: var(--yellow); color: var(--brown); font-weight: 700; font-size: .82rem; padding: .45rem .9rem; }
.title { font-weight: 700; margin: 0; padding: .7rem .9rem 0; font-size: 1rem; }
.text { margin: 0; padding: .6rem .9rem .75rem; white-space: pre-wrap; }
.text a { color: var(--link); }
.button { display: block; margin: 0 .7rem .7rem; padding: .75rem; text-align: center; text-decoration: none; border-radius: .5rem;
  background: color-mix(in srgb, var(--faint) 16%, var(--card)); color: var(--text); font-weight: 600; }
.button:focus-visible, a:focus-visible { outline: 3px solid var(--link); outline-offset: 2px; }
time { font-size: .7rem; color: var(--faint); flex: none; white-space: nowrap; }
.push, .email, .operator { width: 100%; max-width: 100%; }
.push .row, .email .row, .operator .row { display: block; }
.push .bubble, .email .bubble, .operator .bubble { border-radius: .9rem; }
.push .bubble { border-left: .35rem solid var(--link); }
.operator .bubble { border-left: .35rem solid #b3261e; }
.push time, .email time, .operator time { display: block; text-align: right; margin-top: .2rem; }
.empty { margin: auto; color: var(--faint); text-align: center; }
ul { list-style: none; margin: 0; padding: 0; display: flex; flex-direction: column; gap: .5rem; }
li a { display: flex; justify-content: space-between; gap: 1rem; background: var(--card); color: var(--text); padding: .9rem 1rem;
  border-radius: .8rem; text-decoration: none; }
.list { display: block; }
"#;

/// Every address with how many messages it got.
pub(super) fn index(counts: &BTreeMap<String, usize>) -> String {
    let mut list = String::new();
    for (address, count) in counts {
        let path = path_segment(address);
        writeln!(list, "<li><a href=\"/inbox/{path}\"><span>{}</span><span>{count}</span></a></li>", escape(address))
            .expect("writing to a string does not fail");
    }
    let content = if list.is_empty() {
        "<main><p class=\"empty\">아직 도착한 메시지가 없습니다<br>Nothing has arrived yet</p></main>".to_owned()
    } else {
        format!("<main class=\"list\"><ul>\n{list}</ul></main>")
    };
    frame("받은 메시지", &format!("{} addresses", counts.len()), &content)
}

/// What arrived at one address.
pub(super) fn phone(address: &str, messages: &[Message]) -> String {
    let mut content = String::from("<main>\n");
    if messages.is_empty() {
        content.push_str("<p class=\"empty\">아직 도착한 메시지가 없습니다<br>Nothing has arrived yet</p>\n");
    }
    // The newest first in the text, at the bottom on the screen: so it opens there.
    for message in messages.iter().rev() {
        content.push_str(&article(message));
    }
    content.push_str("</main>");
    let count = if messages.len() == 1 { "1 message".to_owned() } else { format!("{} messages", messages.len()) };
    frame(address, &count, &content)
}

fn article(message: &Message) -> String {
    let (name, head) = match message.channel {
        "kakao" => ("카카오톡", "<div class=\"head\">알림톡 도착</div>"),
        "sms" => ("문자", ""),
        "email" => ("이메일", ""),
        "push" => ("알림", ""),
        _ => ("Slack", ""),
    };
    let title =
        message.title.as_ref().map_or_else(String::new, |title| format!("<h2 class=\"title\">{}</h2>", escape(title)));
    let mut buttons = String::new();
    for link in message.links.iter().filter(|link| is_web(&link.url)) {
        write!(buttons, "<a class=\"button\" href=\"{}\">{}</a>", escape(&link.url), escape(&link.label))
            .expect("writing to a string does not fail");
    }
    let at = message.at.to_zoned(TimeZone::get("Asia/Seoul").unwrap_or(TimeZone::UTC));
    format!(
        "<article class=\"{}\"><p class=\"who\">{name} · {}</p><div class=\"row\"><div class=\"bubble\">{head}{title}\
         <p class=\"text\">{}</p>{buttons}</div><time datetime=\"{:.3}\">{}</time></div></article>\n",
        message.channel,
        escape(&message.from),
        linked(&message.body),
        message.at,
        at.strftime("%m.%d %H:%M"),
    )
}

fn frame(title: &str, line: &str, content: &str) -> String {
    let title = escape(title);
    format!(
        "<!doctype html>\n<html lang=\"ko\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta http-equiv=\"refresh\" content=\"5\">\n\
         <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body><div class=\"phone\">\n\
         <header><h1>{title}</h1><p>{}</p></header>\n{content}\n</div></body>\n</html>\n",
        escape(line)
    )
}

/// A text in which addresses of pages can be followed.
fn linked(text: &str) -> String {
    let mut html = String::new();
    let mut rest = text;
    while let Some(start) = rest.find("https://").into_iter().chain(rest.find("http://")).min() {
        let (before, from) = rest.split_at(start);
        let length = from.find(|c: char| !c.is_ascii_graphic() || matches!(c, '"' | '<' | '>')).unwrap_or(from.len());
        let url = from[..length].trim_end_matches(['.', ',', ')', '!']);
        write!(html, "{}<a href=\"{1}\">{1}</a>", escape(before), escape(url))
            .expect("writing to a string does not fail");
        rest = &from[url.len()..];
    }
    html + &escape(rest)
}

fn is_web(url: &str) -> bool {
    url.starts_with("https://") || url.starts_with("http://")
}

fn escape(text: &str) -> String {
    let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    text.replace('"', "&quot;").replace('\'', "&#39;")
}

fn path_segment(text: &str) -> String {
    text.bytes().fold(String::new(), |mut path, byte| {
        if byte.is_ascii_alphanumeric() || b"-_.@:".contains(&byte) {
            path.push(byte.into());
        } else {
            write!(path, "%{byte:02X}").expect("writing to a string does not fail");
        }
        path
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inbox::Link;
    use jiff::Timestamp;

    #[test]
    fn nothing_that_arrives_becomes_markup() {
        let evil = "<script>alert('1')</script> \"&";
        let message = Message {
            provider: "test",
            channel: "kakao",
            provider_id: "1".into(),
            to: evil.into(),
            from: evil.into(),
            title: Some(evil.into()),
            body: format!("{evil} https://a.example/?x=\"><script>"),
            links: vec![
                Link { label: evil.into(), url: "https://a.example/\"><script>".into() },
                Link { label: "no".into(), url: "javascript:alert(1)".into() },
            ],
            tag: None,
            at: Timestamp::UNIX_EPOCH,
        };
        let page = phone(evil, &[message]);
        assert!(!page.contains("<script") && !page.contains("javascript:"), "{page}");
        assert_eq!(page.matches("class=\"button\"").count(), 1);
        assert!(!index(&[(evil.to_owned(), 1)].into()).contains("<script"));
    }

    #[test]
    fn addresses_in_a_text_can_be_followed() {
        assert_eq!(
            linked("받기: https://a.example/g?x=1&y=2.\n끝"),
            "받기: <a href=\"https://a.example/g?x=1&amp;y=2\">https://a.example/g?x=1&amp;y=2</a>.\n끝"
        );
        assert_eq!(linked("http:// 1 < 2"), "<a href=\"http://\">http://</a> 1 &lt; 2");
        assert_eq!(linked("한글만"), "한글만");
    }
}
