//! What happens, in order.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use client::Reason;
use gifts::{Options, World};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use proto::gift::v1::{self as gift, GiftState};
use proto::v1::LocalTime;

use super::cast::{
    self, CAKE_WON, COFFEE_WON, DOYUN, EMMA, HAYOON, JIHO, MINJUN, ROLES, Role, SEOYEON, SUA, SUA_BEFORE, YEJUN,
};
use super::ending::{Ending, Midnights};
use super::midnight;
use super::timeline::{Timeline, say};

/// A story that is being told.
pub struct Story {
    world: World,
    timeline: Timeline,
    /// The day on which everything is sent.
    day: Date,
    /// Codes that recipients saw, by gift.
    codes: BTreeMap<&'static str, Vec<String>>,
    /// What was refused as it had to be.
    refusals: Vec<String>,
}

impl Story {
    /// Starts everything, and puts two products on sale.
    pub async fn begin(aloud: bool) -> Result<Self> {
        let world = World::start(Options::default()).await?;
        let timeline = Timeline::new(aloud)?;
        let now = world.clock().now().await?;
        let day = timeline.in_seoul(now).date().checked_add(jiff::Span::new().days(2))?;
        if aloud {
            say("Three nodes on a virtual clock, two executors, and stand-ins for Toss Payments,");
            say("SOLAPI (KakaoTalk, text messages), FCM, Slack and a mail relay.");
        }
        world.put_on_sale("coffee", "별다방", "아메리카노", COFFEE_WON).await?;
        world.put_on_sale("cake", "달빵집", "딸기 케이크", CAKE_WON).await?;
        // 3104: the recipient does not use KakaoTalk.
        world.fakes().solapi().end_with(HAYOON.address, "ATA", "3104", true).map_err(anyhow::Error::msg)?;
        Ok(Story { world, timeline, day, codes: BTreeMap::new(), refusals: Vec::new() })
    }

    /// All of it, and what came of it.
    pub async fn tell(mut self) -> Result<(Ending, Self)> {
        let day = self.day;
        let (seoul, new_york) = (TimeZone::get("Asia/Seoul")?, TimeZone::get("America/New_York")?);
        let at = |zone: &TimeZone, date: Date, hour: i8, minute: i8| -> Result<Timestamp> {
            Ok(date.at(hour, minute, 0, 0).to_zoned(zone.clone())?.timestamp())
        };
        for role in ROLES {
            self.reserve(role).await?;
        }
        self.edit().await?;
        self.cancel_in_time().await?;
        self.go_to(at(&seoul, day, 0, 0)? - SignedDuration::from_mins(1)).await?;
        midnight::pass(&mut self.world, &mut self.timeline, at(&seoul, day, 0, 0)?).await?;
        self.cancel_too_late().await?;

        self.go_to(at(&seoul, day, 8, 30)?).await?;
        for role in [MINJUN, HAYOON, SUA] {
            self.accept(role).await?;
        }
        self.pass_on().await?;
        self.go_to(at(&seoul, day, 12, 20)?).await?;
        self.redeem(MINJUN, "별다방 종로점").await?;
        self.redeem_again(MINJUN, "별다방 강남점").await?;
        self.go_to(at(&new_york, day, 0, 0)?).await?;
        self.world.until_state(EMMA.id, GiftState::Sent).await?;
        self.timeline.gather(&self.world).await?;
        self.accept(EMMA).await?;
        self.redeem(HAYOON, "별다방 서촌점").await?;

        // Valid through the thirtieth day after; reminders at ten o'clock, three days and one day before the last.
        let days = |count: i32| day.checked_add(jiff::Span::new().days(count));
        self.go_to(at(&seoul, days(27)?, 10, 0)?).await?;
        self.go_to(at(&new_york, days(27)?, 10, 0)?).await?;
        self.go_to(at(&seoul, days(29)?, 10, 0)?).await?;
        self.go_to(at(&new_york, days(29)?, 10, 0)?).await?;
        self.redeem(EMMA, "달빵집 New York").await?;
        self.go_to(at(&seoul, days(31)?, 0, 0)?).await?;
        for role in ROLES {
            self.world.until_state(role.id, role.end).await?;
        }
        let books = self.world.books().await?;
        self.timeline.gather(&self.world).await?;
        let midnights = Midnights { seoul: at(&seoul, day, 0, 0)?, new_york: at(&new_york, day, 0, 0)? };
        let ending = Ending::of(&self.world, &self.timeline, books, &self.codes, &self.refusals, &midnights).await?;
        Ok((ending, self))
    }

