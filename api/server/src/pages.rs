//! Pages of lists that go from partition to partition: which one, and behind what.

use crate::validate::Violations;

/// Where a list goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In which partition.
    pub partition: u32,
    /// Behind this, in the list's own words; empty: from the beginning.
    pub after: String,
}

impl Page {
    /// Reads a token; empty is the beginning.
    pub fn read(v: &mut Violations, field: &str, token: &str, partitions: usize) -> Page {
        if token.is_empty() {
            return Page::default();
        }
        let page = token.split_once('.').and_then(|(number, after)| {
            let partition = number.parse::<u32>().ok().filter(|number| (*number as usize) < partitions)?;
            Some(Page { partition, after: after.to_owned() })
        });
        if page.is_none() {
            v.push(field, "expected next_page_token of the page before");
        }
        page.unwrap_or_default()
    }
}

/// The token of a page.
pub fn next_page(page: &Page) -> String {
    format!("{}.{}", page.partition, page.after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_back_and_others_refused() {
        let page = Page { partition: 3, after: "a.b".into() };
        let mut v = Violations::new();
        assert_eq!(Page::read(&mut v, "page_token", &next_page(&page), 4), page);
        assert!(v.finish(()).is_ok());
        for wrong in ["4.x", "x", ".", "-1.x"] {
            let mut v = Violations::new();
            Page::read(&mut v, "page_token", wrong, 4);
            assert!(v.finish(()).is_err(), "{wrong}");
        }
    }
}
