//! A terminal takes a code: who it is is checked, and for codes of digits the attempt is counted, before the code is looked up.
//!
//! The shop's leader counts; then it asks the leader of the gift, with a word that only the cluster can have made, so that nobody is
//! asked who was not counted; then it forgets what was no failure. A node that dies in between leaves the attempt counted: the same
//! request again is not counted a second time, and forgotten when its code turns out to be right.

use bytes::Bytes;
use domain::gifticon::Code;
use domain::product::CodeForm;
use domain::shop::{self, Count, Forget, VerdictKind};
use domain::{Kind, Reason, Refusal};
use proto::gift::v1;
use proto::gift::v1::gift_service_client::GiftServiceClient;

use crate::error::Error;
use crate::gift::code_hash;
use crate::metrics::{self, Attempt};
use crate::partition::Partition;
use crate::services::{Call, Services, route};
use crate::validate::Violations;
use crate::vault::Vault;

/// Bytes of a secret that are drawn.
const DRAWN_BYTES: usize = 16;
/// Longest secret that is looked at, in bytes.
const SECRET_BYTES_MAX: usize = 64;

/// Draws a secret: 32 hexadecimal digits.
pub(super) fn draw() -> String {
    rand::random::<[u8; DRAWN_BYTES]>().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a secret is known by.
pub(super) fn secret_hash(vault: &Vault, namespace: &str, shop: &str, terminal: &str, secret: &str) -> Bytes {
    vault.hash(&["terminal", namespace, shop, terminal], secret)
}

/// Checks what a request says about the terminal, and whether a node of the cluster says that it was counted.
pub(crate) fn check(v: &mut Violations, vault: &Vault, message: &v1::RedeemGiftRequest, code: &Code) -> bool {
    if message.terminal.is_empty() {
        let expected = || "expected nothing without a terminal".to_owned();
        v.require(message.terminal_secret.is_empty(), "terminal_secret", expected);
        v.require(message.counted.is_empty(), "counted", expected);
        return false;
    }
    for (field, id) in [("shop", &message.shop), ("terminal", &message.terminal)] {
        if let Err(refusal) = shop::check_id(field, id) {
            v.push(field, format!("expected {}", refusal.expected));
        }
    }
    let secret = (1..=SECRET_BYTES_MAX).contains(&message.terminal_secret.len()) || !message.counted.is_empty();
    v.require(secret, "terminal_secret", || "expected the secret that AddTerminal answered".to_owned());
    let counted = !message.counted.is_empty() && vault.is_nonce(&names(message, code), &message.counted);
    v.require(counted || message.counted.is_empty(), "counted", || "expected nothing".to_owned());
    counted
}

/// What the word of a counted attempt is made of. None of them holds a zero byte.
fn names<'a>(message: &'a v1::RedeemGiftRequest, code: &'a Code) -> [&'a str; 6] {
    ["counted", &message.namespace, &message.shop, &message.terminal, &code.text, &message.request_id]
}

impl Services {
    /// Redeems at a terminal: checked and counted by the leader of the shop.
    pub(crate) async fn redeem_at_terminal(
        &self,
        message: v1::RedeemGiftRequest,
        namespace: &str,
        request: Bytes,
        code: Code,
        call: Call,
    ) -> Result<v1::RedeemGiftResponse, Error> {
        let vault = &self.gifts()?.vault;
        let partition = self.node.partition_of(namespace, &message.shop);
        route!(self, call, partition, message, GiftServiceClient::redeem_gift, {
            let number = self.admitted(partition, vault, namespace, &message, &request, &code).await?;
            // The gift's leader needs no secret, and takes the word for it.
            let (shop, terminal) = (message.shop.clone(), message.terminal.clone());
            let passed = v1::RedeemGiftRequest {
                counted: vault.nonce(&names(&message, &code)),
                terminal_secret: String::new(),
                ..message
            };
            // It goes on from here: that it was passed on to here does not count.
            let answer = self.redeem_code(passed, namespace, request, code, Call::within(call.left())).await;
            let failed = answer.as_ref().is_err_and(is_no_such_code);
            metrics::attempted(if failed { Attempt::WrongCode } else { Attempt::Right });
            if let Some(number) = number.filter(|_| !failed) {
                let forget = Kind::Forget(Forget { shop: shop.clone(), terminal: terminal.clone(), number });
                if let Err(error) = self.business(partition, namespace, forget).await {
                    tracing::warn!(shop, terminal, %error, "an attempt that was no failure stays counted for an hour");
                }
            }
            answer
        })
    }