    /// Reserves one more gift, has it sent, and says where everything is.
    pub async fn stay_open(&self) -> Result<()> {
        let role = Role { id: "coffee-open", name: "당신", address: "010-1000-0008", ..MINJUN };
        let now = self.world.clock().now().await?;
        let send_at = now + SignedDuration::from_mins(11);
        let at = prost_types::Timestamp { seconds: send_at.as_second(), nanos: 0 };
        let request = self.request(role, role.recipient(), gift::send_time::When::At(at))?;
        self.world.reserve(request).await?;
        self.world.clock().advance_to(send_at).await?;
        self.world.until_state(role.id, GiftState::Sent).await?;
        let links = self.world.links(role.address);
        let link = links.first().context("the gift that was sent has no link")?;
        let addresses = self.world.addresses();
        let node = addresses.first().context("no node")?;
        say("\nRunning until Ctrl-C:");
        say(&format!("  a gift to open     {link}"));
        say(&format!("  what phones show   http://{}/inbox", self.world.fakes().addr()));
        say(&format!("  HTTP, to try out   http://{node}/docs"));
        say(&format!("  the command line   bosingak --address http://{node} gift list --sender bosin"));
        say(&format!("  moves time         bosingak --address http://{node} clock advance 1h"));
        Ok(())
    }

    /// Ends everything that was started.
    pub async fn end(self) -> Result<()> {
        self.world.end().await
    }

    async fn go_to(&mut self, to: Timestamp) -> Result<()> {
        self.world.clock().advance_to(to).await?;
        self.timeline.gather(&self.world).await
    }

    fn request(&self, role: Role, recipient: gift::Party, when: gift::send_time::When) -> Result<gift::ReserveRequest> {
        let payment = if role.id == YEJUN.id {
            let declined = fakes::toss::NewPayment {
                decline: Some("REJECT_CARD_PAYMENT".into()),
                ..fakes::toss::NewPayment::new(role.id, role.won())
            };
            let payment_key = self.world.fakes().toss().pay_as(declined)?;
            gift::PaymentRequest { payment_key, amount_won: role.won(), ..Default::default() }
        } else {
            self.world.pay(role.id, role.won())?
        };
        Ok(gift::ReserveRequest {
            gift_id: role.id.into(),
            product_id: role.product.into(),
            sender: Some(cast::sender()),
            recipient: Some(recipient),
            message: role.message.into(),
            send: Some(gift::SendTime { when: Some(when) }),
            payment: Some(payment),
            ..Default::default()
        })
    }

    async fn reserve(&mut self, role: Role) -> Result<()> {
        let mut recipient = role.recipient();
        if role.id == SUA.id {
            recipient.phone = SUA_BEFORE.into();
        }
        // A date alone: its midnight where the recipient is.
        let local = LocalTime { date_time: self.day.to_string(), ..LocalTime::default() };
        let request = self.request(role, recipient, gift::send_time::When::Local(local))?;
        let now = self.world.clock().now().await?;
        let where_to = if role.address.is_empty() { "nobody knows where" } else { role.address };
        self.timeline.act(now, "reserve", format!("{} for {} ({where_to})", role.id, role.name));
        let gift = self.world.reserve(request).await?;
        let expected = if role.end == GiftState::Failed { GiftState::Failed } else { GiftState::Reserved };
        ensure!(gift.state() == expected, "{} is {:?}, {expected:?} expected", role.id, gift.state());
        // Whoever pays is told before anything else happens.
        self.world.clock().advance_to(now).await?;
        self.timeline.gather(&self.world).await
    }

    async fn edit(&mut self) -> Result<()> {
        let now = self.world.clock().now().await?;
        self.timeline.act(now, "edit", format!("{}: {SUA_BEFORE} → {}", SUA.id, SUA.address));
        let request = gift::EditGiftRequest {
            gift_id: SUA.id.into(),
            sender_id: cast::sender().id,
            recipient: Some(SUA.recipient()),
            message: Some(SUA.message.into()),
            ..Default::default()
        };
        self.world.client().edit_gift(request).await.context("edit")?;
        self.timeline.gather(&self.world).await
    }

