//! Tokens of links: the slot of the gift and 128 drawn bits, in base64 for URLs.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use domain::gift::Secret;

use crate::error::Error;
use crate::routing::SLOTS;
use crate::validate::DEFAULT_NAMESPACE;
use crate::vault::Vault;

/// Bytes that are drawn.
const DRAWN_BYTES: usize = 16;
/// Characters of a token: two bytes of slot and what is drawn, in base64.
const TOKEN_CHARS: usize = 24;
/// Stands between a namespace and a token. No namespace has one.
const BETWEEN: char = '_';

/// A token that was read: where its gift is, and the hash it is found by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub slot: u16,
    pub hash: Bytes,
}

/// Draws a token.
pub(crate) fn draw(slot: u16) -> String {
    let drawn = rand::random::<[u8; DRAWN_BYTES]>();
    URL_SAFE_NO_PAD.encode([&slot.to_be_bytes()[..], &drawn].concat())
}

/// Reads a token; whatever is none leads nowhere.
///
/// # Errors
///
/// [`Error::Domain`]: there is no such link.
pub(crate) fn read(vault: &Vault, namespace: &str, text: &str) -> Result<Token, Error> {
    let slot = URL_SAFE_NO_PAD.decode(text).ok().and_then(|bytes| {
        let (slot, drawn) = bytes.split_first_chunk::<2>()?;
        let slot = u16::from_be_bytes(*slot);
        (drawn.len() == DRAWN_BYTES && slot < SLOTS).then_some(slot)
    });
    let slot = slot.ok_or_else(|| crate::product::not_found(0, "link"))?;
    Ok(Token { slot, hash: hash(vault, namespace, text) })
}

/// The last part of a link: the token, behind the namespace unless that is the default one. So a page needs nothing else to find
/// the gift.
pub(crate) fn last_part(namespace: &str, token: &str) -> String {
    if namespace == DEFAULT_NAMESPACE { token.to_owned() } else { format!("{namespace}{BETWEEN}{token}") }
}

/// Namespace and token of the last part of a link. What is none is some token of the default namespace, which leads nowhere.
pub(crate) fn take_apart(last: &str) -> (&str, &str) {
    let found = last.len().checked_sub(TOKEN_CHARS).and_then(|at| last.split_at_checked(at));
    let namespace = found.and_then(|(before, token)| Some((before.strip_suffix(BETWEEN)?, token)));
    namespace.filter(|(namespace, _)| !namespace.is_empty()).unwrap_or((DEFAULT_NAMESPACE, last))
}

fn hash(vault: &Vault, namespace: &str, text: &str) -> Bytes {
    vault.hash(&["link", namespace], text)
}

/// The hash of a code.
pub(crate) fn code_hash(vault: &Vault, namespace: &str, code: &str) -> Bytes {
    vault.hash(&["code", namespace], code)
}

/// A token as it is stored.
pub(crate) fn sealed_token(vault: &Vault, namespace: &str, gift: &str, token: &str) -> Secret {
    Secret { hash: hash(vault, namespace, token), sealed: vault.seal(&["link", namespace, gift], token) }
}

/// A code as it is stored.
pub(crate) fn sealed_code(vault: &Vault, namespace: &str, gift: &str, code: &str) -> Secret {
    Secret { hash: code_hash(vault, namespace, code), sealed: vault.seal(&["code", namespace, gift], code) }
}

/// What was sealed under this name.
///
/// # Errors
///
/// [`Error::Internal`]: this node has another key than the one it was sealed with.
pub(crate) fn open(
    vault: &Vault,
    name: &str,
    namespace: &str,
    gift: &str,
    secret: Option<&Secret>,
) -> Result<String, Error> {
    let sealed = secret.map(|secret| &secret.sealed[..]).unwrap_or_default();
    vault
        .open_sealed(&[name, namespace, gift], sealed)
        .map_err(|error| Error::Internal(format!("gift {gift}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_part_of_a_link_says_whose_it_is() {
        // One that looks as if a namespace came before something.
        let token = "default_AAAAAAAAAAAAAAAA";
        for namespace in ["default", "shop", "a", &"x".repeat(64)] {
            let last = last_part(namespace, token);
            assert_eq!(take_apart(&last), (namespace, token));
        }
        assert_eq!(last_part("default", token), token);
        for none in ["", "_", "x", "_default_AAAAAAAAAAAAAAAA", "가가가가가가가가가가가가", "shop_short"] {
            assert_eq!(take_apart(none), ("default", none));
        }
    }

    #[test]
    fn tokens_carry_their_slot_and_nonsense_leads_nowhere() {
        let dir = tempfile::tempdir().expect("a directory");
        let vault = Vault::open(&dir.path().join("key"), true).expect("a key");
        let token = draw(4_095);
        assert_eq!(token.len(), TOKEN_CHARS);
        let read_back = read(&vault, "shop", &token).expect("a token");
        assert_eq!(read_back.slot, 4_095);
        assert_eq!(sealed_token(&vault, "shop", "g", &token).hash, read_back.hash);
        assert_ne!(read(&vault, "other", &token).expect("a token").hash, read_back.hash);
        let beyond = URL_SAFE_NO_PAD.encode([&4_096_u16.to_be_bytes()[..], &[0; 16]].concat());
        for wrong in ["", "x", &token[1..], &format!("{token}AA"), "!!!!!!!!!!!!!!!!!!!!!!!!", &beyond] {
            assert!(read(&vault, "shop", wrong).is_err(), "{wrong}");
        }
    }
}
