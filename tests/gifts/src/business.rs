//! What people do in such a business, as their apps and pages would.

use std::time::Duration;

use anyhow::{Context, Result, bail};
use client::Error;
use harness::wait;
use jiff::{SignedDuration, Timestamp};
use proto::gift::v1 as gift;
use proto::gift::v1::GiftState;
use proto::payment::v1::{ReconcileRequest, ReconcileResponse};
use proto::product::v1::{Product, PutProductRequest};

use crate::world::World;

/// How long anything may take that a healthy business does at once.
const PATIENCE: Duration = Duration::from_secs(30);

/// Where the money is, as the cluster and the provider say.
#[derive(Clone, Debug)]
pub struct Books {
    /// The cluster's, as of a moment after all that was asked about.
    pub ours: ReconcileResponse,
    /// Won that the provider has captured, and given back.
    pub theirs: (i64, i64),
}

impl Books {
    /// What does not agree; empty when all does.
    pub fn differences(&self) -> Vec<String> {
        let total = self.ours.total.unwrap_or_default();
        let mut found = Vec::new();
        if self.ours.difference_won != 0 {
            found.push(format!("the cluster's own books differ by {} won", self.ours.difference_won));
        }
        for (what, ours, theirs) in
            [("captured", total.captured_won, self.theirs.0), ("refunded", total.refunded_won, self.theirs.1)]
        {
            if ours != theirs {
                found.push(format!("{what}: {ours} won in the cluster's books, {theirs} in the provider's"));
            }
        }
        found
    }
}

impl World {
    /// Puts a product on sale.
    ///
    /// # Errors
    ///
    /// When it is refused.
    pub async fn put_on_sale(&self, id: &str, brand: &str, name: &str, price_won: u64) -> Result<Product> {
        let product = Product {
            id: id.into(),
            name: name.into(),
            brand: brand.into(),
            price_won,
            on_sale: true,
            ..Product::default()
        };
        let request = PutProductRequest { product: Some(product), ..PutProductRequest::default() };
        self.client().put_product(request).await.with_context(|| format!("put {id} on sale"))
    }

    /// Pays at the provider what a gift costs, in the payer's browser: the cluster has yet to capture it. `amount_won` is the price of
    /// the product.
    ///
    /// # Errors
    ///
    /// When the provider does not take it.
    pub fn pay(&self, gift_id: &str, amount_won: u64) -> Result<gift::PaymentRequest> {
        let payment_key = self.fakes().toss().pay(gift_id, amount_won)?;
        Ok(gift::PaymentRequest { payment_key, amount_won, ..gift::PaymentRequest::default() })
    }

    /// Reserves a gift and waits until its payment is settled.
    ///
    /// # Errors
    ///
    /// When it is refused, or the payment is not settled in time.
    pub async fn reserve(&self, request: gift::ReserveRequest) -> Result<gift::Gift> {
        let id = request.gift_id.clone();
        let answer = self.client().reserve_gift(request).await.with_context(|| format!("reserve {id}"))?;
        let gift = answer.gift.unwrap_or_default();
        if gift.state() != GiftState::PendingPayment {
            return Ok(gift);
        }
        self.until(&id, "to be settled", |gift| gift.state() != GiftState::PendingPayment).await
    }

    /// A gift as it is.
    ///
    /// # Errors
    ///
    /// When there is none.
    pub async fn gift(&self, id: &str) -> Result<gift::Gift, Error> {
        self.client().get_gift(gift::GetGiftRequest { gift_id: id.into(), ..Default::default() }).await
    }

    /// Waits until a gift is in a state.
    ///
    /// # Errors
    ///
    /// When it is not in time: the gift as it is, and the ends of the logs.
    pub async fn until_state(&self, id: &str, state: GiftState) -> Result<gift::Gift> {
        self.until(id, &format!("to be {state:?}"), |gift| gift.state() == state).await
    }