    async fn cancel_in_time(&mut self) -> Result<()> {
        let now = self.world.clock().now().await?;
        self.timeline.act(now, "cancel", SEOYEON.id);
        let request = gift::CancelGiftRequest { gift_id: SEOYEON.id.into(), ..Default::default() };
        let answer = self.world.client().cancel_gift(request).await.context("cancel in time")?;
        let receipt = answer.receipt.context("a cancellation without a receipt")?;
        self.world.until_state(SEOYEON.id, GiftState::Refunded).await?;
        let words = format!("in time: entry {} of partition {} says so", receipt.log_index, receipt.partition);
        self.timeline.act(now, "cancel", words);
        self.world.clock().advance_to(now).await?;
        self.timeline.gather(&self.world).await
    }

    async fn cancel_too_late(&mut self) -> Result<()> {
        let request = gift::CancelGiftRequest { gift_id: JIHO.id.into(), ..Default::default() };
        let refused = self.world.client().cancel_gift(request).await.map(drop);
        self.refused("cancel", JIHO.id, refused, &[Reason::TooLate, Reason::WrongState]).await
    }

    async fn accept(&mut self, role: Role) -> Result<()> {
        let link = self.last_link(role.address)?;
        let code = self.world.accept(&link).await.with_context(|| format!("{} accepts", role.name))?;
        let now = self.world.clock().now().await?;
        self.timeline.act(now, "accept", format!("{} opens the link and takes it; code {}", role.name, masked(&code)));
        // Opened again, it is the same one.
        let again = self.world.open(&link).await?.code;
        self.codes.entry(role.id).or_default().extend([code, again]);
        self.world.clock().advance_to(now).await?;
        self.timeline.gather(&self.world).await
    }

    async fn pass_on(&mut self) -> Result<()> {
        let link = self.last_link(JIHO.address)?;
        let now = self.world.clock().now().await?;
        self.timeline.act(now, "transfer", format!("{} passes {} on to {}", JIHO.name, JIHO.id, DOYUN.0));
        let to = gift::Party { name: DOYUN.0.into(), phone: DOYUN.1.into(), ..Default::default() };
        let gift = self.world.transfer(&link, to).await?;
        ensure!(gift.transferred, "a gift that was passed on does not say so");
        self.world.clock().advance_to(now).await?;
        self.timeline.gather(&self.world).await?;
        let old = self.world.open(&link).await?;
        ensure!(old.passed_on && old.code.is_empty(), "the old link still leads to the gift");
        let request = gift::AcceptGiftRequest {
            token: link.rsplit('/').next().unwrap_or_default().into(),
            nonce: old.nonce,
            ..Default::default()
        };
        let refused = self.world.client().accept_gift(request).await.map(drop);
        self.refused("accept by the old link", JIHO.id, refused, &[Reason::StaleLink]).await
    }

    async fn redeem(&mut self, role: Role, shop: &str) -> Result<()> {
        let code = self.code(role)?;
        let now = self.world.clock().now().await?;
        self.timeline.act(now, "redeem", format!("{shop} takes {}", masked(&code)));
        self.world.redeem(&code, shop).await.with_context(|| format!("redeem {}", role.id))?;
        self.timeline.gather(&self.world).await
    }

    async fn redeem_again(&mut self, role: Role, shop: &str) -> Result<()> {
        let refused = self.world.redeem(&self.code(role)?, shop).await.map(drop);
        self.refused("redeem elsewhere", role.id, refused, &[Reason::WrongState, Reason::NotFound]).await
    }

    fn code(&self, role: Role) -> Result<String> {
        let codes = self.codes.get(role.id).and_then(|codes| codes.first());
        codes.cloned().with_context(|| format!("{} has no code", role.id))
    }

    fn last_link(&self, address: &str) -> Result<String> {
        self.world.links(address).pop().with_context(|| format!("no link arrived at {address}"))
    }

    /// It has to be refused, for one of these reasons.
    async fn refused(
        &mut self,
        what: &str,
        id: &str,
        answer: Result<(), client::Error>,
        reasons: &[Reason],
    ) -> Result<()> {
        let Err(error) = answer else { bail!("{what} {id} was not refused") };
        let reason = error.reason().cloned();
        ensure!(reason.as_ref().is_some_and(|reason| reasons.contains(reason)), "{what} {id}: {error}");
        let now = self.world.clock().now().await?;
        let words = format!("{id} is refused: {error}");
        self.refusals.push(format!("{what}: {words}"));
        self.timeline.act(now, what, words);
        Ok(())
    }
}

/// The first four letters: whoever reads a terminal is not to use it.
fn masked(code: &str) -> String {
    let shown: String = code.chars().take(4).collect();
    format!("{shown}…")
}
