//! Paged lists as streams.

use std::collections::VecDeque;
use std::future::Future;

use futures::Stream;

use crate::error::Error;

/// The items of all pages in order. `page` answers with a page and the request of the next one, if there is any. Pages
/// may be empty. Ends after the first error.
pub(crate) fn items<Req, Item, F, Fut>(first: Req, page: F) -> impl Stream<Item = Result<Item, Error>>
where
    F: Fn(Req) -> Fut,
    Fut: Future<Output = Result<(Vec<Item>, Option<Req>), Error>>,
{
    let state = (VecDeque::new(), Some(first), page);
    futures::stream::unfold(state, |(mut items, mut next, page)| async move {
        loop {
            if let Some(item) = items.pop_front() {
                return Some((Ok(item), (items, next, page)));
            }
            match page(next.take()?).await {
                Ok((more, following)) => {
                    items.extend(more);
                    next = following;
                }
                Err(error) => return Some((Err(error), (items, None, page))),
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt;

    #[tokio::test]
    async fn empty_pages_do_not_end_it_and_an_error_does() {
        let pages = |n: u32| async move {
            match n {
                0 => Ok((vec![1, 2], Some(1))),
                1 => Ok((vec![], Some(2))),
                2 => Ok((vec![3], Some(3))),
                _ => Err(Error::Closed),
            }
        };
        let all: Vec<_> = items(0, pages).collect().await;
        let good: Vec<i32> = all.iter().filter_map(|item| item.as_ref().ok().copied()).collect();
        assert_eq!(good, [1, 2, 3]);
        assert!(all.last().is_some_and(Result::is_err));
        assert_eq!(all.len(), 4);
    }
}
