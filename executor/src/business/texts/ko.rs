//! 한국어.

use super::facts::Facts;
use super::{Subject, Words};

/// With room.
pub(super) fn long(subject: Subject, facts: &Facts) -> Words {
    let Facts { sender, recipient, product, brand, price, .. } = facts;
    let what = if brand.is_empty() { product.clone() } else { format!("{brand} {product}") };
    let until = match facts.expires_at.as_str() {
        "" => String::new(),
        expires_at => format!("\n사용 기한: {expires_at}까지"),
    };
    let (title, body, label) = match subject {
        Subject::Gift => {
            let message = if facts.message.is_empty() { String::new() } else { format!("\n\n“{}”", facts.message) };
            let title = format!("{sender}님이 보낸 선물이 도착했어요");
            (
                title,
                format!("{recipient}님, {sender}님이 선물을 보냈어요.{message}\n\n상품: {what}{until}"),
                "선물 받기",
            )
        }
        Subject::Reserved => {
            let body = format!("{recipient}님께 드릴 선물을 예약했어요.\n\n상품: {what}\n결제 금액: {price}");
            let send_at = match facts.send_at.as_str() {
                "" => String::new(),
                send_at => format!("\n보내는 때: {send_at}"),
            };
            ("선물을 예약했어요".to_owned(), body + &send_at, "")
        }
        Subject::Sent => {
            ("선물을 보냈어요".to_owned(), format!("{recipient}님께 선물을 보냈어요.\n\n상품: {what}{until}"), "")
        }
        Subject::Received => {
            ("선물을 받았어요".to_owned(), format!("{recipient}님이 선물을 받았어요.\n\n상품: {what}"), "")
        }
        Subject::Failed => {
            let body =
                format!("{recipient}님께 드릴 선물을 보내지 못했어요. 결제하신 {price}은 돌려드려요.\n\n상품: {what}");
            ("선물을 보내지 못했어요".to_owned(), body, "")
        }
        Subject::PassOn => {
            let body = format!(
                "{recipient}님의 연락처가 없어 선물을 보내지 못했어요. 아래 링크를 직접 전해 주세요.\n\n상품: {what}{until}"
            );
            ("선물 링크를 전해 주세요".to_owned(), body, "선물 링크")
        }
        Subject::Refunded => {
            let body = format!("{recipient}님께 드릴 선물의 {price}을 돌려드렸어요.\n\n상품: {what}");
            ("환불이 끝났어요".to_owned(), body, "")
        }
        Subject::Arrived => {
            let body = format!("{recipient}님, {sender}님의 선물을 전해 받았어요.\n\n상품: {what}{until}");
            ("선물이 도착했어요".to_owned(), body, "선물 받기")
        }
        Subject::ExpiresSoon => {
            let body = format!("{recipient}님, 아직 쓰지 않은 선물이 있어요.\n\n상품: {what}{until}");
            ("선물의 사용 기한이 다가와요".to_owned(), body, "선물 보기")
        }
        Subject::Attention => {
            let body = format!("선물 {}: {}", facts.gift, or(&facts.reason, "까닭을 알 수 없음"));
            ("확인이 필요한 선물이 있습니다".to_owned(), body, "")
        }
        Subject::Declined => {
            let body = format!(
                "결제가 승인되지 않아 {recipient}님께 드릴 선물을 예약하지 못했어요. 결제된 금액은 없어요.\n\n상품: {what}"
            );
            ("선물을 예약하지 못했어요".to_owned(), body, "")
        }
        Subject::TerminalLocked => {
            let (shop, terminal) = (or(&facts.shop, "알 수 없음"), or(&facts.terminal, "알 수 없음"));
            let until =
                if facts.until.is_empty() { String::new() } else { format!(" {}까지 잠깁니다.", facts.until) };
            let body = format!("매장 {shop}, 단말기 {terminal}: 한 시간에 열 번 틀렸습니다.{until}");
            ("매장 단말기가 잠겼습니다".to_owned(), body, "")
        }
    };
    Words { title, body, label }
}

/// For a text message: 90 bytes of EUC-KR, in which a syllable has two.
pub(super) fn short(subject: Subject, facts: &Facts) -> Words {
    let Facts { sender, recipient, product, price, .. } = facts;
    let until = match facts.expires_at_short.as_str() {
        "" => String::new(),
        expires_at => format!(" {expires_at}까지"),
    };
    let (title, text, label) = match subject {
        Subject::Gift => ("선물이 도착했어요", format!("{sender}님의 선물 {product}.{until}"), "선물 받기"),
        Subject::Reserved => {
            let send_at = match facts.send_at_short.as_str() {
                "" => String::new(),
                send_at => format!(", {send_at} 발송"),
            };
            ("선물을 예약했어요", format!("{recipient}님께 {product} 예약{send_at}"), "")
        }
        Subject::Sent => ("선물을 보냈어요", format!("{recipient}님께 {product}을(를) 보냈어요."), ""),
        Subject::Received => ("선물을 받았어요", format!("{recipient}님이 {product}을(를) 받았어요."), ""),
        Subject::Failed => {
            ("선물을 보내지 못했어요", format!("{recipient}님께 선물을 못 보냈어요. {price} 환불 예정"), "")
        }
        Subject::PassOn => {
            ("선물 링크를 전해 주세요", format!("{recipient}님께 선물 링크를 직접 전해 주세요.{until}"), "선물 링크")
        }
        Subject::Refunded => ("환불이 끝났어요", format!("{recipient}님 선물 {price} 환불 완료"), ""),
        Subject::Arrived => ("선물이 도착했어요", format!("{sender}님의 선물 {product}.{until}"), "선물 받기"),
        Subject::ExpiresSoon => {
            ("선물의 사용 기한이 다가와요", format!("쓰지 않은 선물 {product}.{until}"), "선물 보기")
        }
        Subject::Attention => ("확인이 필요한 선물이 있습니다", format!("선물 {} 확인 필요", facts.gift), ""),
        Subject::Declined => {
            ("선물을 예약하지 못했어요", format!("결제가 승인되지 않아 {recipient}님 선물이 예약되지 않았어요."), "")
        }
        Subject::TerminalLocked => ("매장 단말기가 잠겼습니다", "매장 단말기가 잠겼습니다.".to_owned(), ""),
    };
    Words { title: title.to_owned(), body: format!("[보신각] {text}"), label }
}

fn or<'a>(text: &'a str, otherwise: &'a str) -> &'a str {
    if text.is_empty() { otherwise } else { text }
}