    async fn until(&self, id: &str, what: &str, met: impl Fn(&gift::Gift) -> bool) -> Result<gift::Gift> {
        let met = &met;
        wait::until(&format!("{id} {what}"), PATIENCE, || async move {
            let gift = self.gift(id).await.map_err(|error| error.to_string())?;
            if met(&gift) { Ok(gift) } else { Err(format!("{gift:?}")) }
        })
        .await
        .with_context(|| self.logs(20))
    }

    /// The recipient opens the page of a link and takes the gift; answers with the code.
    ///
    /// # Errors
    ///
    /// When the link is not that of who has the gift, or it is over.
    pub async fn accept(&self, link: &str) -> Result<String> {
        let token = token(link)?;
        let nonce = self.open(link).await?.nonce;
        let request = gift::AcceptGiftRequest { token, nonce, ..Default::default() };
        Ok(self.client().accept_gift(request).await.context("accept")?.code)
    }

    /// What the page of a link shows.
    ///
    /// # Errors
    ///
    /// When it leads nowhere.
    pub async fn open(&self, link: &str) -> Result<gift::OpenGiftResponse> {
        let request = gift::OpenGiftRequest { token: token(link)?, ..Default::default() };
        self.client().open_gift(request).await.context("open the link")
    }

    /// The recipient passes the gift on.
    ///
    /// # Errors
    ///
    /// When the link is not that of who has the gift, or it cannot be passed on any more.
    pub async fn transfer(&self, link: &str, to: gift::Party) -> Result<gift::Gift> {
        let nonce = self.open(link).await?.nonce;
        let request = gift::TransferGiftRequest { token: token(link)?, nonce, to: Some(to), ..Default::default() };
        self.client().transfer_gift(request).await.context("transfer")
    }

    /// A shop takes a code.
    ///
    /// # Errors
    ///
    /// When the code is none, or is not good any more.
    pub async fn redeem(&self, code: &str, shop: &str) -> Result<gift::Gift, Error> {
        let request = gift::RedeemGiftRequest { code: code.into(), shop: shop.into(), ..Default::default() };
        Ok(self.client().redeem_gift(request).await?.gift.unwrap_or_default())
    }

    /// Links to gifts in what arrived at an address, in the order in which it arrived.
    pub fn links(&self, address: &str) -> Vec<String> {
        self.fakes().inbox().at(address).iter().flat_map(links).collect()
    }

    /// The books, as of a moment after now. On a virtual clock time is moved by seconds until every partition is there.
    ///
    /// # Errors
    ///
    /// When no such report can be had.
    pub async fn books(&self) -> Result<Books> {
        let now = self.clock().now().await?;
        let ours = wait::until("books of now", PATIENCE, || async move {
            // A partition in which nothing is due moves on with its next entry.
            if self.is_virtual() {
                self.clock().advance_by(SignedDuration::from_secs(10)).await.map_err(|error| format!("{error:#}"))?;
            }
            let report =
                self.client().reconcile(ReconcileRequest::default()).await.map_err(|error| error.to_string())?;
            let as_of = report.as_of.unwrap_or_default();
            let is_later = Timestamp::new(as_of.seconds, as_of.nanos).is_ok_and(|as_of| as_of > now);
            if is_later { Ok(report) } else { Err(format!("as of {as_of:?}")) }
        })
        .await?;
        let theirs = self.fakes().toss().ledger(0);
        Ok(Books { ours, theirs: (theirs.captured_won.try_into()?, theirs.refunded_won.try_into()?) })
    }
}

/// Links to gifts in a message: its buttons, or in its text.
pub fn links(message: &fakes::inbox::Message) -> Vec<String> {
    let words = message.body.split_whitespace().map(str::to_owned);
    let buttons = message.links.iter().map(|link| link.url.clone());
    buttons.chain(words).filter(|word| word.starts_with("http") && word.contains("/g/")).collect()
}

fn token(link: &str) -> Result<String> {
    match link.rsplit_once("/g/") {
        Some((_, token)) if !token.is_empty() => Ok(token.to_owned()),
        _ => bail!("{link:?} is no link to a gift"),
    }
}
