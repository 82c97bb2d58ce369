//! Listing triggers, page by page, partition after partition.

use proto::v1;
use proto::v1::scheduler_service_client::SchedulerServiceClient;
use scheduler::command::Label;
use scheduler::read::{self, Cursor, ListQuery, TriggerView};

use super::scheduler::states_of;
use super::{Call, Services, route};
use crate::canary;
use crate::convert;
use crate::error::Error;
use crate::validate::Violations;

/// Bytes of triggers after which a page ends early.
pub(crate) const PAGE_BYTES_MAX: usize = 3 << 20;

impl Services {
    pub(crate) async fn list_page(&self, message: v1::ListRequest, call: Call) -> Result<v1::ListResponse, Error> {
        let mut v = Violations::new();
        let namespace = v.namespace("namespace", message.namespace.clone());
        let limit = v.page_size("page_size", message.page_size);
        let mut query = query_of(&mut v, namespace, message.filter.clone().unwrap_or_default());
        query.limit = limit;
        let page = PageToken::parse(&mut v, "page_token", &message.page_token, self.node.partitions().len(), |bytes| {
            Cursor::from_bytes(bytes)
        });
        v.finish(())?;
        let partition = self.node.partition(page.partition)?;
        route!(self, call, partition, message, SchedulerServiceClient::list, self.list_here(query, page).await)
    }

    /// Fills a page from the partitions that this node leads, beginning with the one of the token.
    async fn list_here(&self, mut query: ListQuery, token: PageToken<Cursor>) -> Result<v1::ListResponse, Error> {
        let mut triggers = Vec::new();
        let mut bytes = 0;
        let limit = query.limit;
        let mut token = Some(token);
        while let Some(at) = token {
            let partition = self.node.partition(at.partition)?;
            // The first one is led here; others are passed on with the next page.
            if at.after.is_none() && !triggers.is_empty() && !partition.proposer().is_leading() {
                break;
            }
            query.limit = limit - triggers.len();
            query.bytes = PAGE_BYTES_MAX - bytes;
            let page = partition.read(|rows| read::list(rows, &query, at.after)).await?;
            bytes += page.items.iter().map(TriggerView::weight).sum::<usize>();
            triggers.extend(partition.shown(page.items).await);
            token = match page.next {
                Some(next) => Some(PageToken { partition: at.partition, after: Some(next) }),
                None if at.partition as usize + 1 < self.node.partitions().len() => {
                    Some(PageToken { partition: at.partition + 1, after: None })
                }
                None => None,
            };
            if triggers.len() >= limit || bytes >= PAGE_BYTES_MAX {
                break;
            }
            // Without a match yet the answer is an empty page, so that no call scans without end.
            if triggers.is_empty() && page.next.is_some() {
                break;
            }
            if triggers.is_empty()
                && let Some(next) = &token
                && !self.node.partition(next.partition)?.proposer().is_leading()
            {
                break;
            }
        }
        let next_page_token = token.map_or_else(String::new, |token| token.text(|cursor| cursor.to_bytes().to_vec()));
        Ok(v1::ListResponse { triggers, next_page_token })
    }
}

/// Checks a filter.
pub(crate) fn query_of(v: &mut Violations, namespace: String, filter: v1::TriggerFilter) -> ListQuery {
    if !filter.topic.is_empty() {
        v.topic("filter.topic", &filter.topic);
    }
    // Whoever asks for the canaries need not know where they are.
    let namespace = if filter.topic == canary::TOPIC { canary::NAMESPACE.into() } else { namespace };
    v.labels("filter.labels", &filter.labels);
    ListQuery {
        namespace,
        topic: Some(filter.topic).filter(|topic| !topic.is_empty()),
        states: states_of(v, "filter.states", &filter.states),
        due_from: filter.due_from.map(|at| convert::moment_of(v, "filter.due_from", &at)),
        due_to: filter.due_to.map(|at| convert::moment_of(v, "filter.due_to", &at)),
        labels: filter.labels.into_iter().map(|(key, value)| Label { key, value }).collect(),
        limit: 100,
        bytes: PAGE_BYTES_MAX,
    }
}

/// Where a page begins: in which partition, and after what in it. Opaque to clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PageToken<C> {
    pub partition: u32,
    pub after: Option<C>,
}

impl<C> PageToken<C> {
    /// Reads a token; empty is the first page.
    pub fn parse(
        v: &mut Violations,
        field: &str,
        text: &str,
        partitions: usize,
        cursor: impl FnOnce(&[u8]) -> Option<C>,
    ) -> PageToken<C> {
        let first = PageToken { partition: 0, after: None };
        if text.is_empty() {
            return first;
        }
        let parse = || {
            let bytes = from_hex(text)?;
            let (partition, after) = bytes.split_first_chunk::<4>()?;
            let partition = u32::from_be_bytes(*partition);
            let after = if after.is_empty() { None } else { Some(cursor(after)?) };
            ((partition as usize) < partitions).then_some(PageToken { partition, after })
        };
        parse().unwrap_or_else(|| {
            v.push(field, "expected the next_page_token of an earlier answer");
            first
        })
    }

    /// Writes a token.
    pub fn text(self, bytes: impl FnOnce(C) -> Vec<u8>) -> String {
        let mut token = self.partition.to_be_bytes().to_vec();
        token.extend(self.after.map(bytes).unwrap_or_default());
        to_hex(&token)
    }
}

/// Bytes as text.
pub(crate) fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Text as bytes; `None` when it is none of ours.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    if !text.len().is_multiple_of(2) || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parse(text: &str) -> Result<PageToken<Vec<u8>>, Error> {
        let mut v = Violations::new();
        let token = PageToken::parse(&mut v, "page_token", text, 4, |bytes| Some(bytes.to_vec()));
        v.finish(token)
    }

    #[test]
    fn tokens_come_back() {
        for token in [PageToken { partition: 0, after: None }, PageToken { partition: 3, after: Some(vec![1, 2, 255]) }]
        {
            assert_eq!(parse(&token.clone().text(|bytes| bytes)).expect("ours"), token);
        }
        assert_eq!(parse("").expect("the first page"), PageToken { partition: 0, after: None });
        assert!(parse("00000004").is_err(), "there are four partitions");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".*") {
            let _ = parse(&text);
        }
    }
}