    /// Checks who it is, and counts an attempt with a code of digits: the number it is to be forgotten by.
    ///
    /// # Errors
    ///
    /// The terminal is not known by what it showed, or is locked.
    async fn admitted(
        &self,
        partition: &Partition,
        vault: &Vault,
        namespace: &str,
        message: &v1::RedeemGiftRequest,
        request: &Bytes,
        code: &Code,
    ) -> Result<Option<u64>, Error> {
        let (shop, terminal) = (&message.shop, &message.terminal);
        let secret = secret_hash(vault, namespace, shop, terminal, &message.terminal_secret);
        let refused = |refusal| Err(Error::Domain { partition: partition.number(), refusal });
        if code.form != CodeForm::Digits {
            let (found, now) = partition
                .read(|rows| {
                    let found = shop::terminal(rows, namespace, shop, terminal)?;
                    Ok((found, scheduler::read::status(rows)?.watermark()))
                })
                .await?;
            if let Some(found) = found.filter(|found| found.is_proven_by(&secret)) {
                let Some(until) = found.locked_until(now) else { return Ok(None) };
                metrics::attempted(Attempt::Locked);
                return refused(Refusal::locked(until, now));
            }
            // Whoever it is: a wrong secret is counted.
        }
        let count = Count {
            shop: shop.clone(),
            terminal: terminal.clone(),
            secret,
            code: code_hash(vault, namespace, &code.text),
            request: request.clone(),
        };
        let answer = self.business(partition, namespace, Kind::Count(count)).await;
        let answer = answer.inspect_err(|error| match error {
            Error::Domain { refusal, .. } if refusal.reason() == Reason::Locked => metrics::attempted(Attempt::Locked),
            Error::Domain { refusal, .. } if refusal.reason() == Reason::NotAuthenticated => {
                metrics::attempted(Attempt::WrongSecret);
            }
            _ => {}
        });
        let verdict = answer?.verdict.unwrap_or_default();
        if verdict.locks {
            metrics::terminal_locked();
            tracing::warn!(namespace, shop, terminal, "a terminal is locked: wrong ten times within an hour");
        }
        match verdict.kind() {
            VerdictKind::Admitted => Ok(Some(verdict.number)),
            VerdictKind::Wrong => {
                metrics::attempted(Attempt::WrongSecret);
                refused(Refusal::not_authenticated())
            }
        }
    }
}

/// Whether somebody has learnt that a code leads nowhere. All else says nothing about the code, or that it leads somewhere.
fn is_no_such_code(error: &Error) -> bool {
    match error {
        Error::Domain { refusal, .. } => refusal.reason() == Reason::NotFound,
        Error::Passed(status) => crate::status::reason_of(status).as_deref() == Some("NOT_FOUND"),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_code_that_leads_nowhere_is_a_failure() {
        let of = |refusal| Error::Domain { partition: 1, refusal };
        let used = Refusal::wrong_state(domain::gift::State::Used, domain::gift::State::Used);
        assert!(is_no_such_code(&of(Refusal::not_found("code"))));
        assert!(!is_no_such_code(&of(used.clone())));
        for (refusal, failed) in [(Refusal::not_found("code"), true), (used, false)] {
            let passed = Error::Passed(Box::new(tonic::Status::from(of(refusal))));
            assert_eq!(is_no_such_code(&passed), failed, "from another node");
        }
        assert!(!is_no_such_code(&Error::OutcomeUnknown { reason: "x".into() }));
        assert!(!is_no_such_code(&Error::ShuttingDown));
    }

    #[test]
    fn secrets_are_32_digits_and_never_the_same() {
        let drawn: std::collections::BTreeSet<String> = (0..64).map(|_| draw()).collect();
        assert!(
            drawn.len() == 64 && drawn.iter().all(|one| one.len() == 32 && one.bytes().all(|b| b.is_ascii_hexdigit()))
        );
    }
}
